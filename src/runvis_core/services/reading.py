"""Reading a store: one consistent view per answer, and lookups that stay within bounds."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import BindParameter, ColumnElement, Connection, Integer, bindparam, literal_column, select
from sqlalchemy.exc import InterfaceError, OperationalError

from runvis_core.errors import UnreachableError
from runvis_core.model.encoding import leaf_hash
from runvis_core.model.state import Witness
from runvis_core.services.answers import Report
from runvis_core.store.database import Store
from runvis_core.store.id_lists import digest_list, id_list, is_among, is_found_by
from runvis_core.store.tables import bodies, entries, erasures
from runvis_core.store.types import Id
from runvis_core.store.view import open_view

SMALL_BODY_BYTES: Final = 16 * 1024
"""The largest body that a list shows; a run's own page shows all."""
LAST_CHARACTER: Final = "\U0010ffff"
_CHUNK: Final = 500
LISTED: Final = 2000
"""How many ids a statement takes as one list (`id_list`)."""

# Built once each, here and in other modules: to build such a statement takes longer than to run it.
RUN_IDS: Final = id_list("run_ids")
"""The runs that a statement is about."""
RUN_ID: Final[BindParameter[Any]] = bindparam("run_id", type_=Id())
"""The one run that a statement is about."""
_POSITIONS: Final[BindParameter[Any]] = bindparam("positions", expanding=True)
_ENTRIES: Final = select(entries.c.position, entries.c.entry).where(entries.c.position.in_(_POSITIONS))
_DIGESTS: Final = digest_list("digests")
# Bodies are kept by position, so that they leave with their entries; the way to them is through the run's own.
_BODIES: Final = select(bodies.c.digest, bodies.c.content).where(
    is_found_by(bodies.c.position, select(entries.c.position).where(is_among(entries.c.run_id, RUN_IDS))),
    is_among(bodies.c.digest, _DIGESTS),
)

T = TypeVar("T")


@contextmanager
def reading(store: Store) -> Generator[Connection]:
    """Open one consistent view of the store, or the one that is shared (`share_view`).

    Raises `UnreachableError` if the database can't be reached.
    """
    try:
        with open_view(store) as connection:
            yield connection
    except (OperationalError, InterfaceError) as error:
        raise UnreachableError(f"the store can't be reached now: {error.orig or error}") from error


class LoggedEntry(NamedTuple):
    """An entry's envelope, read; the event as JSON values."""

    position: int
    recorded_at: datetime
    principal: str
    event: dict[str, Any]
    data: bytes
    """What was hashed."""

    @property
    def leaf_hash(self) -> str:
        """The entry's hash in the ledger, in hexadecimal."""
        return leaf_hash(self.data).hex()

    def report(self) -> Report:
        """Return who said this, when, and where it stands in the log."""
        return Report(
            witness=Witness(self.event["witness"]),
            occurred_at=datetime.fromisoformat(self.event["occurred_at"]),
            recorded_at=self.recorded_at,
            position=self.position,
            principal=self.principal,
        )


def read_envelope(position: int, data: bytes) -> LoggedEntry:
    """Return what an entry's bytes say."""
    envelope = orjson.loads(data)
    recorded_at = datetime.fromisoformat(envelope["recorded_at"])
    return LoggedEntry(position, recorded_at, envelope["principal"], envelope["event"], bytes(data))


def find_entries(connection: Connection, positions: Iterable[int]) -> dict[int, LoggedEntry]:
    """Return the entries at these positions."""
    found: dict[int, LoggedEntry] = {}
    for chunk in chunks(sorted(set(positions))):
        rows = connection.execute(_ENTRIES, {_POSITIONS.key: chunk})
        found.update((row.position, read_envelope(row.position, row.entry)) for row in rows)
    return found


def find_bodies(connection: Connection, digests: dict[UUID, set[bytes]]) -> dict[bytes, Any]:
    """Return the content of bodies by their digests, which are given by the run whose entries hold them.

    Of one that was erased it says so, and by which decision.
    """
    found: dict[bytes, Any] = {}
    for run_ids in chunks(list(digests)):
        wanted = {digest for run_id in run_ids for digest in digests[run_id]}
        if not wanted:
            continue
        rows = connection.execute(_BODIES, {RUN_IDS.key: run_ids, _DIGESTS.key: list(wanted)})
        found.update((bytes(row.digest), orjson.loads(row.content)) for row in rows)
        if missing := wanted - found.keys():
            found.update(_find_erased(connection, run_ids, missing))
    return found


def find_bodies_at(connection: Connection, digests: Mapping[int, bytes]) -> dict[int, Any]:
    """Return the content of one body of each entry, by the entry's position."""
    found: dict[int, Any] = {}
    for positions in chunks(list(digests)):
        query = select(bodies.c.position, bodies.c.digest, bodies.c.content).where(bodies.c.position.in_(positions))
        for row in connection.execute(query):
            if bytes(row.digest) == digests[row.position]:
                found[row.position] = orjson.loads(row.content)
    return found


def _find_erased(connection: Connection, run_ids: Sequence[UUID], digests: set[bytes]) -> Iterator[tuple[bytes, str]]:
    query = (
        select(erasures.c.digest, erasures.c.decided_position)
        .join(entries, entries.c.position == erasures.c.position)
        .where(entries.c.run_id.in_(run_ids), erasures.c.digest.in_(digests))
    )
    for row in connection.execute(query):
        yield bytes(row.digest), f"[erased by decision {row.decided_position}]"


@cache
def _named(fields: tuple[str, ...]) -> Callable[[Iterable[Any]], Any]:
    return namedtuple("Plain", fields)._make  # type: ignore[misc]


def plain_rows(result: Any) -> list[Any]:
    """Return all rows of a result as named tuples, whose fields are several times as quickly read as SQLAlchemy's.

    Worth it where a row is read field by field and there are hundreds of them.
    """
    return list(map(_named(tuple(result.keys())), result.all()))


def chunks(items: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """Yield the items in parts that a database takes as parameters of one statement."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def has_row(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return for a column whether there is a row for which these conditions hold, which tie it to the row around it.

    EXISTS would say the same, but PostgreSQL may read the whole table for it, once for all rows around it; this it
    looks up by an index for each.
    """
    return select(_ONE).where(*conditions).limit(_ONE).scalar_subquery().is_not(None)


_ONE: Final = literal_column("1", Integer)


def begins_with(connection: Connection, column: ColumnElement[str], beginning: str) -> ColumnElement[bool]:
    """Return the condition that a text begins so, in the form for which this database uses the index on it.

    In PostgreSQL the index must be ordered by characters: collation `C`, or `text_pattern_ops`.
    """
    if connection.dialect.name == "postgresql":
        return column.startswith(beginning, autoescape=True)
    return column.between(beginning, beginning + LAST_CHARACTER)
