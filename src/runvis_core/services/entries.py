"""The log as it is read: entry by entry, in its order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select, type_coerce
from sqlalchemy.types import NullType

from runvis_core.services.answers import EntryPage, EntryView
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import RUN_ID, LoggedEntry, read_envelope, reading
from runvis_core.store.database import Store
from runvis_core.store.tables import entries, head, runs


def list_entries(store: Store, *, after: int, limit: int) -> EntryPage:
    """Return the entries that come after a position, in the log's order."""
    with reading(store) as connection:
        query = _NAMED.where(entries.c.position > after).order_by(entries.c.position).limit(limit)
        return _page(connection.execute(query), after=after)


class RawEntry(NamedTuple):
    """An entry as it lies in the log, with what is said of its run beside it."""

    position: int
    run_id: bytes | None
    """The 16 bytes of the id."""
    kind: str
    entry: bytes
    """Exactly the bytes that were hashed."""
    definition: str | None
    native_id: str | None


def list_raw_entries(store: Store, *, after: int, limit: int) -> list[RawEntry]:
    """Return the entries that come after a position, in the log's order, unread: for whoever passes them on."""
    with reading(store) as connection:
        rows = connection.execute(_RAW, {"after": after, "at_most": limit}).all()
    return [RawEntry(position, _bytes_of(run_id), *said) for position, run_id, *said in rows]


_NAMED: Final = select(entries.c.position, entries.c.entry, runs.c.definition, runs.c.native_id).outerjoin(
    runs, runs.c.run_id == entries.c.run_id
)
"""Entries with what is said of their runs."""
_RAW: Final = (
    select(
        entries.c.position,
        # As the driver has it: to make an id of each would take longer than to read the rest.
        type_coerce(entries.c.run_id, NullType()).label("run_id"),
        entries.c.kind,
        entries.c.entry,
        runs.c.definition,
        runs.c.native_id,
    )
    .outerjoin(runs, runs.c.run_id == entries.c.run_id)
    .where(entries.c.position > bindparam("after"))
    .order_by(entries.c.position)
    .limit(bindparam("at_most"))
)


def _bytes_of(run_id: bytes | UUID | None) -> bytes | None:
    return run_id.bytes if isinstance(run_id, UUID) else run_id


def find_head(store: Store) -> int:
    """Return the position of the log's last entry, 0 while it has none."""
    with reading(store) as connection:
        return connection.scalar(_HEAD) or 0


def find_recorded_at(store: Store, position: int) -> datetime | None:
    """Return when the entry at a position was recorded; None where there is none."""
    page = list_entries(store, after=position - 1, limit=1) if position else None
    return page.items[0].recorded_at if page and page.items else None


def list_last_entries(store: Store, *, limit: int) -> EntryPage:
    """Return the last entries of the log, in its order; with a limit of 0 only where it ends."""
    with reading(store) as connection:
        end: int = connection.scalar(_HEAD) or 0
        query = _NAMED.order_by(entries.c.position.desc()).limit(limit)
        rows: Sequence[Any] = connection.execute(query).all() if limit else []
        return _page(rows[::-1], after=end)


def list_run_entries(store: Store, name: str, *, after: int, limit: int) -> EntryPage:
    """Return the entries about one run that come after a position. Raises `NotFoundError` if there is no such run."""
    with reading(store) as connection:
        return find_run_entries(connection, resolve_run(connection, name), after=after, limit=limit)


def find_run_entries(connection: Connection, run_id: UUID, *, after: int, limit: int) -> EntryPage:
    """Return the entries about the run of this id, as `list_run_entries` does; none if there is no such run."""
    rows = connection.execute(_OF_RUN, {RUN_ID.key: run_id, "after": after, "most": limit})
    return _page(rows, after=after)


# Built once each: to build such a statement takes longer than to run it.
_HEAD: Final = select(head.c.position)
_LAST_OF_RUN: Final = select(func.max(entries.c.position)).where(entries.c.run_id == RUN_ID)
_OF_RUN: Final = (
    _NAMED.where(entries.c.run_id == RUN_ID, entries.c.position > bindparam("after"))
    .order_by(entries.c.position)
    .limit(bindparam("most"))
)


def _page(rows: Iterable[Any], *, after: int) -> EntryPage:
    items = [_entry(read_envelope(row.position, row.entry), row) for row in rows]
    return EntryPage(items=items, after=max(after, *(item.position for item in items)) if items else after)


def _entry(read: LoggedEntry, row: Any) -> EntryView:
    return EntryView(
        position=read.position,
        recorded_at=read.recorded_at,
        principal=read.principal,
        event=read.event,
        definition=row.definition,
        native_id=row.native_id,
    )


def find_last_position(store: Store, run_id: UUID, *, until: int | None = None) -> int | None:
    """Return the position of the last entry about a run, up to a position; None if there is none."""
    query = _LAST_OF_RUN if until is None else _LAST_OF_RUN.where(entries.c.position <= until)
    with reading(store) as connection:
        return connection.scalar(query, {RUN_ID.key: run_id})
