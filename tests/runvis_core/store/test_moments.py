"""A time reaches SQLite in its column's form or not at all: `tests/conftest.py` holds that over every test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import bindparam, create_engine, select, text

from runvis_core.store.types import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

AT = datetime(2026, 11, 29, 8, 5, 39, 120000, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_time_without_its_columns_type_is_refused_by_the_driver(connection: Connection) -> None:
    with pytest.raises(TypeError, match="reached sqlite3 as it is"):
        connection.exec_driver_sql("SELECT ?", (AT,))


def test_many_of_them_are_refused_too(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE moments (at TEXT)")
    with pytest.raises(TypeError, match="reached sqlite3 as it is"):
        connection.exec_driver_sql("INSERT INTO moments VALUES (?)", [("2026",), (AT,)])


def test_a_time_with_its_columns_type_is_stored_in_its_form(connection: Connection) -> None:
    bound = connection.execute(select(bindparam("at", AT, type_=Moment)))
    assert bound.scalar_one() == AT
    written = connection.execute(text("SELECT :at").bindparams(bindparam("at", AT, type_=Moment)))
    assert written.scalar_one() == "2026-11-29T08:05:39.120000Z"
