"""Statements in one round trip to PostgreSQL.

psycopg's own pipeline makes a cursor, an adapter and several generators for each statement. An append of one event is
ten statements, each of which takes the database less time than that. So these go to libpq as they are: prepared once
per connection, their values in binary.
"""

from __future__ import annotations

import select
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import adapt, errors, pq

Row = tuple[Any, ...]

_BINARY: Final = pq.Format.BINARY


@dataclass(frozen=True, eq=False)
class Statement:
    """A statement as it is written once: `$1` stands for its first value."""

    text: str
    types: tuple[int, ...] = ()
    """Of its values, as PostgreSQL numbers them."""


Order = tuple[Statement, Sequence[Any]]
"""A statement and its values."""

BEGIN: Final = Statement("BEGIN")
COMMIT: Final = Statement("COMMIT")


class _Known:
    """What one connection knows of a statement."""

    def __init__(self, name: bytes, statement: Statement, connection: psycopg.Connection[Any]) -> None:
        self.name = name
        self.is_prepared = False
        self.adapter = adapt.Transformer(connection)
        self.adapter.set_dumper_types(statement.types, _BINARY)
        self.formats = [adapt.PyFormat.BINARY] * len(statement.types)
        self.wire_formats = [_BINARY] * len(statement.types)


class Pipeline:
    """The way of one connection to its database. While it runs, nobody else uses the connection."""

    def __init__(self, connection: psycopg.Connection[Any], *, is_shared: bool = False) -> None:
        """Where others use the connection, too, nothing stays prepared: psycopg may deallocate all at a rollback."""
        self._connection = connection
        self._is_shared = is_shared
        self._pgconn = connection.pgconn
        self._known: dict[Statement, _Known] = {}
        self._loader = adapt.Transformer(connection)
        self._readable, self._any = select.poll(), select.poll()
        self._readable.register(connection.fileno(), select.POLLIN)
        self._any.register(connection.fileno(), select.POLLIN | select.POLLOUT)

    def run(self, orders: Iterable[Order]) -> list[list[Row]]:
        """Execute statements in their order, and return the rows of each.

        Raises psycopg's error for the first that fails; none after it is executed then.
        """
        sending = [(known := self._find(statement), statement, self._encode(known, row)) for statement, row in orders]
        if not sending:
            return []
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        try:
            preparing = self._send(sending)
            results = self._receive()
            pgconn.exit_pipeline_mode()
        except BaseException:
            # Something is under way that nobody waits for any more, so the connection is of no use.
            self._connection.close()
            raise
        return self._read(preparing, results)

    def _find(self, statement: Statement) -> _Known:
        known = self._known.get(statement)
        if known is None:
            name = b"" if self._is_shared else b"runvis_%d" % len(self._known)
            known = _Known(name, statement, self._connection)
            self._known[statement] = known
        return known

    @staticmethod
    def _encode(known: _Known, row: Sequence[Any]) -> Sequence[Any]:
        return known.adapter.dump_sequence(row, known.formats) if row else row

    def _send(self, sending: Sequence[tuple[_Known, Statement, Sequence[Any]]]) -> list[_Known | None]:
        """Send everything; return for each answer that will come what it prepares, None for one with rows."""
        pgconn = self._pgconn
        answers: list[_Known | None] = []
        under_way: set[bytes] = set()
        for known, statement, values in sending:
            if self._is_shared or not (known.is_prepared or known.name in under_way):
                pgconn.send_prepare(known.name, statement.text.encode(), statement.types)
                under_way.add(known.name)
                answers.append(known)
            pgconn.send_query_prepared(known.name, values, known.wire_formats, _BINARY)
            answers.append(None)
        pgconn.pipeline_sync()
        while pgconn.flush():
            self._any.poll()
            pgconn.consume_input()
        return answers

    def _receive(self) -> list[pq.abc.PGresult]:
        pgconn = self._pgconn
        results: list[pq.abc.PGresult] = []
        while True:
            while pgconn.is_busy():
                # Not in libpq, which would keep all threads of this process waiting.
                self._readable.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)

    def _read(self, preparing: list[_Known | None], results: list[pq.abc.PGresult]) -> list[list[Row]]:
        rows: list[list[Row]] = []
        for known, result in zip(preparing, results, strict=True):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise errors.error_from_result(result, self._connection.info.encoding)
            if known is not None:
                known.is_prepared = True
            elif result.ntuples:
                self._loader.set_pgresult(result)
                rows.append(list(self._loader.load_rows(0, result.ntuples, tuple)))
            else:
                rows.append([])
        return rows
