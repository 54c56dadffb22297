from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from runvis_core.model.event import EventBase, IdentityEvent, LinkEvent, StateEvent
from runvis_core.model.state import Relation, State
from runvis_core.services.ancestry import Ancestry, find_ancestry, find_caused
from runvis_core.services.ingest import ingest_events
from runvis_core.store.database import Store, open_store
from runvis_core.store.tables import runs
from runvis_core.testing.factories import a_run_id, make


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    opened = open_store(request.getfixturevalue(request.param), upgrade=True)
    yield opened
    opened.close()


def a_run(name: str, seconds: float, *, key: str | None = None, **more: Any) -> list[EventBase]:
    about: dict[str, Any] = {"run_id": a_run_id(name), "seconds": seconds}
    identity = {"definition": name, "definition_kind": "dag", "native_key": key or name, "native_id": name}
    return [make(IdentityEvent, **about, **identity, **more), make(StateEvent, **about, state=State.RUNNING)]


def ancestry_of(store: Store, name: str) -> Ancestry:
    with store.engine.connect() as connection:
        return find_ancestry(connection, connection.execute(select(runs).where(runs.c.run_id == a_run_id(name))).all())


def cause_of(store: Store, name: str) -> UUID | None:
    return ancestry_of(store, name).cause_of(a_run_id(name))


def caused_by(store: Store, name: str) -> list[UUID]:
    with store.engine.connect() as connection:
        return [row.run_id for _, row in find_caused(connection, [a_run_id(name)])]


def test_a_child_that_names_its_cause_has_the_latest_attempt_that_started_before_it(store: Store) -> None:
    link = make(
        LinkEvent, run_id=a_run_id("child"), relation=Relation.CAUSED_BY, target_native_key="producer", seconds=30
    )
    attempts = [*a_run("first", 0, key="producer"), *a_run("second", 10, key="producer", attempt=2)]
    later = a_run("third", 60, key="producer", attempt=3)
    ingest_events(store, [*attempts, *a_run("child", 30), link, *later], principal="test")
    assert cause_of(store, "child") == a_run_id("second")
    assert caused_by(store, "second") == [a_run_id("child")]
    assert caused_by(store, "first") == caused_by(store, "third") == []


def test_a_cause_that_names_its_child_by_key_is_found(store: Store) -> None:
    link = make(LinkEvent, run_id=a_run_id("task"), relation=Relation.CAUSED, target_native_key="child", seconds=5)
    ingest_events(store, [*a_run("task", 0), link, *a_run("child", 6)], principal="test")
    assert cause_of(store, "child") == a_run_id("task")
    assert caused_by(store, "task") == [a_run_id("child")]


def test_a_root_is_unknown_until_the_parent_is_heard(store: Store) -> None:
    child = a_run("child", 1, parent_run_id=a_run_id("parent"))
    ingest_events(store, child, principal="test")
    assert ancestry_of(store, "child").root_of(a_run_id("child")) is None
    ingest_events(store, a_run("parent", 0), principal="test")
    assert ancestry_of(store, "child").root_of(a_run_id("child")) == a_run_id("parent")
