"""The application: routes over one store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import Depends, FastAPI

from runvis_core.api import (
    admin,
    completeness,
    corrections,
    definitions,
    doctor,
    events,
    evidence,
    health,
    ledger,
    lineage,
    metrics,
    notices,
    runs,
    search,
    stats,
    stream,
)
from runvis_core.api.access import AccessControl, BearerTokens, Door
from runvis_core.api.committer import Committer
from runvis_core.api.document import Application
from runvis_core.api.headers import SecurityHeaders
from runvis_core.api.heads import Heads
from runvis_core.api.log_tail import LogTail
from runvis_core.api.metrics import Metrics, RequestTimes
from runvis_core.api.paths import API, RawNames
from runvis_core.api.problems import install_problems
from runvis_core.api.queries import check_query
from runvis_core.api.rates import RateLimiter
from runvis_core.api.request_log import RequestLog
from runvis_core.api.state import ServerState
from runvis_core.api.tokens import StoreTokens, read_tokens
from runvis_core.api.watch import Watch
from runvis_core.services.entries import list_raw_entries
from runvis_core.services.ingest import EventLimits, ingest_items
from runvis_core.services.principals import Principal
from runvis_core.settings import Settings
from runvis_core.store.database import Store

ROUTED: Final = (
    events,
    stream,
    runs,
    stats,
    definitions,
    completeness,
    corrections,
    evidence,
    lineage,
    search,
    doctor,
    admin,
    ledger,
    notices,
)
"""Modules with routes under the prefix."""


def create_app(store: Store, settings: Settings, *, make_door: Callable[[BearerTokens], Door] | None = None) -> FastAPI:
    """Return the application over a store; it closes its own threads when it ends, not the store.

    `make_door` makes the door by which browsers come in; without one only bearer tokens are taken.
    """
    numbers = Metrics(store, settings)

    limits = EventLimits(settings.limits.event_bytes, settings.limits.depth)
    issued = StoreTokens(store)
    bearers = BearerTokens(read_tokens(settings), issued)

    def ingest(items: Any, principal: Principal) -> Any:
        with numbers.commit_seconds.time():
            outcomes = ingest_items(store, items, principal=principal.name, binding=principal.binding, limits=limits)
        numbers.count_outcomes(outcomes)
        return outcomes

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        committer = Committer(ingest)
        app.state.server = ServerState(store, settings, committer, issued, numbers)
        yield
        committer.close()

    app = Application(
        title="RunVis",
        version=version("runvis"),
        lifespan=lifespan,
        openapi_url=f"{API}/openapi.json",
        # They load their script from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    routers = [*((module.router, API) for module in ROUTED), (ledger.tile_router, ""), (health.router, "")]
    for router, prefix in [*routers, (metrics.router, "")]:
        app.include_router(router, prefix=prefix, dependencies=[Depends(check_query)])
    app.state.metrics = numbers
    app.state.tail = LogTail(
        lambda after, limit: list_raw_entries(store, after=after, limit=limit),
        lambda: store.log.head().position,
        asyncio.Event(),
    )
    app.state.watch = Watch()
    install_problems(app)
    # The last one added is the outermost: a refusal has the headers, is timed and is in the log too.
    app.add_middleware(Heads)
    app.add_middleware(
        AccessControl,
        bearers=bearers,
        limiter=RateLimiter(settings.limits.requests_per_second),
        door=make_door(bearers) if make_door else None,
        audited=store if settings.server.audit_reads else None,
    )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestTimes, metrics=numbers)
    app.add_middleware(RawNames)
    app.add_middleware(RequestLog)
    return app
