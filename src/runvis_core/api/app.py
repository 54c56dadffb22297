"""The application: routes over one store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI

from runvis_core.api import definitions, doctor, events, health, metrics, runs
from runvis_core.api.access import AccessControl, Door
from runvis_core.api.committer import Committer
from runvis_core.api.metrics import Metrics, RequestTimes
from runvis_core.api.problems import install_problems
from runvis_core.api.request_log import RequestLog
from runvis_core.api.state import ServerState
from runvis_core.api.tokens import read_tokens
from runvis_core.services.ingest import ingest_items
from runvis_core.settings import Settings
from runvis_core.store.database import Store

PREFIX: Final = "/api/v1"


def create_app(store: Store, settings: Settings, *, door: Door | None = None) -> FastAPI:
    """Return the application over a store; it closes its own threads when it ends, not the store.

    `door` says how browsers come in; without one only bearer tokens do.
    """
    numbers = Metrics(store, settings)

    def ingest(items: Any, principal: str) -> Any:
        with numbers.commit_seconds.time():
            outcomes = ingest_items(store, items, principal=principal)
        numbers.count_outcomes(outcomes)
        return outcomes

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        committer = Committer(ingest)
        app.state.server = ServerState(store, settings, committer, numbers)
        yield
        committer.close()

    app = FastAPI(
        title="RunVis",
        version=version("runvis"),
        lifespan=lifespan,
        openapi_url=f"{PREFIX}/openapi.json",
        # They load their script from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    for module in (events, runs, definitions, doctor):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.state.metrics = numbers
    install_problems(app)
    # The last one added is the outermost.
    app.add_middleware(AccessControl, tokens=read_tokens(settings), door=door)
    app.add_middleware(RequestTimes, metrics=numbers, prefix=PREFIX)
    app.add_middleware(RequestLog)
    return app
