"""The guards in PostgreSQL.

Every trigger is ENABLE ALWAYS: replica mode goes around ordinary ones. Conditions stand in the functions, not in WHEN
clauses, because a function's source can be compared letter by letter with what is shipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, Table

from runvis_core.store import tables as t

_SIZE: Final = t.PARTITION_SIZE

ADDED: Final = "REFERENCING NEW TABLE AS added "


class Trigger(NamedTuple):
    """A trigger in the words of `pg_get_triggerdef`."""

    name: str
    when: str
    table: str
    each: str
    function: str

    @property
    def definition(self) -> str:
        """The statement that creates it."""
        return f"CREATE TRIGGER {self.name} {self.when} ON {self.table} {self.each} EXECUTE FUNCTION {self.function}"


FUNCTIONS: Final[dict[str, str]] = {
    "runvis_refuse": """
BEGIN
    RAISE EXCEPTION 'runvis: %', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END
""",
    # Holds for a whole statement, since a row sees no other rows of its own statement; direct inserts into a partition
    # fire the same trigger of the partition.
    "runvis_entries_added": """
DECLARE
    lowest bigint;
    highest bigint;
    number bigint;
BEGIN
    SELECT min(position), max(position), count(*) INTO lowest, highest, number FROM added;
    IF number = 0 THEN
        RETURN NULL;
    END IF;
    IF lowest IS DISTINCT FROM highest - number + 1
        OR (lowest <> 1 AND NOT EXISTS (SELECT FROM entries WHERE position = lowest - 1))
    THEN
        RAISE EXCEPTION 'runvis: positions have no gaps and are given once'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO event_ids (event_id, position) SELECT event_id, position FROM added;
    RETURN NULL;
END
""",
    "runvis_event_ids_added": """
BEGIN
    IF EXISTS (
        SELECT FROM added
        WHERE added.event_id IS DISTINCT FROM (
            SELECT entries.event_id FROM entries WHERE entries.position = added.position
        )
    ) THEN
        RAISE EXCEPTION 'runvis: an event id comes with its entry' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
""",
    "runvis_head_changed": """
BEGIN
    IF NEW.id IS DISTINCT FROM OLD.id OR NEW.position < OLD.position OR NEW.recorded_at < OLD.recorded_at
        OR (NEW.recorded_at IS NULL AND OLD.recorded_at IS NOT NULL)
    THEN
        RAISE EXCEPTION 'runvis: the head never goes back' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
""",
    "runvis_run_changed": f"""
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF {" OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in t.RUN_NAME)} THEN
            RAISE EXCEPTION 'runvis: a run keeps its id, its place and whose it is'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF OLD.frozen_position IS NOT NULL AND ({
        " OR ".join(f"(OLD.{name} IS NOT NULL AND NEW.{name} IS DISTINCT FROM OLD.{name})" for name in t.RUN_WRITE_ONCE)
    }) THEN
            RAISE EXCEPTION 'runvis: nothing that is set changes on a run that has ended'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    IF NEW.frozen_position IS NOT NULL AND (NEW.presumed IS NOT NULL OR (
        NEW.effective_state IS DISTINCT FROM NEW.state
        AND NOT EXISTS (SELECT FROM corrections WHERE run_id = NEW.run_id AND state = NEW.effective_state)
    )) THEN
        RAISE EXCEPTION 'runvis: a run that has ended is in its state, or in one that a correction supports'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
""",
}


def _refuse(message: str) -> str:
    return f"runvis_refuse('{message}')"


def _stays(table: str) -> Iterable[Trigger]:
    yield Trigger(f"{table}_never_leave", "BEFORE DELETE", table, "FOR EACH ROW", _refuse(f"{table} are never deleted"))
    yield Trigger(
        f"{table}_never_emptied", "BEFORE TRUNCATE", table, "FOR EACH STATEMENT", _refuse(f"{table} are never deleted")
    )


def _insert_only(table: str) -> Iterable[Trigger]:
    yield Trigger(
        f"{table}_never_change", "BEFORE UPDATE", table, "FOR EACH ROW", _refuse(f"{table} are never changed")
    )
    yield from _stays(table)


def _entries(table: str) -> Iterable[Trigger]:
    yield Trigger(f"{table}_no_gap", "AFTER INSERT", table, f"{ADDED}FOR EACH STATEMENT", "runvis_entries_added()")
    if table == "entries":
        # Row triggers stand on each partition, where they also hold for whoever writes to the partition itself.
        yield Trigger(
            "entries_never_emptied",
            "BEFORE TRUNCATE",
            table,
            "FOR EACH STATEMENT",
            _refuse("entries are never deleted"),
        )
    else:
        yield from _insert_only(table)


def _triggers(table: Table) -> list[Trigger]:
    name = table.name
    if table is t.entries:
        return list(_entries(name))
    if table is t.event_ids:
        added = Trigger(
            "event_ids_of_entries", "AFTER INSERT", name, f"{ADDED}FOR EACH STATEMENT", "runvis_event_ids_added()"
        )
        return [added, *_insert_only(name)]
    if table is t.head:
        changed = Trigger("head_never_goes_back", "BEFORE UPDATE", name, "FOR EACH ROW", "runvis_head_changed()")
        one = Trigger("head_is_one", "BEFORE INSERT", name, "FOR EACH ROW", _refuse("a log has one head"))
        return [one, changed, *_stays(name)]
    if table is t.runs:
        changed = Trigger(
            "runs_change_by_rule", "BEFORE INSERT OR UPDATE", name, "FOR EACH ROW", "runvis_run_changed()"
        )
        return [changed, *_stays(name)]
    return list(_insert_only(name)) if table in t.INSERT_ONLY or table in t.LEDGER else []


GUARDED: Final = (t.entries, t.event_ids, t.head, t.runs, *t.INSERT_ONLY, *t.LEDGER)


def _create(trigger: Trigger) -> list[str]:
    return [trigger.definition, f"ALTER TABLE {trigger.table} ENABLE ALWAYS TRIGGER {trigger.name}"]


def function_statements() -> list[str]:
    """Return the statements that create the functions which the guards call."""
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $runvis${source}$runvis$"
        for name, source in FUNCTIONS.items()
    ]


def create_statements(tables: list[Table]) -> list[str]:
    """Return the statements that create the guards of `tables`."""
    return [statement for table in tables for trigger in _triggers(table) for statement in _create(trigger)]


def partition_name(number: int) -> str:
    """Return the name of the partition of `entries` with this number, from 0."""
    return f"entries_{number:06}"


def partition_statements(number: int) -> list[str]:
    """Return the statements that create a partition of `entries` with its guards."""
    name = partition_name(number)
    lowest = number * _SIZE
    create = f"CREATE TABLE {name} PARTITION OF entries FOR VALUES FROM ({lowest}) TO ({lowest + _SIZE})"
    return [create, *(statement for trigger in _entries(name) for statement in _create(trigger))]


def changed_guards(connection: Connection) -> list[str]:
    """Return the guards that are missing, off or not as shipped, and rules and triggers that aren't ours."""
    return [*_changed_functions(connection), *_changed_triggers(connection), *_rules(connection)]


def _changed_functions(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql(
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
    ).all()
    standing = {str(row[0]): str(row[1]) for row in rows}
    return [
        f"{name}(): {'changed' if name in standing else 'missing'}"
        for name, source in FUNCTIONS.items()
        if standing.get(name) != source
    ]


def _changed_triggers(connection: Connection) -> list[str]:
    shipped = {trigger.name: trigger for table in GUARDED for trigger in _triggers(table)}
    partitions = connection.exec_driver_sql(
        "SELECT relid::regclass::text FROM pg_partition_tree('entries') WHERE isleaf AND level = 1"
    ).all()
    for partition in partitions:
        shipped.update({trigger.name: trigger for trigger in _entries(str(partition[0]))})
    rows = connection.exec_driver_sql(
        "SELECT tgname, tgenabled, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger"
        " JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal"
    ).all()
    standing = {str(row[0]): (str(row[1]), re.sub(r" ON [^ .]+\.", " ON ", str(row[2]))) for row in rows}
    problems: list[str] = []
    for name, trigger in sorted(shipped.items()):
        if name not in standing:
            problems.append(f"{name}: missing")
        elif standing[name][0] != "A":
            problems.append(f"{name}: turned off, or not always on")
        elif standing[name][1] != trigger.definition:
            problems.append(f"{name}: changed")
    return problems + [f"{name}: not shipped with RunVis" for name in sorted(standing.keys() - shipped.keys())]


def _rules(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql(
        "SELECT rulename, tablename FROM pg_rules WHERE schemaname = current_schema()"
    ).all()
    return [f"{row[0]}: a rule on {row[1]}, not shipped with RunVis" for row in rows]
