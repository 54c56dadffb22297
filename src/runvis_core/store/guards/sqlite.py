"""The guards in SQLite.

`INSERT OR REPLACE` removes the row that is in its way without asking an UPDATE or DELETE trigger, so every key that
must stay has a guard on INSERT as well.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Table

from runvis_core.model.decision import ERASURE, HOLD_PLACED, HOLD_RELEASED
from runvis_core.store import tables as t
from runvis_core.store.guards.holds import HELD


def _refuse(message: str) -> str:
    return f"SELECT RAISE(ABORT, 'runvis: {message}')"


def _trigger(name: str, timing: str, table: str, body: str, *, when: str = "") -> tuple[str, str]:
    condition = f" WHEN {when}" if when else ""
    return name, f"CREATE TRIGGER {name} {timing} ON {table} FOR EACH ROW{condition} BEGIN {body}; END"


def _insert_only(table: Table, *, but: str = "") -> Iterable[tuple[str, str]]:
    name = table.name
    yield _trigger(f"{name}_never_change", "BEFORE UPDATE", name, _refuse(f"{name} are never changed"))
    yield _trigger(f"{name}_never_leave", "BEFORE DELETE", name, _refuse(f"{name} are never deleted"), when=but)


_NOT_ERASED = "NOT EXISTS (SELECT 1 FROM erasures WHERE position = OLD.position AND digest = OLD.digest)"
_ENTRY_SAYS = "SELECT 1 FROM entries WHERE position = NEW.{position} AND kind {kinds} AND {said}"


def _says(text: str) -> str:
    return f"instr(CAST(entry AS TEXT), {text}) > 0"


def _decisions() -> Iterable[tuple[str, str]]:
    said = _ENTRY_SAYS.format(
        position="position", kinds="= NEW.kind AND kind IN ('decision', 'access')", said=_says("NEW.details")
    )
    yield _trigger(
        "decisions_of_entries",
        "BEFORE INSERT",
        "decisions",
        _refuse("a decision is what its entry says"),
        when=f"NOT EXISTS ({said})",
    )


def _holds(table: Table, decision: str) -> Iterable[tuple[str, str]]:
    said = _ENTRY_SAYS.format(
        position="position",
        kinds="= 'decision'",
        said=f"{_says(repr(_quoted('decision', decision)))} AND {_says('NEW.hold_id')}",
    )
    yield _trigger(
        f"{table.name}_of_entries",
        "BEFORE INSERT",
        table.name,
        _refuse("a hold is what its entry says"),
        when=f"NOT EXISTS ({said})",
    )


def _quoted(name: str, value: str) -> str:
    return f'"{name}":"{value}"'


def _erasures() -> Iterable[tuple[str, str]]:
    said = _ENTRY_SAYS.format(
        position="decided_position",
        kinds="= 'decision'",
        said=f"{_says(repr(_quoted('decision', ERASURE)))} AND {_says('lower(hex(NEW.digest))')}",
    )
    yield _trigger(
        "erasures_of_entries",
        "BEFORE INSERT",
        "erasures",
        _refuse("an erasure is what its entry says"),
        when=f"NOT EXISTS ({said})",
    )
    yield _trigger(
        "erasures_yield_to_holds",
        "BEFORE INSERT",
        "erasures",
        _refuse("a legal hold covers the run, so nothing of it is erased"),
        when=f"EXISTS ({HELD.format(position='NEW.position')})",
    )


def _insert_once(table: Table) -> Iterable[tuple[str, str]]:
    name = table.name
    key = " AND ".join(f'"{column.name}" = NEW."{column.name}"' for column in table.primary_key)
    exists = f"EXISTS (SELECT 1 FROM {name} WHERE {key})"
    yield _trigger(f"{name}_only_once", "BEFORE INSERT", name, _refuse(f"{name} are never replaced"), when=exists)


def _entries() -> Iterable[tuple[str, str]]:
    yield from _insert_only(t.entries)
    # After an archive has taken all entries, the head still knows the last position.
    next_position = "coalesce((SELECT max(position) FROM entries), (SELECT position FROM head), 0) + 1"
    yield _trigger(
        "entries_no_gap",
        "BEFORE INSERT",
        "entries",
        _refuse("positions have no gaps and are given once"),
        when=f"NEW.position IS NOT {next_position}",
    )
    yield _trigger(
        "entries_event_id",
        "AFTER INSERT",
        "entries",
        "INSERT INTO event_ids (event_id, position) VALUES (NEW.event_id, NEW.position)",
    )


def _event_ids() -> Iterable[tuple[str, str]]:
    yield from _insert_only(t.event_ids)
    yield from _insert_once(t.event_ids)
    yield _trigger(
        "event_ids_of_entries",
        "BEFORE INSERT",
        "event_ids",
        _refuse("an event id comes with its entry"),
        when="NOT EXISTS (SELECT 1 FROM entries WHERE position = NEW.position AND event_id = NEW.event_id)",
    )


def _head() -> Iterable[tuple[str, str]]:
    yield _trigger(
        "head_is_one", "BEFORE INSERT", "head", _refuse("a log has one head"), when="EXISTS (SELECT 1 FROM head)"
    )
    yield _trigger("head_never_leaves", "BEFORE DELETE", "head", _refuse("a log has one head"))
    yield _trigger(
        "head_never_goes_back",
        "BEFORE UPDATE",
        "head",
        _refuse("the head never goes back"),
        when="NEW.id IS NOT OLD.id OR NEW.position < OLD.position OR NEW.recorded_at < OLD.recorded_at"
        " OR (NEW.recorded_at IS NULL AND OLD.recorded_at IS NOT NULL)",
    )


def _runs() -> Iterable[tuple[str, str]]:
    yield _trigger("runs_never_leave", "BEFORE DELETE", "runs", _refuse("runs are never deleted"))
    yield _trigger(
        "runs_only_once",
        "BEFORE INSERT",
        "runs",
        _refuse("runs are never replaced"),
        when="EXISTS (SELECT 1 FROM runs WHERE run_id = NEW.run_id OR first_position = NEW.first_position)",
    )
    yield _trigger(
        "runs_keep_their_name",
        "BEFORE UPDATE",
        "runs",
        _refuse("a run keeps its id, its place and whose it is"),
        when=" OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in t.RUN_NAME),
    )
    changed = " OR ".join(f"(OLD.{name} IS NOT NULL AND NEW.{name} IS NOT OLD.{name})" for name in t.RUN_WRITE_ONCE)
    yield _trigger(
        "runs_are_frozen",
        "BEFORE UPDATE",
        "runs",
        _refuse("nothing that is set changes on a run that has ended"),
        when=f"OLD.frozen_position IS NOT NULL AND ({changed})",
    )
    lies = (
        "NEW.frozen_position IS NOT NULL AND (NEW.presumed IS NOT NULL OR (NEW.effective_state IS NOT NEW.state"
        " AND NOT EXISTS (SELECT 1 FROM corrections WHERE run_id = NEW.run_id AND state = NEW.effective_state)))"
    )
    for event in ("INSERT", "UPDATE"):
        yield _trigger(
            f"runs_end_as_testified_{event.lower()}",
            f"BEFORE {event}",
            "runs",
            _refuse("a run that has ended is in its state, or in one that a correction supports"),
            when=lies,
        )


def _guards() -> dict[str, dict[str, str]]:
    guards = {
        "entries": dict(_entries()),
        "event_ids": dict(_event_ids()),
        "head": dict(_head()),
        "runs": dict(_runs()),
    }
    for table in (*t.INSERT_ONLY, *t.LEDGER):
        stays = _insert_only(table, but=_NOT_ERASED if table is t.bodies else "")
        guards[table.name] = {**dict(stays), **dict(_insert_once(table))}
    guards["decisions"] |= dict(_decisions())
    guards["holds"] |= dict(_holds(t.holds, HOLD_PLACED))
    guards["hold_releases"] |= dict(_holds(t.hold_releases, HOLD_RELEASED))
    guards["erasures"] |= dict(_erasures())
    return guards


def create_statements(tables: list[Table]) -> list[str]:
    """Return the statements that create the guards of `tables`."""
    guards = _guards()
    return [sql for table in tables for sql in guards.get(table.name, {}).values()]


def drop_statements(tables: list[Table]) -> list[str]:
    """Return the statements that drop the guards of `tables`."""
    guards = _guards()
    return [f"DROP TRIGGER IF EXISTS {name}" for table in tables for name in guards.get(table.name, ())]


def changed_guards(connection: Connection) -> list[str]:
    """Return the guards that are missing or not as shipped, and triggers that aren't ours."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
    standing = {str(row[0]): str(row[1]) for row in rows}
    shipped = {name: sql for guards in _guards().values() for name, sql in guards.items()}
    missing = [f"{name}: missing" for name in sorted(shipped.keys() - standing.keys())]
    foreign = [f"{name}: not shipped with RunVis" for name in sorted(standing.keys() - shipped.keys())]
    changed = [f"{name}: changed" for name in sorted(shipped) if name in standing and standing[name] != shipped[name]]
    return missing + changed + foreign
