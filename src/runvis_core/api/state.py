"""What the routes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from runvis_core.api.committer import Committer
from runvis_core.api.tokens import StoreTokens
from runvis_core.services.principals import Principal
from runvis_core.settings import Settings
from runvis_core.store.database import Store

if TYPE_CHECKING:
    from runvis_core.api.metrics import Metrics


@dataclass(frozen=True, slots=True)
class ServerState:
    """The store and what stands before it."""

    store: Store
    settings: Settings
    committer: Committer
    issued: StoreTokens
    metrics: Metrics

    @property
    def is_paused(self) -> bool:
        """Whether senders are asked to keep their events."""
        return self.settings.server.paused


def principal_of(request: Request) -> Principal:
    """Return who asks."""
    return request.state.principal


def state_of(request: Request) -> ServerState:
    """Return the state of the application that serves this request."""
    return request.app.state.server
