"""Whether a pooled connection to PostgreSQL still stands, without a round trip for each use."""

from __future__ import annotations

import select
import time
from typing import Any, Final

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

PING_SECONDS: Final = 10.0
"""A connection that nobody used for longer is asked: what stands between may have dropped it without a word."""

_USED_AT: Final = "runvis_used_at"


def replace_broken_connections(engine: Engine) -> None:
    """Make the pool of a PostgreSQL engine give no connection that its server has closed.

    A server that closes a connection says so, and then there is something to read from it, which costs no round trip to
    know.
    """

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
