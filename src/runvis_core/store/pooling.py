"""Pooled connections to PostgreSQL: whether one still stands, without a round trip for each use, and what it keeps."""

from __future__ import annotations

import select
import time
from typing import Any, Final

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

PING_SECONDS: Final = 10.0
"""A connection that nobody used for longer is asked: what stands between may have dropped it without a word."""

PREPARED: Final = 400
"""How many statements a connection keeps prepared: the pages and lists have more than the hundred of psycopg."""

_USED_AT: Final = "runvis_used_at"


def keep_connections(engine: Engine) -> None:
    """Make connections keep what they prepared, and the pool of an engine give none that the server has closed.

    A server that closes a connection says so, and then there is something to read from it, which costs no round trip to
    know.
    """

    @event.listens_for(engine, "connect")
    def keep_statements(connection: psycopg.Connection[Any], _record: Any) -> None:
        connection.prepared_max = PREPARED

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: psycopg.Connection[Any], record: Any, _proxy: Any) -> None:
        used_at = record.info.get(_USED_AT)
        if used_at is None:
            return
        if (time.monotonic() - used_at > PING_SECONDS or _has_word(connection)) and not _answers(connection):
            # The pool makes a new one in its place.
            raise DisconnectionError("the server has closed the connection")


def _has_word(connection: psycopg.Connection[Any]) -> bool:
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _answers(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error:
        return False
    return True
