from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from runvis_core.model.event import EventBase, IdentityEvent, LinkEvent
from runvis_core.model.state import Relation, State
from runvis_core.services import past_trees, run_trees
from runvis_core.services.ancestry import find_caused
from runvis_core.services.answers import TreeNode
from runvis_core.services.asking import get_drawn_run_at
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.run_details import get_drawn_run
from runvis_core.services.run_trees import get_tree
from runvis_core.services.tree_statements import PARENTS, UNDER, child_edges
from runvis_core.store.database import Store
from runvis_core.store.tables import runs
from runvis_core.testing.factories import a_run_id, at, make
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]


def child(name: str, *, of: str | None, seconds: float = 0) -> EventBase:
    return make(
        IdentityEvent,
        run_id=a_run_id(name),
        seconds=seconds,
        definition=name,
        definition_kind="task",
        native_key=name,
        native_id=name,
        parent_run_id=a_run_id(of) if of else None,
    )


def shape(node: TreeNode) -> dict[str, object]:
    return {str(below.definition): shape(below) for below in node.children}


def test_a_tree_is_as_deep_as_the_runs_are(store: Store, record: Record) -> None:
    record(store, [child("a", of=None), child("b", of="a"), child("c", of="b"), child("d", of="c"), child("e", of="a")])
    assert shape(get_tree(store, str(a_run_id("a")))) == {"b": {"c": {"d": {}}}, "e": {}}
    assert shape(get_tree(store, str(a_run_id("c")))) == {"d": {}}


def test_a_loop_of_parents_is_shown_once_and_ends(store: Store, record: Record) -> None:
    record(store, [child("a", of="b"), child("b", of="a")])
    assert shape(get_tree(store, str(a_run_id("a")))) == {"b": {}}


def test_what_is_cut_is_counted(store: Store, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_trees, "MAX_CHILDREN", 5)
    record(store, [child("a", of=None), *(child(f"c{n:02}", of="a", seconds=n) for n in range(12))])
    tree = get_tree(store, str(a_run_id("a")))
    assert list(shape(tree)) == ["c00", "c01", "c02", "c03", "c04"], "the earliest ones are shown"
    assert tree.cut_children == 7


def a_wide_run(*, cut_all: bool = False) -> list[EventBase]:
    """Twelve tasks one after the other, of which the tenth failed twice and the eleventh at first."""
    events = a_run("a", begins=0, seconds=200, state=State.FAILED)
    for n in range(12):
        last = State.FAILED if n == 9 else State.SUCCEEDED
        if n in (9, 10):
            events += a_run(f"c{n:02}/1", begins=10 * n, seconds=2, state=State.FAILED, inside="a", key=f"c{n:02}")
        again = {"attempt": 2, "key": f"c{n:02}"} if n in (9, 10) else {}
        events += a_run(f"c{n:02}", begins=10 * n + 4, seconds=6, state=last, inside="a", **again)
    if cut_all:
        events += a_run("below", begins=60, seconds=1, inside="c06")
    return events


def shown_of(tree: TreeNode) -> list[str]:
    names = {a_run_id(name): name for name in [f"c{n:02}{end}" for n in range(12) for end in ("", "/1")]}
    return [names[below.run_id] for below in tree.children]


@pytest.mark.parametrize("timed", [100, 0], ids=["the others are read", "they are too many to be read"])
def test_what_failed_is_shown_first_where_not_all_children_are(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch, timed: int
) -> None:
    monkeypatch.setattr(run_trees, "MAX_CHILDREN", 5)
    monkeypatch.setattr(run_trees, "MAX_TIMED", timed)
    record(store, a_wide_run())
    drawn = get_drawn_run(store, str(a_run_id("a")), now=at(1000))
    tree = drawn.run.tree
    if timed:
        assert shown_of(tree) == ["c00", "c01", "c02", "c09/1", "c09"], "all attempts of what failed, and the earliest"
    else:
        assert shown_of(tree) == ["c00", "c01", "c02", "c03", "c09"]
    assert (tree.cut_children, tree.cut_failed) == (9, 0)
    unshown = drawn.unshown[tree.run_id]
    assert unshown.is_whole is bool(timed)
    assert len(unshown.things) == (8 if timed else 0)


@pytest.mark.parametrize("timed", [100, 0])
def test_how_many_failed_of_what_is_cut_is_counted(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch, timed: int
) -> None:
    monkeypatch.setattr(run_trees, "MAX_CHILDREN", 5)
    monkeypatch.setattr(run_trees, "MAX_TIMED", timed)
    failed = [a_run(f"c{n:02}", begins=10 * n, state=State.FAILED, inside="a") for n in range(2, 9)]
    record(store, [*a_run("a", begins=0), *a_run("c00", begins=1, inside="a"), *chain.from_iterable(failed)])
    tree = get_tree(store, str(a_run_id("a")))
    assert shown_of(tree) == ["c02", "c03", "c04", "c05", "c06"]
    assert (tree.cut_children, tree.cut_failed) == (3, 2)


def test_what_failed_is_shown_first_under_each_of_several_runs_and_within_the_bound_for_all(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_trees, "MAX_CHILDREN", 3)
    groups = [child("a", of=None), child("p", of="a", seconds=1), child("q", of="a", seconds=2)]
    tasks = [
        a_run(
            f"{group}{n}",
            begins=10 * n + (group == "q"),
            state=State.FAILED if n == 7 else State.SUCCEEDED,
            inside=group,
        )
        for group in "pq"
        for n in range(8)
    ]
    record(store, [*groups, *chain.from_iterable(tasks)])

    def told() -> list[tuple[list[str], int, int]]:
        names = {a_run_id(f"{group}{n}"): f"{group}{n}" for group in "pq" for n in range(8)}
        above = get_tree(store, str(a_run_id("a"))).children
        return [([names[one.run_id] for one in node.children], node.cut_children, node.cut_failed) for node in above]

    assert told() == [(["p0", "p1", "p7"], 5, 0), (["q0", "q1", "q7"], 5, 0)]
    monkeypatch.setattr(run_trees, "MAX_NODES", 3 + 3)
    assert told() == [(["p0", "p7"], 6, 0), (["q7"], 7, 0)]


def test_a_reopened_parent_with_more_tries_than_are_shown_shows_the_failed_one(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_trees, "MAX_CHILDREN", 5)
    kept = [
        make(
            LinkEvent,
            run_id=a_run_id("again"),
            seconds=300,
            relation=Relation.CARRIED_OVER,
            target_run_id=a_run_id(name),
        )
        for name in ("c00", "c01", "c02", "c03", "c04", "c05", "c06")
    ]
    tried = a_run("c11/1", begins=320, state=State.FAILED, inside="again")
    record(store, [*a_wide_run(), *a_run("again", begins=300), *kept, *tried])
    drawn = get_drawn_run(store, str(a_run_id("again")), now=at(1000))
    tree = drawn.run.tree
    assert shown_of(tree) == ["c00", "c01", "c02", "c03", "c11/1"]
    assert [node.carried_over for node in tree.children] == [True, True, True, True, False]
    assert tree.cut_children == 3
    assert drawn.unshown[tree.run_id].is_whole


def test_a_tree_of_the_past_has_the_same_children(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (run_trees, past_trees):
        monkeypatch.setattr(module, "MAX_CHILDREN", 5)
    record(store, a_wide_run(cut_all=True))
    end = PastFilter(known_at=store.log.head().position)
    now = get_drawn_run(store, str(a_run_id("a")), now=at(1000))
    then = get_drawn_run_at(store, str(a_run_id("a")), end, now=at(1000))
    assert then.run.tree == now.run.tree
    assert then.facts == now.facts
    own = now.run.run_id
    assert not now.unshown[own].is_whole, "one that is not shown has something inside"
    assert not then.unshown[own].is_whole
    times = [
        [[(run.started_at, run.ended_at) for run in thing] for thing in one.unshown[own].things] for one in (now, then)
    ]
    assert times[0] == times[1]


def test_a_tree_has_a_bound_for_all_its_runs_together(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_trees, "MAX_NODES", 6)
    parents = [child(f"p{n}", of="a", seconds=n) for n in range(3)]
    record(store, [child("a", of=None), *parents, *(child(f"x{n}", of="p0", seconds=10 + n) for n in range(9))])
    tree = get_tree(store, str(a_run_id("a")))
    assert list(shape(tree.children[0])) == ["x0", "x1"]
    assert tree.children[0].cut_children == 7


def test_a_tree_deeper_than_its_bound_says_so(store: Store, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_trees, "MAX_LEVELS", 2)
    record(store, [child("a", of=None), child("b", of="a"), child("c", of="b"), child("d", of="c")])
    tree = get_tree(store, str(a_run_id("a")))
    assert shape(tree) == {"b": {"c": {}}}
    assert tree.children[0].children[0].cut_children == 1


def test_a_reopened_parent_shows_the_tries_that_it_carried_over(store: Store, record: Record) -> None:
    link = make(LinkEvent, run_id=a_run_id("again"), relation=Relation.CARRIED_OVER, target_run_id=a_run_id("t"))
    record(store, [child("first", of=None), child("t", of="first"), child("again", of=None), link])
    again = get_tree(store, str(a_run_id("again")))
    assert [(node.definition, node.carried_over) for node in again.children] == [("t", True)]
    first = get_tree(store, str(a_run_id("first")))
    assert [(node.definition, node.carried_over) for node in first.children] == [("t", False)]


def test_a_provisional_child_is_not_shown_beside_what_it_became(store: Store, record: Record) -> None:
    became = make(LinkEvent, run_id=a_run_id("w"), relation=Relation.BECAME, target_run_id=a_run_id("s"))
    record(store, [child("a", of=None), child("w", of="a"), child("s", of="a", seconds=1), became])
    assert shape(get_tree(store, str(a_run_id("a")))) == {"s": {}}


def a_chain(*engines: str) -> list[EventBase]:
    """Runs of these engines, each started by the one before and with a task inside."""
    events: list[EventBase] = []
    for number, engine in enumerate(engines):
        said = {"definition": f"r{number}", "definition_kind": "dag", "native_key": f"r{number}", "native_id": "x"}
        cause = {"caused_by_run_id": a_run_id(f"t{number - 1}")} if number else {}
        events.append(
            make(IdentityEvent, engine=engine, run_id=a_run_id(f"r{number}"), seconds=number, **said, **cause)
        )
        events.append(child(f"t{number}", of=f"r{number}", seconds=number))
    return events


def started(node: TreeNode) -> dict[str, object]:
    """What a run's tasks started, and so on."""
    return {str(below.definition): started(below) for inside in node.children for below in inside.caused}


def test_a_tree_goes_on_in_another_engine_with_what_a_run_started(store: Store, record: Record) -> None:
    record(store, a_chain("airflow", "prefect", "airflow"))
    tree = get_tree(store, str(a_run_id("r0")))
    assert started(tree) == {"r1": {"r2": {}}}
    (flow,) = tree.children[0].caused
    assert (flow.engine, shape(flow)) == ("prefect", {"t1": {}})


def test_runs_that_start_one_another_in_a_circle_are_shown_once(store: Store, record: Record) -> None:
    again = make(LinkEvent, run_id=a_run_id("t2"), relation=Relation.CAUSED, target_run_id=a_run_id("r0"))
    record(store, [*a_chain("airflow", "prefect", "airflow"), again])
    assert started(get_tree(store, str(a_run_id("r1")))) == {"r2": {"r0": {}}}


def test_a_long_chain_of_causes_is_followed_as_far_as_its_bound(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, a_chain(*["airflow"] * 6))
    monkeypatch.setattr(run_trees, "MAX_DEPTH", 6)
    tree = get_tree(store, str(a_run_id("r0")))
    assert started(tree) == {"r1": {"r2": {}}}
    last = tree.children[0].caused[0].children[0].caused[0].children[0]
    assert (last.definition, last.cut_caused) == ("t2", 1)


def test_the_deepest_tree_can_be_read_by_a_client(store: Store, record: Record) -> None:
    record(store, a_chain(*["airflow", "prefect"] * 40))
    tree = get_tree(store, str(a_run_id("r0")))
    assert TreeNode.model_validate_json(tree.model_dump_json()) == tree
    assert len(str(started(tree)).split("r")) > 40


def test_what_a_run_started_beyond_its_bound_is_counted(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_trees, "MAX_CAUSED", 2)
    links = [
        make(LinkEvent, run_id=a_run_id("a"), relation=Relation.CAUSED, target_run_id=a_run_id(f"c{n}"))
        for n in range(5)
    ]
    record(store, [child("a", of=None), *(child(f"c{n}", of=None, seconds=n) for n in range(5)), *links])
    tree = get_tree(store, str(a_run_id("a")))
    assert [below.definition for below in tree.caused] == ["c0", "c1"]
    assert tree.cut_caused == 3


def test_a_try_that_is_carried_over_by_its_key_is_the_last_one_before_the_parent_was_reopened(
    store: Store, record: Record
) -> None:
    def a_try(name: str, *, of: str, seconds: float, number: int) -> EventBase:
        fields = {"definition": name, "definition_kind": "task", "native_key": "t", "native_id": name}
        return make(
            IdentityEvent,
            run_id=a_run_id(name),
            seconds=seconds,
            attempt=number,
            parent_run_id=a_run_id(of),
            **fields,
        )

    reopened = {"run_id": a_run_id("again"), "seconds": 50, "relation": Relation.CARRIED_OVER}
    by_key = make(LinkEvent, **reopened, target_native_key="t")
    by_id = make(LinkEvent, **reopened, target_run_id=a_run_id("second"), witness="follower")
    tries = [a_try("first", of="p", seconds=1, number=1), a_try("second", of="p", seconds=9, number=2)]
    record(store, [child("p", of=None), *tries, child("again", of=None, seconds=50), by_key, by_id])
    record(store, [a_try("third", of="again", seconds=60, number=3)])

    again = get_tree(store, str(a_run_id("again")))
    assert [(node.definition, node.carried_over) for node in again.children] == [("second", True), ("third", False)]


NAMES = "abcde"
KEYS = ("one", "two", "three")
TOLD = st.fixed_dictionaries(
    {
        "keys": st.tuples(*(st.sampled_from(KEYS) for _ in NAMES)),
        "begins": st.tuples(*(st.integers(0, 9) for _ in NAMES)),
        "parents": st.tuples(*(st.sampled_from((None, *NAMES)) for _ in NAMES)),
        "causes": st.tuples(*(st.sampled_from((None, None, *NAMES)) for _ in NAMES)),
        "links": st.lists(
            st.tuples(
                st.sampled_from(NAMES),
                st.sampled_from(list(Relation)),
                st.sampled_from((*NAMES, *KEYS)),
                st.integers(0, 9),
            ),
            max_size=6,
            unique_by=lambda link: link[:3],
        ),
    }
)
HISTORIES = count()


def history(number: int, told: dict[str, Any]) -> list[EventBase]:
    """Return events about runs of a history of its own, which names each other by id and by key."""

    def id_of(name: str | None) -> Any:
        return a_run_id(f"{number} {name}") if name else None

    deployment = f"history-{number}"
    said: list[EventBase] = [
        make(
            IdentityEvent,
            deployment=deployment,
            run_id=id_of(name),
            seconds=told["begins"][place],
            definition=name,
            definition_kind="task",
            native_key=told["keys"][place],
            native_id=f"{number} {name}",
            parent_run_id=id_of(told["parents"][place]),
            caused_by_run_id=id_of(told["causes"][place]),
        )
        for place, name in enumerate(NAMES)
    ]
    for source, relation, target, seconds in told["links"]:
        named: dict[str, Any] = {"target_native_key": target} if target in KEYS else {"target_run_id": id_of(target)}
        said.append(
            make(
                LinkEvent,
                deployment=deployment,
                run_id=id_of(source),
                relation=relation,
                seconds=seconds,
                **named,
            )
        )
    return said


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(told=TOLD)
def test_whoever_has_something_under_it_is_asked_for_it(store: Store, record: Record, told: dict[str, Any]) -> None:
    number = next(HISTORIES)
    record(store, history(number, told))
    ids = [a_run_id(f"{number} {name}") for name in NAMES]
    with store.engine.connect() as connection:
        rows = connection.execute(select(runs.c.run_id, *UNDER).where(runs.c.run_id.in_(ids))).all()
        parents = {row.parent for row in connection.execute(select(child_edges()), {PARENTS.key: ids})}
        caused = {(cause, row.run_id) for cause, row in find_caused(connection, ids)}
        asked = [row.run_id for row in rows if row.has_caused]
        found = {(cause, row.run_id) for cause, row in find_caused(connection, asked)}
    assert parents <= {row.run_id for row in rows if row.has_children or row.has_carried}
    assert found == caused
