"""The roles of a PostgreSQL store: what each may do, and that what none may do is refused or found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.faults.scale import found
from tests.runvis_core.store.test_event_log import TestPostgresql as Postgresql

from runvis_core.errors import StoreError
from runvis_core.store import tables as t
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.grants import GRANTS
from runvis_core.store.guards import create_functions
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.roles import Roles, create_roles, find_power, find_role_problems
from runvis_core.store.schema import changed_guards, upgrade_schema
from runvis_core.testing.event_log_suite import a_life, append, erase_bodies, fill, is_refused, projections
from runvis_core.testing.factories import a_run_id

As = Callable[[str], Store]
ROLES = Roles.of("runvis")

GOING_AROUND = [
    "ALTER TABLE runs DISABLE TRIGGER USER",
    "ALTER TABLE runs DISABLE TRIGGER runs_never_leave",
    "ALTER TABLE entries_000000 DISABLE TRIGGER ALL",
    "DROP TRIGGER runs_never_leave ON runs",
    "CREATE RULE swallow AS ON INSERT TO runs DO INSTEAD NOTHING",
    "CREATE TRIGGER swallow BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION runvis_refuse('x')",
    "CREATE OR REPLACE FUNCTION runvis_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    "CREATE FUNCTION runvis_add_partition(bigint, int) RETURNS void LANGUAGE sql AS ''",
    "ALTER FUNCTION runvis_refuse() RENAME TO other",
    "DROP FUNCTION runvis_refuse() CASCADE",
    "ALTER TABLE entries RENAME TO gone",
    "ALTER TABLE entries DETACH PARTITION entries_000000",
    "DROP TABLE bodies",
    "DROP TABLE entries CASCADE",
    "DROP SCHEMA public CASCADE",
    "CREATE POLICY hide ON runs USING (false)",
    "ALTER TABLE runs ENABLE ROW LEVEL SECURITY",
    "DO $$ BEGIN EXECUTE 'ALTER TABLE runs DISABLE TRIGGER USER'; END $$",
]
"""What would take a guard away, go around it, or hide rows."""


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    """A store with its roles, opened by a superuser."""
    opened = open_store(postgresql_url)
    create_roles(opened.engine)
    yield opened
    opened.close()


@pytest.fixture
def as_role(store: Store) -> Iterator[As]:
    """A function that opens the store as somebody else."""
    opened: list[Store] = []

    def open_as(role: str) -> Store:
        opened.append(open_store(store.engine.url.set(username=role).render_as_string(hide_password=False)))
        return opened[-1]

    yield open_as
    for other in opened:
        other.close()


def refused_as_owner(store: Store, statement: str) -> bool:
    with store.engine.connect() as connection, suppress(DBAPIError):
        with connection.begin():
            connection.execute(text(f"SET LOCAL ROLE {ROLES.owner}"))
            connection.execute(text(statement))
        return False
    return True


def test_every_table_says_who_may_do_what_with_it() -> None:
    assert set(GRANTS) == {*t.metadata.tables, "alembic_version"}


def test_the_writer_writes_all_that_there_is_to_write(store: Store, as_role: As) -> None:
    writer = as_role(ROLES.writer)
    fill(writer)
    append(writer, *(event for number in range(30) for event in a_life(f"run-{number}")))
    assert check_store(writer) == []
    assert changed_guards(writer.engine) == []
    with writer.engine.connect() as connection:
        assert find_power(connection) is None


def test_the_log_grows_into_new_partitions_in_the_writers_hand(
    store: Store, as_role: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runvis_core.store.guards import postgresql

    # Positions can't be skipped, so the borders come to the positions.
    monkeypatch.setattr(t, "PARTITION_SIZE", 10)
    monkeypatch.setattr(postgresql, "_SIZE", 10)
    with store.engine.begin() as connection:
        connection.execute(text("ALTER EVENT TRIGGER runvis_forbids DISABLE"))
        create_functions(connection)
        connection.execute(text("ALTER TABLE entries DETACH PARTITION entries_000000"))
        connection.execute(text("ALTER TABLE entries ATTACH PARTITION entries_000000 FOR VALUES FROM (0) TO (10)"))
        connection.execute(text("ALTER EVENT TRIGGER runvis_forbids ENABLE ALWAYS"))
    writer = as_role(ROLES.writer)
    for number in range(6):
        append(writer, *a_life(f"run-{number}"))
    assert writer.log.head().position == 30
    assert changed_guards(writer.engine) == []
    assert is_refused(writer, "SELECT runvis_add_partition(50)")
    assert is_refused(writer, "SELECT runvis_add_partition(-1)")
    assert is_refused(writer, "DELETE FROM entries_000002")
    assert is_refused(as_role(ROLES.reader), "SELECT runvis_add_partition(4)")


@pytest.mark.parametrize("role", ROLES[1:])
def test_no_role_bends_the_record_or_goes_around_what_protects_it(store: Store, as_role: As, role: str) -> None:
    append(store, *a_life())
    before = (projections(store), list(store.log.read()))
    other = as_role(role)
    statements = [
        *Postgresql.forbidden,
        *GOING_AROUND,
        "SET session_replication_role = replica",
        "CREATE TABLE mine (x int)",
        "CREATE TEMPORARY TABLE erasures (position bigint, digest bytea)",
        "ALTER EVENT TRIGGER runvis_forbids DISABLE",
        f"SET ROLE {ROLES.owner}",
        "UPDATE alembic_version SET version_num = 'x'",
    ]
    let_through = [statement for statement in statements if not is_refused(other, statement)]
    found("append-only", statements=len(statements), let_through=len(let_through))
    assert let_through == []
    assert (projections(store), list(store.log.read())) == before


def test_the_owner_can_not_go_around_what_protects_the_record(store: Store) -> None:
    append(store, *a_life())
    statements = [*Postgresql.forbidden, *GOING_AROUND]
    let_through = [statement for statement in statements if not refused_as_owner(store, statement)]
    found("append-only", statements=len(statements), let_through=len(let_through))
    assert let_through == []
    # The refusals above are the event trigger's, not those of a statement that is wrong.
    for statement in ("ALTER TABLE runs DISABLE TRIGGER USER", "CREATE RULE x AS ON INSERT TO runs DO INSTEAD NOTHING"):
        with store.engine.connect() as connection:
            connection.execute(text(f"SET LOCAL ROLE {ROLES.owner}"))
            with pytest.raises(DBAPIError, match="to its owner too"):
                connection.execute(text(statement))


@pytest.mark.parametrize("table", sorted(GRANTS))
def test_a_reader_reads_and_changes_nothing(store: Store, as_role: As, table: str) -> None:
    reader = as_role(ROLES.reader)
    assert not is_refused(reader, f"SELECT * FROM {table}")
    assert is_refused(reader, f"DELETE FROM {table}")
    assert is_refused(reader, f"INSERT INTO {table} SELECT * FROM {table}")


def test_the_archivist_takes_nothing_that_the_guards_hold(store: Store, as_role: As) -> None:
    append(store, *a_life())
    archivist = as_role(ROLES.archivist)
    assert is_refused(archivist, "DELETE FROM entries")
    assert is_refused(archivist, "DELETE FROM bodies")
    erase_bodies(store, a_run_id())
    assert not is_refused(archivist, "DELETE FROM bodies")


LIFTED: list[tuple[str, str]] = [
    ("ALTER EVENT TRIGGER runvis_forbids DISABLE", "runvis_forbids: turned off"),
    ("DROP EVENT TRIGGER runvis_forbids", "runvis_forbids: missing"),
    ("DROP EVENT TRIGGER runvis_forbids; CREATE RULE x AS ON INSERT TO runs DO INSTEAD NOTHING", "x: a rule on runs"),
    ("DROP EVENT TRIGGER runvis_forbids; ALTER TABLE runs OWNER TO runvis_writer", "runs: does not belong to"),
    ("DROP EVENT TRIGGER runvis_forbids; CREATE POLICY p ON runs USING (false)", "p: a row policy on runs"),
    ("DROP EVENT TRIGGER runvis_forbids; ALTER TABLE runs DISABLE TRIGGER USER", "runs_never_leave: turned off"),
    ("GRANT DELETE ON runs TO runvis_writer", "runs: runvis_writer may DELETE, and should not"),
    ("REVOKE INSERT ON runs FROM runvis_writer", "runs: runvis_writer may not INSERT, and should"),
]


@pytest.mark.parametrize(("statement", "problem"), LIFTED)
def test_what_only_a_superuser_can_do_is_found(store: Store, statement: str, problem: str) -> None:
    assert changed_guards(store.engine) == []
    assert check_store(store) == []
    with store.engine.begin() as connection:
        for part in statement.split("; "):
            connection.execute(text(part))
    assert any(problem in found for found in changed_guards(store.engine))
    assert any(problem in found for found in check_store(store))
    # Setting the roles up again puts grants and owners right.
    create_roles(store.engine)
    with store.engine.connect() as connection:
        assert [found for found in find_role_problems(connection) if "policy" not in found] == []


def test_a_rebuild_and_an_upgrade_keep_owner_and_grants(store: Store, as_role: As) -> None:
    fill(store)
    before = projections(store)
    rebuild_store(store)
    upgrade_schema(store.engine)
    assert projections(store) == before
    assert changed_guards(store.engine) == []
    append(as_role(ROLES.writer), *a_life("after"))


def test_only_a_superuser_may_lift_what_forbids(store: Store, as_role: As) -> None:
    writer = as_role(ROLES.writer)
    for forbidden in (
        lambda: rebuild_store(writer),
        lambda: upgrade_schema(writer.engine),
        lambda: create_roles(writer.engine),
    ):
        with pytest.raises(StoreError, match="superuser"):
            forbidden()


def test_a_file_has_no_roles(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    try:
        with pytest.raises(StoreError, match="no roles"):
            create_roles(store.engine)
    finally:
        store.close()


def test_who_could_go_around_the_guards_is_told(postgresql_url: str) -> None:
    store = open_store(postgresql_url)
    try:
        with store.engine.connect() as connection:
            assert find_power(connection) == "postgres is a superuser"
    finally:
        store.close()
