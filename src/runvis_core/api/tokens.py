"""Bearer tokens, and the principals that they stand for: those of the settings, and those that the store issued."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from starlette.concurrency import run_in_threadpool

from runvis_core.errors import SettingsError, UnreachableError
from runvis_core.model.decision import Scope
from runvis_core.services.principals import ALL_SCOPES, LOCAL, PERSON, Principal, is_name_of_token
from runvis_core.services.tokens import KnownToken, known_tokens, last_token_change
from runvis_core.settings import Settings
from runvis_core.store.database import Store

LOCAL_PRINCIPAL: Final = Principal(LOCAL, ALL_SCOPES)
"""Who asks where no token is needed: somebody on this machine."""
TOKEN_PRINCIPAL: Final = "token"  # noqa: S105 - a name, not a token
"""Who asks with the one token that has no name."""
SETTINGS_SCOPES: Final = frozenset({Scope.INGEST, Scope.READ})
"""What a token of the settings is for. To decide about the store takes one that the store issued."""
SHORTEST_TOKEN: Final = 16
REFRESH_SECONDS: Final = 2.0
"""After how long at most a server knows that another one issued or revoked a token."""


class ExpiredTokenError(Exception):
    """The token was good once."""


class Tokens:
    """The tokens that the settings name. Only their digests are kept."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        for principal, token in tokens.items():
            if not is_name_of_token(principal):
                raise SettingsError(
                    f"no token may be called {principal!r}: {PERSON!r} and {LOCAL!r} are how people are named, and a "
                    "name is printable"
                )
            if len(token) < SHORTEST_TOKEN or not token.isascii() or any(char.isspace() for char in token):
                raise SettingsError(
                    f"the token of {principal!r} is too weak or has characters that no header can hold: use at least "
                    f"{SHORTEST_TOKEN} letters and digits, e.g. those of Python's secrets.token_urlsafe()"
                )
        self._known = [(_digest(token), Principal(name, SETTINGS_SCOPES)) for name, token in tokens.items()]

    def __bool__(self) -> bool:
        return bool(self._known)

    def find_principal(self, authorization: str | None) -> Principal | None:
        """Return whom an Authorization header stands for, or None. All tokens are compared, each in constant time."""
        given = _digest_of(authorization)
        return None if given is None else _find(given, self._known)

    def find_by_digest(self, digest: bytes) -> Principal | None:
        """Return whom the token of that digest stands for, or None."""
        return _find(digest, self._known)


class StoreTokens:
    """The tokens that a store issued, looked up again when they may have changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Sequence[KnownToken] = ()
        self._changed_at: int | None = None
        self._looked_at = 0.0

    @property
    def were_issued(self) -> bool:
        """Whether the store ever issued one: then nobody is served without a token, whatever became of it."""
        return bool(self._changed_at)

    async def refresh(self) -> None:
        """Look for changes, if it is time to. Raises `UnreachableError` while nothing is known yet."""
        if self._changed_at is not None and time.monotonic() - self._looked_at < REFRESH_SECONDS:
            return
        try:
            await run_in_threadpool(self._refresh)
        except UnreachableError:
            # What is known stays in force: a request that gets through fails at the store itself.
            if self._changed_at is None:
                raise
            # Nor is each request to wait for a store that is away.
            self._looked_at = time.monotonic()

    def forget(self) -> None:
        """Look for changes with the next request."""
        self._looked_at = float("-inf")

    def _refresh(self) -> None:
        looked_at = time.monotonic()
        changed_at = last_token_change(self._store)
        if changed_at != self._changed_at:
            self._known = known_tokens(self._store)
            self._changed_at = changed_at
        self._looked_at = looked_at

    def find_principal(self, authorization: str | None, *, now: datetime) -> Principal | None:
        """Return whom an Authorization header stands for, or None. Raises `ExpiredTokenError`."""
        given = _digest_of(authorization)
        if given is None:
            return None
        matching = self._matching(given)
        if matching and now >= matching[0].expires_at:
            raise ExpiredTokenError(f"the token expired at {matching[0].expires_at:%Y-%m-%d %H:%M} UTC")
        return matching[0].principal if matching else None

    def find_by_digest(self, digest: bytes, *, now: datetime) -> Principal | None:
        """Return whom the token of that digest stands for, as long as it is valid."""
        matching = self._matching(digest)
        return matching[0].principal if matching and now < matching[0].expires_at else None

    def _matching(self, digest: bytes) -> list[KnownToken]:
        return [known for known in self._known if hmac.compare_digest(digest, known.digest)]


def _find(given: bytes, known: Sequence[tuple[bytes, Principal]]) -> Principal | None:
    matching = [principal for digest, principal in known if hmac.compare_digest(given, digest)]
    return matching[0] if matching else None


def has_bearer(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request says who asks by a bearer token; a password (`Basic`) is the proxy's to look at."""
    return headers.get(b"authorization", b"").partition(b" ")[0].lower() == b"bearer"


def _digest_of(authorization: str | None) -> bytes | None:
    scheme, _, token = (authorization or "").partition(" ")
    return _digest(token.strip()) if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(settings: Settings) -> Tokens:
    """Return the tokens that the settings name. Raises `SettingsError` for one that is too weak."""
    named = {name: token.get_secret_value() for name, token in settings.server.tokens.items()}
    single = settings.read_token()
    if single is not None:
        named.setdefault(TOKEN_PRINCIPAL, single)
    return Tokens(named)
