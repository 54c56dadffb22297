from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.errors import NotFoundError
from runvis_core.model.event import (
    DatasetEvent,
    DefinitionEvent,
    EventBase,
    IdentityEvent,
    LinkEvent,
    MetricEvent,
    StateEvent,
)
from runvis_core.model.identity import definition_version_id
from runvis_core.model.state import Relation, State
from runvis_core.services import run_trees
from runvis_core.services.answers import (
    ContextView,
    DatasetRef,
    DefinitionVersion,
    FailureView,
    MetricView,
    RunSummary,
    TreeNode,
)
from runvis_core.services.compare import compare_runs, compare_with_last_success
from runvis_core.services.comparison import compare_sides
from runvis_core.services.comparison_answers import Comparison, Difference, Theme
from runvis_core.services.comparison_facts import Side
from runvis_core.store.database import Store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at, make
from runvis_core.testing.runs import a_run
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, a_story

Record = Callable[[Store, Iterable[EventBase]], None]


def a_tree(name: str, begins: float, *, fails: bool, **context: Any) -> list[EventBase]:
    """A run with two steps, the second of which may fail."""
    state = State.FAILED if fails else State.SUCCEEDED
    return [
        *a_run(name, begins=begins, seconds=30, state=state, context=context),
        *a_run(f"{name} extract", begins=begins + 1, definition="etl.extract", kind="task", inside=name),
        *a_run(f"{name} stage", begins=begins + 12, definition="etl.stage", kind="task", inside=name, state=state),
    ]


def told(found: Comparison) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.theme.value, one.field, tuple(one.steps)) for one in found.differences]


def test_a_failed_run_parts_from_its_last_success_by_what_it_was_given(store: Store, record: Record) -> None:
    record(store, a_tree("good", 0, fails=False, code={"commit": "abc"}))
    record(store, a_tree("bad", 1000, fails=True, code={"commit": "def"}, content={"parameters": {"day": 2}}))
    found = compare_with_last_success(store, str(a_run_id("bad")))
    assert (found.left.run_id, found.right.run_id) == (a_run_id("good"), a_run_id("bad"))
    assert found.first_divergence is not None
    assert (found.first_divergence.field, found.first_divergence.steps) == ("code.commit", [])
    assert (found.first_divergence.left, found.first_divergence.right) == ("abc", "def")
    assert found.differences[0] == found.first_divergence
    fields = [(one.theme, one.field, one.change) for one in found.differences if not one.steps]
    assert fields == [
        (Theme.CODE, "code.commit", "changed"),
        (Theme.INPUTS, "parameters.day", "added"),
        (Theme.OUTCOME, "failure.error_type", "added"),
        (Theme.OUTCOME, "failure.message", "added"),
        (Theme.OUTCOME, "state", "changed"),
    ]
    assert [(pair.step, pair.differs) for pair in found.steps] == [("", True), ("extract", False), ("stage", True)]


def test_a_failed_run_that_was_given_the_same_parts_at_the_step_that_failed(store: Store, record: Record) -> None:
    record(store, a_tree("good", 0, fails=False, code={"commit": "abc"}))
    record(store, a_tree("bad", 1000, fails=True, code={"commit": "abc"}))
    found = compare_with_last_success(store, str(a_run_id("bad")))
    assert found.first_divergence is not None
    assert (found.first_divergence.field, found.first_divergence.steps) == ("state", ["stage"])
    assert (found.first_divergence.left, found.first_divergence.right) == ("Succeeded", "Failed")
    assert found.differences[0] == found.first_divergence


def test_what_a_step_was_given_comes_before_how_it_ended_and_an_earlier_step_before_a_later_one(
    store: Store, record: Record
) -> None:
    for name, begins, day, state in (("good", 0, 1, State.SUCCEEDED), ("bad", 1000, 2, State.FAILED)):
        given = {"content": {"parameters": {"day": day}}}
        task = {"kind": "task", "inside": name}
        record(store, a_run(name, begins=begins, seconds=60, state=state))
        record(store, a_run(f"{name} b", begins=begins + 5, state=state, context=given, definition="etl.b", **task))
        record(store, a_run(f"{name} a", begins=begins + 30, state=state, definition="etl.a", **task))
    found = compare_runs(store, str(a_run_id("good")), str(a_run_id("bad")))
    assert found.first_divergence is not None
    assert (found.first_divergence.field, found.first_divergence.steps) == ("parameters.day", ["b"])


def test_a_run_compared_with_itself_has_no_difference(store: Store, record: Record) -> None:
    record(store, a_story())
    for run_id in (ETL, LOAD_1, LOAD_2, CHILD):
        found = compare_runs(store, str(run_id), str(run_id))
        assert found.differences == []
        assert found.first_divergence is None
        assert sum(group.count for group in found.equal) > 0
        assert not any(pair.differs for pair in found.steps)


def test_two_attempts_are_compared_with_what_they_touched(store: Store, record: Record) -> None:
    record(store, a_story())
    found = compare_runs(store, str(LOAD_1), str(LOAD_2))
    assert ("datasets", "reads s3://raw orders", ()) in told(found)
    assert ("outcome", "failure.error_type", ()) in told(found)
    assert ("structure", "step", ("started child",)) in told(found)


def test_a_step_that_one_run_lacks_is_one_difference_with_all_that_ran_in_it(store: Store, record: Record) -> None:
    record(store, a_tree("one", 0, fails=False))
    record(store, a_tree("two", 1000, fails=False))
    record(store, a_run("two sub", begins=1001, definition="inner", kind="flow", inside="two"))
    record(store, a_run("two sub a", begins=1002, definition="inner.a", kind="task", inside="two sub"))
    found = compare_runs(store, str(a_run_id("one")), str(a_run_id("two")))
    assert told(found) == [("structure", "step", ("inner",))]
    assert (found.differences[0].change, found.differences[0].right) == ("added", "Succeeded")
    assert [pair.step for pair in found.steps] == ["", "extract", "inner", "inner/a", "stage"]


def test_a_step_that_never_began_differs_by_its_end_alone(store: Store, record: Record) -> None:
    load: dict[str, Any] = {"definition": "etl.load", "kind": "task", "key": "ti/load"}
    record(store, a_run("good", begins=0, seconds=30))
    record(store, a_run("good load", begins=20, inside="good", context={"code": {"commit": "abc"}}, **load))
    record(store, a_run("bad", begins=100, seconds=30))
    never = {"run_id": a_run_id("bad load"), "seconds": 120}
    named = {"native_key": "ti/load", "native_id": "load", "definition": "etl.load", "definition_kind": "task"}
    record(
        store,
        [
            make(IdentityEvent, parent_run_id=a_run_id("bad"), **named, **never),
            make(StateEvent, state=State.CANCELLED, native_state="upstream_failed", **never),
        ],
    )
    found = compare_runs(store, str(a_run_id("good")), str(a_run_id("bad")))
    assert told(found) == [("outcome", "state", ("load",))]


def test_mapped_steps_are_aligned_by_their_index_and_attempts_share_a_step(store: Store, record: Record) -> None:
    for tree, begins, states in (("one", 0, "SSS"), ("two", 1000, "SFS")):
        record(store, a_run(tree, begins=begins, seconds=60))
        for index, state in reversed(list(enumerate(states))):
            end = State.FAILED if state == "F" else State.SUCCEEDED
            name, begun = f"{tree} each {index}", begins + 10 - index
            mapped = {"definition": "etl.each", "kind": "task", "inside": tree, "key": f"{tree}/each/{index}"}
            record(store, a_run(name, begins=begun, state=end, **mapped))
            if end is State.FAILED:
                record(store, a_run(f"{name} again", begins=begun + 20, attempt=2, **mapped))
    found = compare_runs(store, str(a_run_id("one")), str(a_run_id("two")))
    assert told(found) == [("outcome", "attempts", ("each[1]",))]
    assert found.differences[0].delta == 1


def test_a_mapped_step_that_one_run_lacks_moves_no_other(store: Store, record: Record) -> None:
    for tree, begins, indexes in (("one", 0, range(4)), ("two", 1000, range(1, 4))):
        record(store, a_run(tree, begins=begins, seconds=60))
        for index in indexes:
            state = State.FAILED if index == 2 else State.SUCCEEDED
            mapped = {"definition": "etl.each", "kind": "task", "inside": tree, "key": f"{tree}/each/{index}"}
            record(store, a_run(f"{tree} each {index}", begins=begins + 10, state=state, **mapped))
    found = compare_runs(store, str(a_run_id("one")), str(a_run_id("two")))
    assert [(one.theme, one.change, one.steps) for one in found.differences] == [("structure", "removed", ["each[0]"])]


def test_a_step_for_which_one_tree_has_no_room_is_not_said_to_lack(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_trees, "MAX_CHILDREN", 5)
    for tree, begins, failing in (("good", 0, None), ("bad", 1000, 8)):
        record(store, a_run(tree, begins=begins, seconds=60))
        for number in range(10):
            state = State.FAILED if number == failing else State.SUCCEEDED
            step = {"definition": f"etl.step_{number}", "kind": "task", "inside": tree}
            record(store, a_run(f"{tree} {number}", begins=begins + number, state=state, **step))
    found = compare_runs(store, str(a_run_id("good")), str(a_run_id("bad")))
    assert [one.field for one in found.differences if one.theme == "structure"] == []
    # The tree of the bad one shows the step that failed, and one of the earliest less.
    assert found.cut_steps == 2


def test_steps_of_two_engines_are_aligned_by_their_names(store: Store, record: Record) -> None:
    record(store, a_tree("one", 0, fails=False))
    prefect: dict[str, Any] = {"engine": "prefect"}
    record(store, a_run("p", begins=1000, seconds=30, definition="nightly", kind="flow", **prefect))
    record(store, a_run("p e", begins=1001, definition="nightly.extract", kind="task", inside="p", **prefect))
    found = compare_runs(store, str(a_run_id("one")), str(a_run_id("p")))
    assert ("structure", "step", ("stage",)) in told(found)
    assert ("environment", "engine", ("extract",)) in told(found)
    assert ("structure", "definition", ()) in told(found)


def test_what_differs_alike_in_many_steps_is_said_once(store: Store, record: Record) -> None:
    for tree, begins, version in (("one", 0, "3.1"), ("two", 1000, "3.2")):
        record(store, a_run(tree, begins=begins, seconds=100))
        for index in range(30):
            inside = {"definition": f"etl.t{index:02}", "kind": "task", "inside": tree}
            packages = {"environment": {"packages": {"pandas": version}}}
            record(store, a_run(f"{tree} {index}", begins=begins + index, context=packages, **inside))
    (difference,) = compare_runs(store, str(a_run_id("one")), str(a_run_id("two"))).differences
    assert (difference.field, len(difference.steps), difference.cut_steps) == ("environment.packages.pandas", 20, 10)


def test_what_hardly_two_runs_have_alike_comes_last(store: Store, record: Record) -> None:
    for name, begins in (("one", 0), ("two", 1000)):
        context = {"environment": {"pid": begins, "region": name}, "engine_context": {"logical_date": str(begins)}}
        record(store, a_run(name, begins=begins, seconds=10 + begins / 100, context=context))
    found = compare_runs(store, str(a_run_id("one")), str(a_run_id("two")))
    assert [one.theme for one in found.differences] == [
        Theme.ENVIRONMENT,
        Theme.DURATION,
        Theme.INCIDENTAL,
        Theme.INCIDENTAL,
    ]
    assert found.differences[1].delta == 10


def test_the_structure_of_two_versions_is_compared(store: Store, record: Record) -> None:
    for number, tasks in ((1, ["a", "b"]), (2, ["a", "c"])):
        said = {"definition": "etl", "definition_kind": "dag", "version": f"v{number}"}
        structure = {"tasks": [{"id": task} for task in tasks], "edges": [tasks]}
        record(store, [make(DefinitionEvent, seconds=number, **said, content={"structure": structure})])
        version = definition_version_id(ENGINE, DEPLOYMENT, "etl", f"v{number}")
        record(store, a_run(f"r{number}", begins=10 * number, said={"definition_version_id": version}))
    found = compare_runs(store, str(a_run_id("r1")), str(a_run_id("r2")))
    assert [(one.field, one.change) for one in found.differences] == [
        ("definition.version", "changed"),
        ("edge a -> b", "removed"),
        ("edge a -> c", "added"),
        ("task b", "removed"),
        ("task c", "added"),
    ]


def test_a_run_without_a_success_before_it_says_so(store: Store, record: Record) -> None:
    record(store, a_tree("bad", 0, fails=True))
    record(store, a_tree("good", 1000, fails=False))
    with pytest.raises(NotFoundError, match="no run of the same definition succeeded before"):
        compare_with_last_success(store, str(a_run_id("bad")))


def test_the_last_success_is_of_the_same_definition_and_deployment(store: Store, record: Record) -> None:
    record(store, a_run("right", begins=0))
    record(store, a_run("of a task", begins=10, kind="task"))
    record(store, a_run("elsewhere", begins=20, engine="prefect"))
    record(store, a_run("other", begins=30, definition="etl2"))
    record(store, a_run("failed", begins=40, state=State.FAILED))
    found = compare_with_last_success(store, str(a_run_id("failed")))
    assert found.left.run_id == a_run_id("right")


def test_a_time_that_is_not_known_of_both_is_not_called_equal(store: Store, record: Record) -> None:
    record(store, a_run("ended", begins=0, waits=5))
    record(store, a_run("going on", begins=100, state=None))
    found = compare_runs(store, str(a_run_id("ended")), str(a_run_id("going on")))
    assert told(found) == [("outcome", "state", ())]
    assert {group.theme for group in found.equal}.isdisjoint({Theme.QUEUE, Theme.DURATION})


def test_what_a_run_that_goes_on_has_not_so_far_is_not_called_lacking(store: Store, record: Record) -> None:
    record(store, a_tree("good", 0, fails=False))
    record(store, a_run("going on", begins=1000, state=None))
    record(
        store, a_run("its extract", begins=1001, state=None, definition="etl.extract", kind="task", inside="going on")
    )
    for run in (a_run_id("good"), a_run_id("good extract")):
        metric = make(MetricEvent, run_id=run, seconds=9, name="rows", value=5.0)
        record(store, [metric, make(DatasetEvent, run_id=run, seconds=9, direction="write", namespace="s", name="d")])
    good, going = str(a_run_id("good")), str(a_run_id("going on"))
    for found in (compare_runs(store, good, going), compare_runs(store, going, good)):
        assert told(found) == [("outcome", "state", ("extract",)), ("outcome", "state", ())]
        assert [(pair.step, pair.differs) for pair in found.steps] == [("", True), ("extract", True), ("stage", False)]


def test_runs_that_nobody_named_are_not_of_the_same_definition(store: Store, record: Record) -> None:
    record(store, [make(StateEvent, run_id=a_run_id("one"), state=State.SUCCEEDED)])
    record(store, [make(StateEvent, run_id=a_run_id("other"), seconds=100, state=State.FAILED)])
    with pytest.raises(NotFoundError, match="no run of the same definition succeeded before"):
        compare_with_last_success(store, str(a_run_id("other")))


def test_an_unknown_run_is_not_found(store: Store, record: Record) -> None:
    record(store, a_story())
    with pytest.raises(NotFoundError):
        compare_runs(store, str(ETL), "nothing-of-the-kind")


def test_a_long_value_is_cut_and_says_so(store: Store, record: Record) -> None:
    record(store, a_run("one", begins=0))
    record(store, a_run("two", begins=100, context={"content": {"parameters": {"text": "x" * 10_000}}}))
    (difference,) = compare_runs(store, str(a_run_id("one")), str(a_run_id("two"))).differences
    assert str(difference.right).endswith("… (10002 bytes)")


@pytest.mark.parametrize(
    ("ours", "theirs", "fields"),
    [
        ({"x": {"y": 1}, "x.y": 5}, {"x": {"y": 2}, "x.y": 5}, ["parameters.x.y"]),
        ({"spark.memory": 1}, {"spark": {"memory": 1}}, ['parameters."spark.memory"', "parameters.spark.memory"]),
        (["a"], {"0": "a"}, ['parameters."0"', "parameters.0"]),
    ],
)
def test_no_key_of_an_input_is_taken_for_another(
    store: Store, record: Record, ours: Any, theirs: Any, fields: list[str]
) -> None:
    for name, begins, parameters in (("one", 0, ours), ("two", 100, theirs)):
        record(store, a_run(name, begins=begins, context={"content": {"parameters": parameters}}))
    found = compare_runs(store, str(a_run_id("one")), str(a_run_id("two")))
    assert [one.field for one in found.differences] == fields


def test_what_a_step_has_too_much_of_is_not_called_lacking_nor_equal(store: Store, record: Record) -> None:
    inputs = {"one": "x" * 20_000, "two": "y"}
    for name, begins, read in (("one", 0, range(101)), ("two", 1000, range(100, -1, -1))):
        record(store, a_run(name, begins=begins, seconds=60))
        given = {"content": {"parameters": {"text": inputs[name]}}}
        step = {"definition": "etl.load", "kind": "task", "inside": name}
        record(store, a_run(f"{name} load", begins=begins + 1, context=given, **step))
        said = {"run_id": a_run_id(f"{name} load"), "seconds": begins + 2, "direction": "read", "namespace": "s3://x"}
        record(store, [make(DatasetEvent, name=f"d{number}", **said) for number in read])
    found = compare_runs(store, str(a_run_id("one")), str(a_run_id("two")))
    assert told(found) == []
    assert Theme.INPUTS not in {group.theme for group in found.equal}
    assert found.cut_fields == 2
    # Of one compared by itself all is read.
    alone = compare_runs(store, str(a_run_id("one load")), str(a_run_id("two load")))
    assert (told(alone), alone.cut_fields) == ([("inputs", "parameters.text", ())], 0)


def test_a_metric_differs_by_its_number(store: Store, record: Record) -> None:
    for name, begins, rows in (("one", 0, 5.0), ("two", 100, 0.0)):
        metric = make(MetricEvent, seconds=begins, run_id=a_run_id(name), name="rows", value=rows)
        dataset = make(DatasetEvent, seconds=begins, run_id=a_run_id(name), direction="read", namespace="s", name="d")
        record(store, [*a_run(name, begins=begins), metric, dataset])
    (difference,) = compare_runs(store, str(a_run_id("one")), str(a_run_id("two"))).differences
    assert (difference.field, difference.delta) == ("metric rows", -5.0)


def test_a_reopened_parent_is_compared_with_the_tries_it_carried_over(store: Store, record: Record) -> None:
    record(store, a_tree("one", 0, fails=False))
    record(store, a_run("again", begins=100, seconds=30))
    record(store, a_run("again stage", begins=112, definition="etl.stage", kind="task", inside="again"))
    kept = {"relation": Relation.CARRIED_OVER, "target_run_id": a_run_id("one extract")}
    record(store, [make(LinkEvent, seconds=100, run_id=a_run_id("again"), **kept)])
    found = compare_runs(store, str(a_run_id("one")), str(a_run_id("again")))
    assert found.differences == []


# Any two sides

_words = st.sampled_from(["a", "b", "c"])
_values = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | _words
_json = st.recursive(_values, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=2))
_moments = st.none() | st.integers(0, 30).map(lambda seconds: at(float(seconds)))
_ids = st.uuids(version=4)


@st.composite
def _nodes(draw: Any, depth: int = 2) -> TreeNode:
    started, ended = draw(_moments), draw(_moments)
    children = draw(st.lists(_nodes(depth=depth - 1), max_size=3)) if depth else []
    seconds = (ended - started) / timedelta(seconds=1) if started and ended else None
    return TreeNode(
        run_id=draw(_ids),
        engine=draw(_words),
        deployment="d",
        definition=draw(st.none() | _words),
        attempt=draw(st.none() | st.integers(0, 2)),
        effective_state=draw(st.none() | st.sampled_from(State)),
        native_state=draw(st.none() | _words),
        queued_at=draw(_moments),
        started_at=started,
        ended_at=ended,
        duration_seconds=seconds,
        children=children,
    )


def _all_nodes(node: TreeNode) -> list[TreeNode]:
    return [node, *(inner for child in node.children for inner in _all_nodes(child))]


@st.composite
def _sides(draw: Any) -> Side:
    tree = draw(_nodes())
    summaries = {
        node.run_id: RunSummary(
            run_id=node.run_id,
            engine=node.engine,
            deployment=node.deployment,
            parameters=draw(_json),
            context=ContextView(code=draw(st.dictionaries(_words, _json, max_size=2)), tags=draw(st.lists(_words))),
            failure=draw(st.none() | st.builds(FailureView, error_type=_words, message=_words)),
            reads=draw(st.lists(st.builds(DatasetRef, namespace=_words, name=_words), max_size=2)),
            metrics=draw(st.lists(st.builds(MetricView, name=_words, value=st.floats(-9, 9)), max_size=2)),
        )
        for node in _all_nodes(tree)
    }
    keys = {run_id: draw(_words) for run_id in summaries}
    structure = {"tasks": [{"id": draw(_words)}], "edges": draw(st.lists(st.tuples(_words, _words).map(list)))}
    version = DefinitionVersion(version_id=draw(_ids), version=draw(_words), structure=structure)
    return Side(summaries[tree.run_id], draw(st.none() | st.just(version)), tree, summaries, keys)


def negate(difference: Difference) -> Difference:
    change = {"added": "removed", "removed": "added"}
    return difference.model_copy(
        update={
            "left": difference.right,
            "right": difference.left,
            "change": change.get(difference.change, "changed"),
            "delta": None if difference.delta is None else -difference.delta,
        }
    )


@given(left=_sides(), right=_sides())
def test_swapping_the_sides_negates_each_difference_and_changes_nothing_else(left: Side, right: Side) -> None:
    one, other = compare_sides(left, right), compare_sides(right, left)
    assert [negate(difference) for difference in one.differences] == other.differences
    assert (one.equal, one.cut_differences, one.cut_steps) == (other.equal, other.cut_differences, other.cut_steps)
    assert [(pair.step, pair.right, pair.left, pair.differs) for pair in one.steps] == [
        (pair.step, pair.left, pair.right, pair.differs) for pair in other.steps
    ]


@given(side=_sides())
def test_any_side_compared_with_itself_has_no_difference(side: Side) -> None:
    found = compare_sides(side, side)
    assert found.differences == []
    assert found.first_divergence is None
