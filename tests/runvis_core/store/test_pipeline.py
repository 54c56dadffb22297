"""What a connection to PostgreSQL does when a statement fails, and when its server closes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from runvis_core.errors import UnreachableError
from runvis_core.model.event import StateEvent
from runvis_core.model.state import State
from runvis_core.store.database import Store, open_store
from runvis_core.store.driver import Changes, Head, Wanted
from runvis_core.store.pipeline import BEGIN, COMMIT, Pipeline, Statement
from runvis_core.store.postgresql import PostgresqlDriver
from runvis_core.testing.event_log_suite import append
from runvis_core.testing.factories import make

INT8 = 20
ECHO = Statement("SELECT $1 + 0", (INT8,))
DIVIDE = Statement("SELECT 1 / $1", (INT8,))


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    opened = open_store(postgresql_url)
    yield opened
    opened.close()


@pytest.fixture
def connection(postgresql_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgresql_url.replace("+psycopg", "")) as opened:
        yield opened


def close_all_but(connection: psycopg.Connection) -> None:
    connection.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_statements_are_answered_in_their_order(connection: psycopg.Connection) -> None:
    pipeline = Pipeline(connection)
    for _ in range(2):  # as new ones, and as prepared ones
        assert pipeline.run([(BEGIN, ()), (ECHO, (1,)), (ECHO, (2,)), (COMMIT, ())]) == [[], [(1,)], [(2,)], []]
    assert pipeline.run([]) == []


def test_what_psycopg_deallocates_is_not_missed_on_a_connection_that_others_use(
    connection: psycopg.Connection,
) -> None:
    pipeline = Pipeline(connection, is_shared=True)
    for _ in range(2):
        assert pipeline.run([(BEGIN, ()), (ECHO, (1,)), (DIVIDE, (1,)), (ECHO, (2,))]) == [[], [(1,)], [(1,)], [(2,)]]
        connection.execute("SELECT 1", prepare=True)
        connection.rollback()


def test_more_than_a_socket_holds_goes_through(connection: psycopg.Connection) -> None:
    size = Statement("SELECT length($1), $1", (25,))
    sent = "x" * 1_000_000
    assert Pipeline(connection).run([(size, (sent,))] * 8) == [[(len(sent), sent)]] * 8


def test_a_statement_that_fails_is_named_and_leaves_the_connection_in_order(connection: psycopg.Connection) -> None:
    pipeline = Pipeline(connection)
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero):
            pipeline.run([(BEGIN, ()), (DIVIDE, (0,)), (ECHO, (1,)), (COMMIT, ())])
        connection.rollback()
        assert pipeline.run([(ECHO, (3,)), (DIVIDE, (1,))]) == [[(3,)], [(1,)]]
        connection.rollback()


def test_a_value_that_cannot_be_sent_leaves_the_connection_in_order(connection: psycopg.Connection) -> None:
    pipeline = Pipeline(connection)
    with pytest.raises(psycopg.DataError):
        pipeline.run([(ECHO, (1,)), (Statement("SELECT $1", (25,)), ("a\0b",))])
    assert pipeline.run([(ECHO, (1,))]) == [[(1,)]]


def test_an_append_goes_on_after_the_server_closed_its_connection(store: Store, connection: psycopg.Connection) -> None:
    for seconds in range(3):
        appended = append(store, make(StateEvent, state=State.RUNNING, seconds=seconds))
        assert [outcome.status for outcome in appended.outcomes] == ["stored"]
        close_all_but(connection)
    with store.engine.connect() as reading:
        assert reading.execute(text("SELECT position FROM head")).scalar_one() == 3


def test_a_connection_that_breaks_within_a_transaction_leaves_nothing_of_it(
    store: Store, connection: psycopg.Connection
) -> None:
    with PostgresqlDriver(store.engine.pool) as driver:
        driver.begin(Wanted([UUID(int=1)], [], []))
        close_all_but(connection)
        with pytest.raises(UnreachableError):
            driver.commit(Changes(head=Head(7, datetime.now(UTC))))
    assert store.log.head() == (0, None)
