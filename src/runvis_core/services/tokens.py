"""API tokens: issued, listed, revoked. What the store keeps of one is the SHA-256 of it, in the log.

A token is `rvt_`, 30 characters of base62 (178 bits), and 6 of their CRC32, so that a scanner of leaked secrets knows
one by its form and a mistyped one is told apart without asking the store.
"""

from __future__ import annotations

import secrets
import string
import zlib
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, func, select

from runvis_core.errors import NotFoundError, SettingsError
from runvis_core.model.decision import TOKEN_ISSUED, TOKEN_REVOKED, Binding, Scope, TokenIssued
from runvis_core.services.decision_answers import IssuedToken, TokenRequest, TokenView
from runvis_core.services.decisions import record_decision
from runvis_core.services.principals import Principal
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.tables import decisions

PREFIX: Final = "rvt_"
RANDOM_CHARACTERS: Final = 30
CHECK_CHARACTERS: Final = 6
MAX_VALID: Final = 2
"""How many tokens of one name are valid at once: the old one and the new one while they are exchanged."""
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase


class KnownToken(NamedTuple):
    """A token that a server may meet."""

    digest: bytes
    principal: Principal
    expires_at: datetime


def make_token() -> str:
    """Return a new token."""
    value = "".join(secrets.choice(_BASE62) for _ in range(RANDOM_CHARACTERS))
    return f"{PREFIX}{value}{_check_characters(value)}"


def is_token(text: str) -> bool:
    """Return whether a text has the form of a token, its check characters among it."""
    value = text[len(PREFIX) : -CHECK_CHARACTERS]
    return (
        text.startswith(PREFIX)
        and len(value) == RANDOM_CHARACTERS
        and all(char in _BASE62 for char in value)
        and text[-CHECK_CHARACTERS:] == _check_characters(value)
    )


def token_digest(token: str) -> bytes:
    """Return what is kept of a token."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def issue_token(store: Store, request: TokenRequest, *, principal: str) -> IssuedToken:
    """Issue a token: an entry of the log keeps its digest, and only this answer shows the token itself.

    Raises `SettingsError` for a token that could bring events for everybody, or a third one of the same name.
    """
    if Scope.INGEST in request.scopes and not (request.deployments and request.witnesses):
        raise SettingsError(
            "a token that brings events says for which deployment (--deployment) and as whom (--witness: worker, "
            "scheduler, follower, import, reconciler)"
        )
    now = store.clock()
    valid = [token for token in list_tokens(store) if token.valid and token.name == request.name]
    if len(valid) >= MAX_VALID:
        raise SettingsError(
            f"{request.name!r} has {len(valid)} valid tokens, and two are enough to exchange one for the other: revoke "
            f"one ({', '.join(token.token_id for token in valid)})"
        )
    token, token_id = make_token(), secrets.token_hex(4)
    issued = TokenIssued(
        name=request.name,
        digest=token_digest(token).hex(),
        scopes=request.scopes,
        binding=Binding(deployments=request.deployments, witnesses=request.witnesses, team=request.team),
        expires_at=now + timedelta(days=request.days),
    )
    record_decision(store, TOKEN_ISSUED, token_id, _as_json(issued), principal=principal)
    view = _view(token_id, issued, now, principal, None, now)
    return IssuedToken(**view.model_dump(), token=token)


def revoke_token(store: Store, token_id: str, *, principal: str, reason: str | None = None) -> TokenView:
    """Revoke a token, named by its id. Raises `NotFoundError`; one that is revoked already stays so."""
    found = _find(store, token_id)
    if found.revoked_at is None:
        record_decision(store, TOKEN_REVOKED, token_id, {}, principal=principal, reason=reason)
    return _find(store, token_id)


def list_tokens(store: Store) -> list[TokenView]:
    """Return all tokens that were ever issued, newest first."""
    now = store.clock()
    with reading(store) as connection:
        revoked = _revoked(connection)
        return [
            _view(row.subject, _parse(row), row.occurred_at, row.principal, revoked.get(row.subject), now)
            for row in reversed(_issued(connection))
        ]


def known_tokens(store: Store) -> list[KnownToken]:
    """Return the tokens that are not revoked; those that expired too, so that who has one can be told so."""
    with reading(store) as connection:
        revoked = _revoked(connection)
        found = [_parse(row) for row in _issued(connection) if row.subject not in revoked]
    return [
        KnownToken(bytes.fromhex(token.digest), Principal(token.name, token.scopes, token.binding), token.expires_at)
        for token in found
    ]


def last_token_change(store: Store) -> int:
    """Return the position of the last change of tokens; 0 where none was ever issued."""
    query = select(func.max(decisions.c.position)).where(decisions.c.name.in_((TOKEN_ISSUED, TOKEN_REVOKED)))
    with reading(store) as connection:
        return connection.scalar(query) or 0


def _find(store: Store, token_id: str) -> TokenView:
    found = next((token for token in list_tokens(store) if token.token_id == token_id), None)
    if found is None:
        raise NotFoundError(f"there is no token {token_id!r}: `runvis tokens list` says which there are")
    return found


def _issued(connection: Connection) -> list[Any]:
    query = select(decisions).where(decisions.c.name == TOKEN_ISSUED, decisions.c.kind == "decision")
    return list(connection.execute(query.order_by(decisions.c.position)))


def _revoked(connection: Connection) -> dict[str, datetime]:
    query = select(decisions.c.subject, decisions.c.occurred_at).where(
        decisions.c.name == TOKEN_REVOKED, decisions.c.kind == "decision"
    )
    return {row.subject: row.occurred_at for row in connection.execute(query.order_by(decisions.c.position.desc()))}


def _parse(row: Any) -> TokenIssued:
    return TokenIssued.model_validate(orjson.loads(row.details))


def _view(
    token_id: str, token: TokenIssued, issued_at: datetime, issued_by: str, revoked_at: datetime | None, now: datetime
) -> TokenView:
    return TokenView(
        token_id=token_id,
        name=token.name,
        scopes=sorted(token.scopes),
        deployments=sorted(token.binding.deployments),
        witnesses=sorted(token.binding.witnesses),
        team=token.binding.team,
        issued_at=issued_at,
        issued_by=issued_by,
        expires_at=token.expires_at,
        revoked_at=revoked_at,
        valid=revoked_at is None and now < token.expires_at,
    )


def _as_json(token: TokenIssued) -> dict[str, Any]:
    """Return the details, sets in order, so that they are the same whoever writes them."""
    binding = token.binding
    return {
        **token.model_dump(mode="json", exclude={"scopes", "binding"}),
        "scopes": sorted(token.scopes),
        "binding": {
            "deployments": sorted(binding.deployments),
            "witnesses": sorted(binding.witnesses),
            "team": binding.team,
        },
    }


def _check_characters(value: str) -> str:
    rest, made = zlib.crc32(value.encode()), ""
    for _ in range(CHECK_CHARACTERS):
        rest, place = divmod(rest, len(_BASE62))
        made = _BASE62[place] + made
    return made
