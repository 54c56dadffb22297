"""Sessions of people who signed in with a token: the store holds only a digest of each cookie."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import delete, insert, select

from runvis_core.services.decisions import record_access
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.tables import sessions

LIFETIME: Final = timedelta(hours=12)
SIGN_IN: Final = "sign-in"
SIGN_OUT: Final = "sign-out"
_WHAT: Final = "session"
_SECRET_BYTES: Final = 32


def open_session(store: Store, token_digest: bytes, *, principal: str, now: datetime) -> str:
    """Keep a session of who has that token, for `LIFETIME`; return its secret, which is kept nowhere.

    That `principal` signed in is an entry of the log. Sessions that have run out leave the store on the way.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    values = {"digest": _digest(secret), "token_digest": token_digest, "expires_at": now + LIFETIME}
    with _writing(store) as connection, connection.begin():
        connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
        connection.execute(insert(sessions).values(values))
    record_access(store, SIGN_IN, _WHAT, principal=principal)
    return secret


def find_session(store: Store, secret: str, *, now: datetime) -> bytes | None:
    """Return the digest of the token by which a session was opened; None if there is none, or if it has run out.

    The session is worth what the token still is.
    """
    query = select(sessions.c.token_digest).where(sessions.c.digest == _digest(secret), sessions.c.expires_at > now)
    with reading(store) as connection:
        digest = connection.scalar(query)
    return None if digest is None else bytes(digest)


def close_session(store: Store, secret: str, *, principal: str) -> None:
    """End a session, and record that `principal` signed out; one that there isn't is no error, and no entry."""
    with _writing(store) as connection, connection.begin():
        ended = connection.execute(delete(sessions).where(sessions.c.digest == _digest(secret))).rowcount
    if ended:
        record_access(store, SIGN_OUT, _WHAT, principal=principal)


def _writing(store: Store) -> Any:
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    return store.engine.connect().execution_options(**options)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()
