from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from runvis_core.errors import CursorError, NotFoundError
from runvis_core.model.event import ContextEvent, DefinitionEvent, EventBase, IdentityEvent
from runvis_core.model.state import Witness
from runvis_core.services.definitions import get_definition, list_definitions
from runvis_core.services.filters import DefinitionFilter
from runvis_core.services.starts import check_capture
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, at, make
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, a_story

Record = Callable[[Store, Iterable[EventBase]], None]


def version(name: str, number: int, **fields: object) -> EventBase:
    said = {"definition": name, "definition_kind": "dag", "version": f"v{number}"}
    structure = {"tasks": [{"id": f"t{number}"}], "edges": []}
    return make(DefinitionEvent, seconds=number, **said, content={"structure": structure}, **fields)


def test_definitions_are_listed_with_their_versions_and_last_run(store: Store, record: Record) -> None:
    record(store, a_story())
    items = list_definitions(store, DefinitionFilter(), limit=10).items
    assert [(item.definition, item.kind, item.version_count) for item in items] == [
        ("child", "dag", 0),
        ("etl", "dag", 1),
        ("etl.load", "task", 0),
    ]
    assert [item.last_run.run_id if item.last_run else None for item in items] == [CHILD, ETL, LOAD_2]
    assert items[1].latest_version is not None
    assert items[1].latest_version.schedule == "@daily"


def test_who_follows_the_cursors_sees_each_definition_once(store: Store, record: Record) -> None:
    names = [f"d{n:02}" for n in range(11)]
    record(store, [version(name, 1) for name in names])
    seen: list[str] = []
    cursor = None
    while True:
        page = list_definitions(store, DefinitionFilter(engine="airflow"), limit=3, cursor=cursor)
        seen += [item.definition for item in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == names


def test_a_cursor_of_other_filters_is_refused(store: Store, record: Record) -> None:
    record(store, [version("a", 1), version("b", 1)])
    cursor = list_definitions(store, DefinitionFilter(), limit=1).next_cursor
    with pytest.raises(CursorError):
        list_definitions(store, DefinitionFilter(engine="airflow"), limit=1, cursor=cursor)


def test_a_definition_is_shown_with_its_newest_structure_and_its_recent_runs(store: Store, record: Record) -> None:
    record(store, [version("d", 1), version("d", 2), version("other", 3)])
    found = get_definition(store, "d", DefinitionFilter())
    assert [one.version for one in found.versions] == ["v2", "v1"]
    assert found.versions[0].structure == {"tasks": [{"id": "t2"}], "edges": []}
    assert found.versions[1].structure is None
    assert found.recent_runs == []


def test_a_definition_known_by_its_runs_only_is_shown_too(store: Store, record: Record) -> None:
    record(store, a_story())
    found = get_definition(store, "etl.load", DefinitionFilter())
    assert found.versions == []
    assert [run.run_id for run in found.recent_runs] == [LOAD_2, LOAD_1]
    assert found.recent_runs[1].corrected


def test_a_definition_says_who_tells_of_its_runs(store: Store, record: Record) -> None:
    told = {"definition": "flow", "definition_kind": "flow", "native_key": "f", "native_id": "f"}
    record(store, [make(IdentityEvent, run_id=a_run_id("f"), witness=Witness.FOLLOWER, **told)])
    assert get_definition(store, "flow", DefinitionFilter()).witnesses == ["follower"]

    record(store, [make(IdentityEvent, run_id=a_run_id("f"), witness=Witness.WORKER, **told)])
    assert get_definition(store, "flow", DefinitionFilter()).witnesses == ["follower", "worker"]


def started_from(name: str | None, number: int, *witnesses: Witness) -> list[EventBase]:
    """A flow's run that was started from a deployment, or from none."""
    told = {"definition": "flow", "definition_kind": "flow", "native_key": f"{number}", "native_id": f"{number}"}
    run = {"run_id": a_run_id(f"{number}"), "seconds": number}
    context = {"engine_context": {"started_from": name}} if name else {}
    return [
        event
        for witness in witnesses
        for event in (
            make(IdentityEvent, witness=witness, **run, **told),
            make(ContextEvent, witness=witness, **run, **context),
        )
    ]


def test_runs_are_told_apart_by_the_deployment_that_they_were_started_from(store: Store, record: Record) -> None:
    deployment = {"definition_kind": "deployment", "version": "v1", "parent_definition": "flow"}
    record(store, [make(DefinitionEvent, definition=name, **deployment) for name in ("flow/a", "flow/b", "flow/c")])
    record(store, started_from("flow/a", 1, Witness.FOLLOWER))
    record(store, started_from("flow/a", 2, Witness.FOLLOWER))
    record(store, started_from("flow/b", 3, Witness.FOLLOWER, Witness.WORKER))
    record(store, started_from(None, 4, Witness.WORKER))

    starts = get_definition(store, "flow", DefinitionFilter()).starts

    assert [(start.definition, start.runs, start.witnesses, start.server_only) for start in starts] == [
        (None, 1, ["worker"], False),
        ("flow/a", 2, ["follower"], True),
        ("flow/b", 1, ["follower", "worker"], False),
    ]
    assert starts[1].last_run.run_id == a_run_id("2")
    of_deployment = get_definition(store, "flow/a", DefinitionFilter())
    assert [run.run_id for run in of_deployment.recent_runs] == [a_run_id("2"), a_run_id("1")]
    assert of_deployment.server_only
    assert of_deployment.starts == []
    never_run = get_definition(store, "flow/c", DefinitionFilter())
    assert (never_run.recent_runs, never_run.server_only) == ([], False)


def test_the_doctor_names_the_deployments_that_the_server_alone_tells_of(store: Store, record: Record) -> None:
    assert "server only" not in check_capture(store, since=at(0)).detail
    record(store, started_from("flow/a", 1, Witness.FOLLOWER))
    record(store, started_from("flow/b", 2, Witness.FOLLOWER, Witness.WORKER))

    check = check_capture(store, since=at(0))

    assert check.outcome == "ok"
    assert "flow/a (airflow" in check.detail
    assert "flow/b" not in check.detail
    assert "flow/a" not in check_capture(store, since=at(2)).detail


def test_a_name_of_several_engines_needs_to_be_told_apart(store: Store, record: Record) -> None:
    named = {"definition": "etl", "definition_kind": "flow", "native_key": "k", "native_id": "k"}
    record(store, [version("etl", 1), make(IdentityEvent, run_id=a_run_id("p"), engine="prefect", **named)])
    with pytest.raises(NotFoundError, match="several definitions"):
        get_definition(store, "etl", DefinitionFilter())
    assert get_definition(store, "etl", DefinitionFilter(engine="prefect")).kind == "flow"


def test_a_dag_is_told_apart_from_a_task_of_another_one_that_is_called_so(store: Store, record: Record) -> None:
    for kind in ("dag", "task"):
        named = {"definition": "shop.load", "definition_kind": kind, "native_key": kind, "native_id": kind}
        record(store, [make(IdentityEvent, run_id=a_run_id(kind), **named)])
    with pytest.raises(NotFoundError, match="say which engine, deployment and kind"):
        get_definition(store, "shop.load", DefinitionFilter())
    for kind in ("dag", "task"):
        asked = DefinitionFilter(kind=kind)
        found = get_definition(store, "shop.load", asked)
        assert (found.kind, [run.run_id for run in found.recent_runs]) == (kind, [a_run_id(kind)])
        assert [one.kind for one in list_definitions(store, asked, limit=10).items] == [kind]


@pytest.mark.parametrize("name", ["", "nope", "a\x00", "%", "' --", "x" * 3000])
def test_what_no_definition_is_called_is_not_found(store: Store, record: Record, name: str) -> None:
    record(store, a_story())
    with pytest.raises(NotFoundError, match="there is no definition"):
        get_definition(store, name, DefinitionFilter())


def test_an_unknown_definition_is_answered_with_those_near_it(store: Store, record: Record) -> None:
    record(store, a_story())
    with pytest.raises(NotFoundError, match=r"near it: etl\.load"):
        get_definition(store, "etl.laod", DefinitionFilter())
