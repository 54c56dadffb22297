"""Ids that a statement takes as one parameter, on each database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

import pytest
from sqlalchemy import select

from runvis_core.model.event import EventBase
from runvis_core.store.database import Store
from runvis_core.store.id_lists import are_among, digest_list, id_list, is_among, is_found_by
from runvis_core.store.tables import bodies, definitions, entries, runs
from runvis_core.testing.factories import a_run_id
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]
IDS = id_list("ids")


@pytest.mark.parametrize("others", [0, 1, 2000])
def test_those_among_the_ids_are_found_however_many_there_are(store: Store, record: Record, others: int) -> None:
    for number in range(3):
        record(store, a_run(f"r {number}", begins=number))
    with store.engine.connect() as connection:
        known = sorted(connection.scalars(select(runs.c.run_id)))
        asked = [known[0], *(a_run_id(f"unknown {number}") for number in range(others)), known[2]]
        query = select(runs.c.run_id).where(is_among(runs.c.run_id, IDS), runs.c.became_run_id.is_(None))
        assert sorted(connection.scalars(query, {IDS.key: asked})) == [known[0], known[2]]


def test_nothing_is_among_no_ids(store: Store, record: Record) -> None:
    record(store, a_run("r", begins=1))
    with store.engine.connect() as connection:
        query = select(runs.c.run_id).where(is_among(runs.c.run_id, IDS))
        assert connection.execute(query, {IDS.key: []}).all() == []


@pytest.mark.parametrize("others", [0, 1, 2000])
def test_digests_are_listed_as_ids_are(store: Store, record: Record, others: int) -> None:
    record(store, a_run("r", begins=1, context={"content": {"parameters": {"day": 1}}}))
    digests = digest_list("digests")
    with store.engine.connect() as connection:
        known = sorted(map(bytes, connection.scalars(select(bodies.c.digest))))
        asked = [known[0], *(sha256(b"%d" % number).digest() for number in range(others))]
        query = select(bodies.c.digest).where(is_among(bodies.c.digest, digests))
        assert [bytes(digest) for digest in connection.scalars(query, {digests.key: asked})] == [known[0]]
        assert connection.scalars(query, {digests.key: []}).all() == []


@pytest.mark.parametrize("others", [0, 1, 2000])
def test_rows_of_several_values_are_found_however_many_there_are(store: Store, record: Record, others: int) -> None:
    for number in range(3):
        record(store, a_run(f"r {number}", begins=number, definition=f"etl {number}"))
    key = (definitions.c.engine, definitions.c.deployment, definitions.c.definition)
    with store.engine.connect() as connection:
        known = sorted(connection.execute(select(*key)).all())
        asked = [known[0], *(("airflow", "test", f"'\"% {number}") for number in range(others)), known[2]]
        assert sorted(connection.execute(select(*key).where(are_among(key, asked)))) == [known[0], known[2]]
        assert connection.execute(select(*key).where(are_among(key, []))).all() == []
        by_number = (entries.c.position, entries.c.kind)
        first = connection.execute(select(*by_number).order_by(entries.c.position)).all()[:2]
        assert sorted(connection.execute(select(*by_number).where(are_among(by_number, first)))) == first


def test_sqlite_follows_the_index_of_the_ids(sqlite_store: Store) -> None:
    query = select(runs.c.run_id).where(is_among(runs.c.parent_run_id, IDS))
    statement = str(query.compile(sqlite_store.engine))
    with sqlite_store.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (b"", b"")).all()
    assert any(row[-1].startswith("SEARCH runs USING") and "runs_parent (parent_run_id=?)" in row[-1] for row in plan)
    assert not any(row[-1].startswith("SCAN runs") for row in plan)


def test_what_a_query_finds_is_looked_up_by_the_index_on_it(store: Store, record: Record) -> None:
    for number in range(40):
        record(store, a_run(f"r {number}", begins=number))
    wanted = select(entries.c.position).where(entries.c.run_id == a_run_id("r 3"))
    query = select(entries.c.position).where(is_found_by(entries.c.position, wanted)).order_by(entries.c.position)
    with store.engine.connect() as connection:
        expected = sorted(connection.scalars(wanted))
        assert expected
        assert list(connection.scalars(query)) == expected
        if store.engine.dialect.name == "postgresql":
            # It takes the rows to be few, whatever it has reckoned of the inner query.
            bound = query.compile(connection, compile_kwargs={"literal_binds": True})
            plan = connection.exec_driver_sql(f"EXPLAIN {bound}").scalars().all()
            assert any("= ANY ((InitPlan 1).col1)" in line or "= ANY ($0)" in line for line in plan), plan
