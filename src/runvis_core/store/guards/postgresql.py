"""The guards in PostgreSQL.

Every trigger is ENABLE ALWAYS: replica mode goes around ordinary ones. Conditions stand in the functions, not in WHEN
clauses, because a function's source can be compared letter by letter with what is shipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, Table

from runvis_core.model.decision import ERASURE, HOLD_PLACED, HOLD_RELEASED
from runvis_core.store import tables as t
from runvis_core.store.guards.holds import HELD

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
    "runvis_body_leaves": """
BEGIN
    IF NOT EXISTS (SELECT FROM erasures WHERE position = OLD.position AND digest = OLD.digest) THEN
        RAISE EXCEPTION 'runvis: bodies are never deleted' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END
""",
    "runvis_decision_added": """
BEGIN
    IF NOT EXISTS (
        SELECT FROM entries WHERE position = NEW.position AND kind = NEW.kind AND kind IN ('decision', 'access')
            AND position(NEW.details IN convert_from(entry, 'UTF8')) > 0
    ) THEN
        RAISE EXCEPTION 'runvis: a decision is what its entry says' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
""",
    "runvis_hold_added": """
BEGIN
    IF NOT EXISTS (
        SELECT FROM entries WHERE position = NEW.position AND kind = 'decision'
            AND position('"decision":"' || TG_ARGV[0] || '"' IN convert_from(entry, 'UTF8')) > 0
            AND position(NEW.hold_id IN convert_from(entry, 'UTF8')) > 0
    ) THEN
        RAISE EXCEPTION 'runvis: a hold is what its entry says' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
""",
    "runvis_erasure_added": f"""
BEGIN
    IF NOT EXISTS (
        SELECT FROM entries WHERE position = NEW.decided_position AND kind = 'decision'
            AND position('"decision":"{ERASURE}"' IN convert_from(entry, 'UTF8')) > 0
            AND position(encode(NEW.digest, 'hex') IN convert_from(entry, 'UTF8')) > 0
    ) THEN
        RAISE EXCEPTION 'runvis: an erasure is what its entry says' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS ({HELD.format(position="NEW.position")}) THEN
        RAISE EXCEPTION 'runvis: a legal hold covers the run, so nothing of it is erased'
            USING ERRCODE = 'integrity_constraint_violation';
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
    for trigger in _stays(table):
        is_erasable = table == "bodies" and trigger.when == "BEFORE DELETE"
        yield trigger._replace(function="runvis_body_leaves()") if is_erasable else trigger


_ADDERS: Final = {
    "decisions": "runvis_decision_added()",
    "holds": f"runvis_hold_added('{HOLD_PLACED}')",
    "hold_releases": f"runvis_hold_added('{HOLD_RELEASED}')",
    "erasures": "runvis_erasure_added()",
}
"""What looks at a new row of a table that says what decisions say."""


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
    adder = _ADDERS.get(name)
    added = [Trigger(f"{name}_of_entries", "BEFORE INSERT", name, "FOR EACH ROW", adder)] if adder else []
    return [*added, *_insert_only(name)] if table in (*t.INSERT_ONLY, *t.LEDGER) else []


GUARDED: Final = (t.entries, t.event_ids, t.head, t.runs, *t.INSERT_ONLY, *t.LEDGER)


def _create(trigger: Trigger) -> list[str]:
    return [trigger.definition, f"ALTER TABLE {trigger.table} ENABLE ALWAYS TRIGGER {trigger.name}"]


def function_statements(schema: str) -> list[str]:
    """Return the statements that create the functions which the guards call, and the one that the log grows by."""
    return [
        *(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $runvis${source}$runvis$"
            for name, source in FUNCTIONS.items()
        ),
        # In the owner's name, so that a writer needs no right to create tables; and by the store's own names.
        "CREATE OR REPLACE FUNCTION runvis_add_partition(number bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER"
        f' SET search_path = "{schema}", pg_temp AS $runvis${_add_partition()}$runvis$',
    ]


def _add_partition() -> str:
    name = "entries_part"
    orders = "".join(
        f"    EXECUTE replace($sql${statement}$sql$, '{name}', part);\n"
        for trigger in _entries(name)
        for statement in _create(trigger)
    )
    return f"""
DECLARE
    part text := 'entries_' || CASE WHEN number < 1000000 THEN lpad(number::text, 6, '0') ELSE number::text END;
    lowest bigint := number * {_SIZE};
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN;
    END IF;
    IF number < 0 OR lowest > (SELECT position FROM head) + {2 * _SIZE} THEN
        RAISE EXCEPTION 'runvis: the log grows by one partition after the other'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF entries FOR VALUES FROM (%s) TO (%s)', part, lowest, lowest + {_SIZE});
{orders}END
"""


EVENT_TRIGGER: Final = "runvis_forbids"
_REFUSE_ORDERS: Final = """
DECLARE
    stack text;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    -- The log grows by this one function, which does nothing else.
    IF stack !~ 'PL/pgSQL function runvis_add_partition[(]bigint[)] line' THEN
        RAISE EXCEPTION 'runvis: % is forbidden on this database, to its owner too', tg_tag
            USING ERRCODE = 'insufficient_privilege',
                HINT = 'For `runvis db upgrade` and `runvis db rebuild` connect as a superuser: they lift it.';
    END IF;
END
"""
_FORBIDDEN: Final = tuple(
    f"{order} {thing}"
    for thing, orders in {
        "TABLE": ("ALTER", "DROP"),
        "INDEX": ("ALTER", "DROP"),
        "TRIGGER": ("CREATE", "ALTER", "DROP"),
        "RULE": ("CREATE", "ALTER", "DROP"),
        "POLICY": ("CREATE", "ALTER", "DROP"),
        "FUNCTION": ("CREATE", "ALTER", "DROP"),
        "PROCEDURE": ("CREATE", "ALTER", "DROP"),
        "ROUTINE": ("ALTER", "DROP"),
        "SCHEMA": ("ALTER", "DROP"),
        "OWNED": ("DROP",),
    }.items()
    for order in orders
)
"""What would take a guard away, go around it, or hide rows."""


def event_trigger_statements() -> list[str]:
    """Return the statements that forbid to all, the owner too, what would go around the guards."""
    tags = ", ".join(f"'{tag}'" for tag in _FORBIDDEN)
    return [
        f"DROP EVENT TRIGGER IF EXISTS {EVENT_TRIGGER}",
        "CREATE OR REPLACE FUNCTION runvis_refuse_orders() RETURNS event_trigger LANGUAGE plpgsql"
        f" AS $runvis${_REFUSE_ORDERS}$runvis$",
        f"CREATE EVENT TRIGGER {EVENT_TRIGGER} ON ddl_command_start WHEN TAG IN ({tags})"
        " EXECUTE FUNCTION runvis_refuse_orders()",
        f"ALTER EVENT TRIGGER {EVENT_TRIGGER} ENABLE ALWAYS",
    ]


def create_statements(tables: list[Table]) -> list[str]:
    """Return the statements that create the guards of `tables`."""
    return [statement for table in tables for trigger in _triggers(table) for statement in _create(trigger)]


def drop_statements(tables: list[Table]) -> list[str]:
    """Return the statements that drop the guards of `tables`."""
    return [
        f"DROP TRIGGER IF EXISTS {trigger.name} ON {trigger.table}" for table in tables for trigger in _triggers(table)
    ]


def partition_name(number: int) -> str:
    """Return the name of the partition of `entries` with this number, from 0."""
    return f"entries_{number:06}"


def changed_guards(connection: Connection) -> list[str]:
    """Return the guards that are missing, off or not as shipped, and rules and triggers that aren't ours."""
    return [
        *_changed_functions(connection),
        *_changed_triggers(connection),
        *_rules(connection),
        *_changed_event_trigger(connection),
    ]


def _changed_functions(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql(
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
    ).all()
    standing = {str(row[0]): str(row[1]) for row in rows}
    shipped = {**FUNCTIONS, "runvis_add_partition": _add_partition()}
    if "runvis_refuse_orders" in standing:
        shipped["runvis_refuse_orders"] = _REFUSE_ORDERS
    return [
        f"{name}(): {'changed' if name in standing else 'missing'}"
        for name, source in shipped.items()
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


def _changed_event_trigger(connection: Connection) -> list[str]:
    """Return what is wrong with what forbids orders, where the roles were set up: only a superuser can be at it."""
    owner_logs_in = connection.exec_driver_sql(
        "SELECT rolcanlogin FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner"
        " WHERE relnamespace = current_schema()::regnamespace AND relname = 'entries'"
    ).scalar_one()
    row = connection.exec_driver_sql(
        "SELECT evtenabled, evtevent, evttags, evtfoid::regproc::text FROM pg_event_trigger"
        f" WHERE evtname = '{EVENT_TRIGGER}'"
    ).one_or_none()
    if row is None:
        return [] if owner_logs_in else [f"{EVENT_TRIGGER}: missing"]
    is_shipped = row[1] == "ddl_command_start" and set(row[2] or ()) == set(_FORBIDDEN)
    if not is_shipped or not str(row[3]).endswith("runvis_refuse_orders"):
        return [f"{EVENT_TRIGGER}: changed"]
    return [] if row[0] == "A" else [f"{EVENT_TRIGGER}: turned off, or not always on"]
