"""Which producers told of a run, and which of their numbers stand in its entries: a projection beside the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Connection, case, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from runvis_core.model.state import TERMINAL_STATES
from runvis_core.store import tables as t
from runvis_core.store.log import StoredEntry
from runvis_core.store.step_rows import find_foreign_rows, find_position, name_differences, walk_runs


class Told(NamedTuple):
    """What one producer told of one run."""

    run_id: UUID
    producer: UUID
    witness: str
    entries: int
    first_sequence: int
    last_sequence: int
    testified: bool
    """Whether it told how the run ended."""

    def joined(self, other: Told) -> Told:
        """Return both as one."""
        return self._replace(
            entries=self.entries + other.entries,
            first_sequence=min(self.first_sequence, other.first_sequence),
            last_sequence=max(self.last_sequence, other.last_sequence),
            testified=self.testified or other.testified,
        )


def find_told(entries: Iterable[tuple[UUID | None, bytes]]) -> dict[tuple[UUID, UUID], Told]:
    """Return by run and producer what entries say that their producers told; each is given with its run."""
    found: dict[tuple[UUID, UUID], Told] = {}
    for run_id, data in entries:
        if run_id is None:
            continue
        event = orjson.loads(data)["event"]
        producer, sequence = event.get("producer"), event.get("sequence")
        if producer is None or sequence is None:
            continue
        testified = event["kind"] in ("state", "snapshot") and event.get("state") in TERMINAL_STATES
        told = Told(run_id, UUID(producer), event["witness"], 1, sequence, sequence, testified)
        key = (told.run_id, told.producer)
        found[key] = found[key].joined(told) if key in found else told
    return found


class AccountStep:
    """Keeps `run_producers`."""

    name = "account"

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        """Add what these entries' producers told."""
        told = find_told((entry.run_id, entry.entry) for entry in entries)
        if told:
            connection.execute(_add(connection), [one._asdict() for _, one in sorted(told.items())])

    def check(self, connection: Connection) -> Iterator[str]:
        """Yield each row that the log does not support, and each that is lacking, up to where the step is."""
        until = find_position(connection, self.name)
        entries = t.entries.c
        for runs in walk_runs(connection, until=until):
            run_ids = [run.run_id for run in runs]
            told = select(entries.run_id, entries.entry).where(entries.run_id.in_(run_ids), entries.position <= until)
            expected = find_told((row.run_id, row.entry) for row in connection.execute(told)).values()
            standing = connection.execute(select(t.run_producers).where(t.run_producers.c.run_id.in_(run_ids)))
            yield from name_differences(t.run_producers, standing, expected)
        yield from find_foreign_rows(connection, t.run_producers)


def _add(connection: Connection) -> Any:
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    columns, statement = t.run_producers.c, insert(t.run_producers)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[columns.run_id, columns.producer],
        set_={
            "entries": columns.entries + new.entries,
            "first_sequence": _either(new.first_sequence < columns.first_sequence, "first_sequence", new),
            "last_sequence": _either(new.last_sequence > columns.last_sequence, "last_sequence", new),
            "testified": or_(columns.testified, new.testified),
        },
    )


def _either(is_new: Any, name: str, new: Any) -> Any:
    return case((is_new, new[name]), else_=t.run_producers.c[name])


ACCOUNT: Final = AccountStep()
