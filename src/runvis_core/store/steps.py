"""Projections beside the log: what is derived from it off the ingest path.

A step takes the entries in their order, after its own position, and writes what follows from them in the same
transaction as the new position: each entry is taken once, whoever drives the step and whenever it was killed. Lineage
edges, counts, state intervals and the ledger's tiles are such steps. A rebuild of the store empties their tables and
`steps`, so that they begin again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from sqlalchemy import Connection, insert, select, true, update
from sqlalchemy.exc import DBAPIError

from runvis_core.errors import RunVisError, UnreachableError
from runvis_core.store import tables as t
from runvis_core.store.database import Store
from runvis_core.store.log import StoredEntry
from runvis_core.store.view import may_catch_up

CHUNK: Final = 1000
"""Entries that one transaction takes: ingest waits for it in SQLite, which has one writer."""
PAUSE_SECONDS: Final = 0.2
"""How long `follow_steps` waits once it has taken all there was: many entries together cost half of what few do."""
TROUBLE_SECONDS: Final = 10.0
"""How long `follow_steps` waits after an error."""

_log = logging.getLogger(__name__)

# Built once: to build such a statement takes longer than to run it.
_POSITIONS: Final = select(t.head.c.position.label("head"), t.steps).outerjoin_from(t.head, t.steps, true())
"""The log's head beside each step; beside nothing while no step took anything."""


class Step(Protocol):
    """One projection beside the log."""

    @property
    def name(self) -> str:
        """The name under which its position is kept, the same for good."""
        ...

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> Callable[[], None] | None:
        """Write what follows from entries, given in order of position, each once.

        What it returns, if anything, is called once all of it is durable. Tables that the log's own transaction keeps
        (`runs`, …) may already say what later entries brought.
        """
        ...


@runtime_checkable
class CheckedStep(Protocol):
    """A step that can say whether its tables are what the log makes of them, up to the step's position."""

    def check(self, connection: Connection) -> Iterator[str]:
        """Yield each row that the log does not support, and each that is lacking, in words that name it."""
        ...


class Lag(NamedTuple):
    """How far a step is behind the log."""

    name: str
    position: int
    """The last position taken, 0 at the beginning."""
    head: int

    @property
    def entries(self) -> int:
        """How many entries are still to be taken."""
        return self.head - self.position


class Recent:
    """The entries that were read last: steps mostly stand at the same place, and each would read the same again."""

    def __init__(self) -> None:
        self._after = 0
        self._entries: list[StoredEntry] = []

    def read(self, connection: Connection, after: int, limit: int) -> list[StoredEntry]:
        """Return the next entries after a position, at most `limit`; none at the head."""
        if after != self._after or not self._entries:
            query = select(t.entries).where(t.entries.c.position > after).order_by(t.entries.c.position).limit(limit)
            self._after, self._entries = after, [StoredEntry(*row) for row in connection.execute(query).all()]
        return self._entries[:limit]


def advance(store: Store, step: Step, *, limit: int = CHUNK, recent: Recent | None = None) -> int:
    """Let a step take the next entries, at most `limit`; return how many it took, 0 once it is at the head.

    Two that drive one step at once wait for one another. Raises `UnreachableError` if the store can't be reached, or
    may not be written to.
    """
    if not _find_lags(store, [step])[0].entries:
        return 0
    try:
        with _writing(store) as connection, _unhurried(connection), connection.begin():
            after = _lock(connection, step.name)
            entries = (recent or Recent()).read(connection, after, limit)
            tell = None
            if entries:
                tell = step.take(connection, entries)
                moved = update(t.steps).where(t.steps.c.name == step.name)
                connection.execute(moved.values(position=entries[-1].position))
        if tell is not None:
            _make_durable(store)
    except DBAPIError as error:
        raise UnreachableError(f"'{step.name}' can't be brought up to the log now: {error.orig}") from error
    if tell is not None:
        tell()
    return len(entries)


def _writing(store: Store) -> Connection:
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    return store.engine.connect().execution_options(**options)


@contextmanager
def _unhurried(connection: Connection) -> Generator[None]:
    """Don't wait for the disk at the end of a SQLite transaction, in which ingest would have to wait, too.

    The log's next commit takes what lies before it to the disk. Whatever a loss of power takes away is taken from the
    log again: with the rows it takes the position that stands for them.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.driver_connection
    (before,) = raw.execute("PRAGMA synchronous").fetchone()
    raw.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA synchronous = {before}")


def _make_durable(store: Store) -> None:
    """Wait until all that was written is on the disk: a commit in SQLite takes everything before it there."""
    if store.engine.dialect.name == "sqlite":
        with _writing(store) as connection, connection.begin():
            connection.execute(update(t.steps).values(position=t.steps.c.position))


def catch_up(store: Store, steps: Iterable[Step]) -> None:
    """Bring steps to where the log's head is now. Raises `UnreachableError` as `advance` does.

    To be called before anything is read in a view that is shared, see `may_catch_up`.
    """
    wanted = list(steps)
    if not may_catch_up(store, [step.name for step in wanted]):
        return
    recent = Recent()
    for step, lag in zip(wanted, _find_lags(store, wanted), strict=True):
        left = lag.entries
        while left > 0:
            taken = advance(store, step, recent=recent)
            left = left - taken if taken else 0


def list_lags(connection: Connection, steps: Iterable[Step]) -> list[Lag]:
    """Return how far each step is behind the log, in the view of one connection."""
    rows: Sequence[Any] = connection.execute(_POSITIONS).all()
    positions = {row.name: row.position for row in rows}
    return [Lag(step.name, positions.get(step.name, 0), rows[0].head) for step in steps]


def follow_steps(store: Store, steps: Sequence[Step], stop: threading.Event) -> None:
    """Keep steps at the head of the log until `stop` is set. An error is said, once, and tried again.

    A step that fails does not hold up the others.
    """
    is_down = False
    recent = Recent()
    while not stop.is_set():
        taken, error = _advance_each(store, steps, recent)
        if error is not None:
            if not is_down:
                _log.warning("%s; it is tried again every %.0f s", error, TROUBLE_SECONDS)
            is_down = True
            stop.wait(TROUBLE_SECONDS)
            continue
        if is_down:
            _log.info("the projections beside the log go on")
            is_down = False
        if taken < CHUNK:
            stop.wait(PAUSE_SECONDS)


def _advance_each(store: Store, steps: Sequence[Step], recent: Recent) -> tuple[int, RunVisError | None]:
    """Let each step take its next entries; return the most that one took, and the first error."""
    taken, failed = 0, None
    for step in steps:
        try:
            taken = max(taken, advance(store, step, recent=recent))
        except RunVisError as error:
            failed = failed or error
    return taken, failed


def _find_lags(store: Store, steps: Iterable[Step]) -> list[Lag]:
    try:
        with store.engine.connect() as connection:
            return list_lags(connection, steps)
    except DBAPIError as error:
        raise UnreachableError(f"the store can't be reached now: {error.orig}") from error


def _lock(connection: Connection, name: str) -> int:
    """Return a step's position, which nobody else can move until the transaction ends."""
    query = select(t.steps.c.position).where(t.steps.c.name == name)
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_or_leave

        connection.execute(insert_or_leave(t.steps).values(name=name, position=0).on_conflict_do_nothing())
        return connection.execute(query.with_for_update()).scalar_one()
    position = connection.execute(query).scalar_one_or_none()
    if position is None:
        connection.execute(insert(t.steps).values(name=name, position=0))
    return position or 0
