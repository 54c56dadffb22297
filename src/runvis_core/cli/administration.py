"""Where decisions about a store are made: at the store itself, or by its server. Both decide alike."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from runvis_core.cli.source import is_server, open_store_at, settings_for
from runvis_core.client import Client
from runvis_core.services.decision_answers import (
    AuditPage,
    ErasureRequest,
    ErasureView,
    HoldRequest,
    HoldView,
    IssuedToken,
    TokenRequest,
    TokenView,
)

if TYPE_CHECKING:
    from runvis_core.store.database import Store


class Administration(Protocol):
    """What can be decided, and what was."""

    def list_audit(self, *, limit: int, before: int | None = None, name: str | None = None) -> AuditPage:
        """Return what was decided and done, newest first."""
        ...

    def list_tokens(self) -> list[TokenView]:
        """Return all tokens, newest first."""
        ...

    def issue_token(self, request: TokenRequest) -> IssuedToken:
        """Issue a token."""
        ...

    def revoke_token(self, token_id: str, *, reason: str | None = None) -> TokenView:
        """Revoke a token."""
        ...

    def list_holds(self) -> list[HoldView]:
        """Return all legal holds, newest first."""
        ...

    def place_hold(self, request: HoldRequest) -> HoldView:
        """Place a legal hold."""
        ...

    def release_hold(self, hold_id: str, *, reason: str | None = None) -> HoldView:
        """Release a legal hold."""
        ...

    def erase(self, request: ErasureRequest) -> ErasureView:
        """Erase bodies of a run."""
        ...


class StoreAdministration:
    """A store of this process, in the name of this machine's user."""

    def __init__(self, store: Store) -> None:
        from runvis_core.services.decisions import local_principal

        self._store = store
        self._principal = local_principal()

    def list_audit(self, *, limit: int, before: int | None = None, name: str | None = None) -> AuditPage:
        """Return what was decided and done, newest first."""
        from runvis_core.services.decisions import list_audit

        return list_audit(self._store, limit=limit, before=before, name=name)

    def list_tokens(self) -> list[TokenView]:
        """Return all tokens, newest first."""
        from runvis_core.services.tokens import list_tokens

        return list_tokens(self._store)

    def issue_token(self, request: TokenRequest) -> IssuedToken:
        """Issue a token."""
        from runvis_core.services.tokens import issue_token

        return issue_token(self._store, request, principal=self._principal)

    def revoke_token(self, token_id: str, *, reason: str | None = None) -> TokenView:
        """Revoke a token."""
        from runvis_core.services.tokens import revoke_token

        return revoke_token(self._store, token_id, principal=self._principal, reason=reason)

    def list_holds(self) -> list[HoldView]:
        """Return all legal holds, newest first."""
        from runvis_core.services.holds import list_holds

        return list_holds(self._store)

    def place_hold(self, request: HoldRequest) -> HoldView:
        """Place a legal hold."""
        from runvis_core.services.holds import place_hold

        return place_hold(self._store, request, principal=self._principal)

    def release_hold(self, hold_id: str, *, reason: str | None = None) -> HoldView:
        """Release a legal hold."""
        from runvis_core.services.holds import release_hold

        return release_hold(self._store, hold_id, principal=self._principal, reason=reason)

    def erase(self, request: ErasureRequest) -> ErasureView:
        """Erase bodies of a run."""
        from runvis_core.services.erasure import erase

        return erase(self._store, request, principal=self._principal)


@contextmanager
def open_administration(url: str | None) -> Generator[Administration]:
    """Open what the address names."""
    settings = settings_for(url)
    assert settings.url is not None
    if is_server(settings.url):
        with Client(settings) as client:
            yield client
        return
    with open_store_at(settings) as store:
        yield StoreAdministration(store)
