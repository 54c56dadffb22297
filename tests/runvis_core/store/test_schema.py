"""What opening a store does with the schema that it finds."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, inspect, text

from runvis_core.errors import SchemaVersionError
from runvis_core.store.database import connect_engine, open_store
from runvis_core.store.schema import newest_version, schema_version


@pytest.fixture(params=["bare_sqlite_url", "bare_postgresql_url"], ids=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def test_a_store_of_a_newer_schema_is_refused_and_left_as_it_is(bare_url: str) -> None:
    open_store(bare_url).close()
    engine = connect_engine(bare_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    for upgrade in (None, True, False):
        with pytest.raises(SchemaVersionError, match=r"9999, which is newer than this RunVis.*pip install -U runvis"):
            open_store(bare_url, upgrade=upgrade)

    assert schema_version(engine) == "9999"
    engine.dispose()


def test_somebody_else_s_database_is_no_store(bare_url: str) -> None:
    engine = create_engine(bare_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE entries (id INTEGER)"))

    with pytest.raises(SchemaVersionError, match="not those of a store: use a database of its own"):
        open_store(bare_url)

    assert inspect(engine).get_table_names() == ["entries"]
    engine.dispose()


def test_without_leave_to_upgrade_an_empty_database_stays_empty(bare_url: str) -> None:
    with pytest.raises(SchemaVersionError, match=r"no schema yet.*run `runvis db upgrade`"):
        open_store(bare_url, upgrade=False)

    engine = connect_engine(bare_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_an_empty_database_gets_the_newest_schema(bare_url: str) -> None:
    opened = open_store(bare_url)
    assert schema_version(opened.engine) == newest_version()
    opened.close()
