"""Both stores hold what every store must."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from runvis_core.model.event import EventBase, StateEvent
from runvis_core.model.state import State
from runvis_core.store import tables as t
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.guards import create_functions
from runvis_core.store.schema import changed_guards
from runvis_core.testing.event_log_suite import EventLogSuite, a_life, append, fill, is_refused
from runvis_core.testing.factories import make
from runvis_core.testing.histories import histories

REPLACES = [
    "INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    "REPLACE INTO {table} SELECT * FROM {table} LIMIT 1",
    "INSERT INTO {table} SELECT * FROM {table} WHERE true ON CONFLICT DO UPDATE SET {column} = excluded.{column}",
]


@st.composite
def batches(draw: st.DrawFn) -> list[list[EventBase]]:
    """A history in any parts, some of it told again."""
    history = draw(histories)
    again = draw(st.lists(st.sampled_from(history), max_size=4))
    told = [*history, *again]
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(told) - 1)), max_size=4)))
    edges = [0, *cuts, len(told)]
    return [told[start:end] for start, end in pairwise(edges)]


class TestSqlite(EventLogSuite):
    @pytest.fixture
    def store(self, sqlite_url: str) -> Iterator[Store]:
        store = open_store(sqlite_url)
        yield store
        store.close()

    def lift_guards(self, store: Store) -> None:
        with store.engine.begin() as connection:
            names = connection.execute(
                text(
                    "SELECT name FROM sqlite_master"
                    " WHERE type = 'trigger' AND tbl_name IN ('runs', 'entries', 'bodies')"
                )
            ).scalars()
            for name in list(names):
                connection.execute(text(f"DROP TRIGGER {name}"))

    @pytest.mark.parametrize(
        ("statement", "problem"),
        [
            ("DROP TRIGGER runs_never_leave", "runs_never_leave: missing"),
            (
                "CREATE TRIGGER mine BEFORE INSERT ON runs BEGIN SELECT RAISE(IGNORE); END",
                "mine: not shipped with RunVis",
            ),
            (
                "UPDATE sqlite_master SET sql = replace(sql, 'deleted', 'gone') WHERE name = 'runs_never_leave'",
                "runs_never_leave: changed",
            ),
            ("DROP TABLE bodies", "table bodies: missing"),
        ],
    )
    def test_what_goes_around_the_guards_of_a_file_is_found(self, store: Store, statement: str, problem: str) -> None:
        append(store, *a_life())
        with store.engine.begin() as connection:
            connection.execute(text("PRAGMA writable_schema = ON"))
            connection.execute(text(statement))
        store.engine.dispose()
        assert any(problem in found for found in changed_guards(store.engine))
        assert any(problem in found for found in check_store(store))

    @given(batches())
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    def test_any_history_in_any_parts_means_what_it_means_at_once(
        self, empty_file: Path, told: list[list[EventBase]]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(f"sqlite:///{shutil.copy(empty_file, folder)}")
            try:
                self.check_history(store, told)
            finally:
                store.close()

    @pytest.mark.parametrize("table", [*t.LOG, t.runs, *t.INSERT_ONLY], ids=lambda table: table.name)
    def test_nothing_is_replaced(self, store: Store, table: object) -> None:
        fill(store)
        name = getattr(table, "name", "")
        column = list(t.metadata.tables[name].c)[-1].name
        with store.engine.connect() as connection:
            assert connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() > 0
        for statement in REPLACES:
            assert is_refused(store, statement.format(table=name, column=column)), statement


class TestPostgresql(EventLogSuite):
    forbidden: ClassVar = [
        *EventLogSuite.forbidden,
        *(f"TRUNCATE {table.name}" for table in (*t.LOG, t.runs, *t.INSERT_ONLY)),
        "UPDATE entries_000000 SET kind = 'other'",
        "DELETE FROM entries_000000",
        "TRUNCATE entries_000000",
        "INSERT INTO entries_000000 (position, event_id, kind, witness, leaf_hash, entry)"
        " SELECT position + 100, event_id, kind, witness, leaf_hash, entry FROM entries WHERE position = 1",
        "INSERT INTO entries_000000 (position, event_id, kind, witness, leaf_hash, entry)"
        " SELECT position + 5, event_id, kind, witness, leaf_hash, entry FROM entries WHERE position = 1",
        "SET LOCAL session_replication_role = replica; DELETE FROM entries",
        "SET LOCAL session_replication_role = replica; UPDATE runs SET state = 'Failed'",
        "INSERT INTO event_ids SELECT event_id, 9 FROM event_ids ON CONFLICT (event_id) DO UPDATE SET position = 9",
    ]

    @pytest.fixture
    def store(self, postgresql_url: str) -> Iterator[Store]:
        store = open_store(postgresql_url)
        yield store
        store.close()

    def lift_guards(self, store: Store) -> None:
        with store.engine.begin() as connection:
            for table in ("runs", "entries_000000", "bodies"):
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))

    @given(told=st.lists(batches(), min_size=1, max_size=3))
    @settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
    def test_any_history_in_any_parts_means_what_it_means_at_once(
        self, store: Store, told: list[list[list[EventBase]]]
    ) -> None:
        # One database for all examples: each goes on where the one before it stopped.
        for parts in told:
            self.check_history(store, parts)

    def test_a_large_batch_goes_by_copy_and_means_the_same(self, store: Store) -> None:
        lives = [event for number in range(30) for event in a_life(f"run-{number}")]
        self.check_history(store, [lives[:100], lives[100:], lives])

    def test_entries_cross_into_a_partition_that_is_made_ahead(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from runvis_core.store.guards import postgresql

        append(store, make(StateEvent, state=State.RUNNING, seconds=1))
        # Positions can't be skipped, so the borders come to the positions.
        monkeypatch.setattr(t, "PARTITION_SIZE", 10)
        monkeypatch.setattr(postgresql, "_SIZE", 10)
        with store.engine.begin() as connection:
            create_functions(connection)
            connection.execute(text("ALTER TABLE entries DETACH PARTITION entries_000000"))
            connection.execute(text("ALTER TABLE entries ATTACH PARTITION entries_000000 FOR VALUES FROM (0) TO (10)"))
        for second in range(2, 32):
            append(store, make(StateEvent, state=State.RUNNING, seconds=second))
        assert store.log.head().position == 31
        assert is_refused(store, "DELETE FROM entries_000002")
        assert is_refused(store, "UPDATE entries SET kind = 'other' WHERE position = 25")
