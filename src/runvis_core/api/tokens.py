"""Who may ask: bearer tokens, and the principals that they stand for."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from runvis_core.errors import SettingsError
from runvis_core.settings import Settings

LOCAL_PRINCIPAL: Final = "local"
"""Who asks where no token is needed: somebody on this machine."""
TOKEN_PRINCIPAL: Final = "token"  # noqa: S105 - a name, not a token
"""Who asks with the one token that has no name."""
SHORTEST_TOKEN: Final = 16


class Tokens:
    """The tokens that a server takes. Only their digests are kept."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        for principal, token in tokens.items():
            if len(token) < SHORTEST_TOKEN or not token.isascii() or any(char.isspace() for char in token):
                raise SettingsError(
                    f"the token of {principal!r} is too weak or has characters that no header can hold: use at least "
                    f"{SHORTEST_TOKEN} letters and digits, e.g. those of Python's secrets.token_urlsafe()"
                )
        self._digests = {principal: _digest(token) for principal, token in tokens.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def find_principal(self, authorization: str | None) -> str | None:
        """Return whom an Authorization header stands for, or None. All tokens are compared, each in constant time."""
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        matching = [name for name, known in self._digests.items() if hmac.compare_digest(given, known)]
        return matching[0] if matching and scheme.lower() == "bearer" else None

    def find_digest(self, principal: str) -> bytes | None:
        """Return the digest of the token that stands for a principal, or None."""
        return self._digests.get(principal)


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(settings: Settings) -> Tokens:
    """Return the tokens that the settings name. Raises `SettingsError` for one that is too weak."""
    named = {name: token.get_secret_value() for name, token in settings.server.tokens.items()}
    single = settings.read_token()
    if single is not None:
        named.setdefault(TOKEN_PRINCIPAL, single)
    return Tokens(named)
