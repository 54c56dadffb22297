"""The databases that the store's tests run on."""

from __future__ import annotations

import os

import pytest
import sqlalchemy


@pytest.fixture(params=["bare_sqlite_url", "bare_postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_an_empty_database_of_its_own(url: str, turn: int) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
        connection.execute(sqlalchemy.text("CREATE TABLE left_behind (turn INTEGER)"))
    engine.dispose()


def test_the_environment_has_the_sqlalchemy_it_was_made_for() -> None:
    expected = os.environ.get("RUNVIS_TEST_SQLALCHEMY", "2.1")
    assert sqlalchemy.__version__.startswith(f"{expected}.")
