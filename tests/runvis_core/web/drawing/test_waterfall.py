from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runvis_core.model.state import State
from runvis_core.services.answers import TreeNode
from runvis_core.services.spans import SpanFacts
from runvis_core.services.unshown import Unshown
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id, at
from runvis_core.web.drawing.intervals import share_time
from runvis_core.web.drawing.spans import Span, count_not_run, extent_of, spans_of
from runvis_core.web.drawing.waterfall import Waterfall, draw_waterfall

NOW = at(10_000)


def node(
    name: str,
    begun: float | None = None,
    ended: float | None = None,
    *,
    queued: float | None = None,
    state: State = State.SUCCEEDED,
    children: tuple[TreeNode, ...] = (),
    **more: Any,
) -> TreeNode:
    times = {"queued_at": queued, "started_at": begun, "ended_at": ended}
    said = {key: None if seconds is None else at(seconds) for key, seconds in times.items()}
    seconds = None if begun is None or ended is None else ended - begun
    fields = {"run_id": a_run_id(name), "engine": ENGINE, "deployment": DEPLOYMENT, "definition": name} | more
    return TreeNode(
        **fields, **said, state=state, effective_state=state, duration_seconds=seconds, children=list(children)
    )


def draw(tree: TreeNode, facts: dict[Any, SpanFacts] | None = None, **options: Any) -> Waterfall:
    return draw_waterfall(spans_of(tree, facts or {}), now=NOW, **options)


def labels(fall: Waterfall) -> list[str]:
    return [row.label for row in fall.rows]


def test_the_axis_ends_with_the_last_evidence_and_not_now() -> None:
    fall = draw(node("dag", 0, 100, children=(node("dag.load", 20, 60, queued=10),)))
    assert fall.extent == (at(0), at(100))
    assert labels(fall) == ["dag", "load"]
    queued, ran = fall.rows[1].bars
    assert (queued.kind, queued.x, queued.width) == ("queued", "10%", "10%")
    assert (ran.kind, ran.x, ran.width) == ("ran", "20%", "40%")


def test_the_runs_of_a_mapped_step_say_which_of_them_they_are() -> None:
    mapped = [
        node("dag.load", index, 9, run_id=a_run_id(f"{index}"), native_id=f"dag/r1/load/{index}/1") for index in (0, 1)
    ]
    assert labels(draw(node("dag", 0, 10, children=(*mapped,)))) == ["dag", "load[0]", "load[1]"]


def test_a_live_run_s_axis_ends_now() -> None:
    fall = draw(node("dag", 0, state=State.RUNNING))
    assert fall.extent == (at(0), NOW)
    assert fall.rows[0].bars[0].kind == "open"


def test_what_never_began_is_a_tick_and_does_not_stretch_the_axis() -> None:
    never = node("dag.load", queued=5_000, state=State.CANCELLED, native_state="upstream_failed")
    fall = draw(node("dag", 0, 100, state=State.FAILED, children=(never,)))
    assert fall.extent == (at(0), at(100))
    assert [bar.kind for bar in fall.rows[1].bars] == ["tick"]
    assert fall.rows[1].bars[0].x == "100%"


def test_attempts_of_one_thing_share_a_row() -> None:
    first = node("dag.stage", 10, 20, state=State.FAILED, run_id=a_run_id("1"), attempt=1)
    second = node("dag.stage", 40, 60, queued=35, run_id=a_run_id("2"), attempt=2)
    facts = {child.run_id: SpanFacts(native_key="ti/stage") for child in (first, second)}
    fall = draw(node("dag", 0, 100, children=(second, first)), facts)
    assert labels(fall) == ["dag", "stage"]
    assert [(number, look.key) for number, _, look in fall.rows[1].attempts] == [(1, "failed"), (2, "succeeded")]
    assert [bar.kind for bar in fall.rows[1].bars] == ["ran", "retry", "queued", "ran"]
    assert fall.shares == {"running": 30.0, "retry": 15.0, "queued": 5.0, "idle": 50.0}


def test_another_engine_s_run_is_marked_where_it_begins() -> None:
    flow = TreeNode(
        run_id=a_run_id("flow"), engine="prefect", deployment="flows", definition="forecast", started_at=at(50)
    )
    fall = draw(node("dag", 0, 100, caused=[flow]))
    assert [(row.engine, row.crosses, row.is_caused) for row in fall.rows] == [
        (ENGINE, False, False),
        ("prefect", True, True),
    ]


def test_a_line_joins_a_run_to_the_end_of_the_one_that_started_it() -> None:
    started = node("flow", 60, 90, queued=50, engine="prefect")
    cause = node("dag.ask", 10, 40).model_copy(update={"caused": [started]})
    fall = draw(node("dag", 0, 100, children=(cause,)))
    row = fall.rows[2]
    assert row.crosses
    assert [(bar.kind, bar.x, bar.width) for bar in row.bars[:2]] == [("from", "40%", "0.15%"), ("hand", "40%", "10%")]
    assert row.bars[1].title == "handed over 10 s after the end"
    assert fall.has_hand_off


def test_what_is_started_while_its_cause_runs_is_joined_where_it_begins() -> None:
    cause = node("dag.ask", 10, 80).model_copy(update={"caused": [node("flow", 20, 60, engine="prefect")]})
    fall = draw(node("dag", 0, 100, children=(cause,)))
    assert [(bar.kind, bar.x) for bar in fall.rows[2].bars] == [("from", "20%"), ("ran", "20%")]
    assert not fall.has_hand_off


def test_what_began_after_the_end_of_the_axis_has_no_place_on_it() -> None:
    started = node("flow", 160, 190, engine="prefect", children=(node("flow.fit", 165, 170, engine="prefect"),))
    cause = node("dag.ask", 10, 40).model_copy(update={"caused": [started]})
    fall = draw(node("dag", 0, 100, children=(cause,)))
    assert fall.extent == (at(0), at(100))
    assert [(row.after_seconds, row.bars) for row in fall.rows[2:]] == [(60.0, []), (65.0, [])]


def test_a_clock_that_was_off_is_a_bracket_under_the_bar() -> None:
    dag = node("dag", 0, 100, children=(node("dag.load", 20, 60),))
    fall = draw(dag, {a_run_id("dag.load"): SpanFacts(clock_suspect=True)})
    bracket = [(bar.kind, bar.x) for bar in fall.rows[1].bars if bar.kind != "ran"]
    assert bracket == [("skew", "20%"), ("end", "20%"), ("end", "60%")]
    assert fall.has_skew
    assert not draw(dag).has_skew


def test_the_chain_that_kept_the_whole_from_ending_is_marked() -> None:
    children = (node("dag.a", 0, 40), node("dag.b", 0, 20), node("dag.c", 40, 100))
    fall = draw(node("dag", 0, 100, children=children))
    assert {row.label for row in fall.rows if row.is_critical} == {"dag", "a", "c"}


def test_what_is_folded_is_counted_and_failures_stay_in_sight() -> None:
    inside = tuple(
        node(f"dag.group{i}", 0, 1, children=tuple(node(f"dag.group{i}.t{j}", 0, 1) for j in range(50)))
        for i in range(40)
    )
    broken = node("dag.late", 2, 3, state=State.FAILED, children=(node("dag.late.deep", 2, 3, state=State.FAILED),))
    fall = draw(node("dag", 0, 10, children=(*inside, broken)), max_rows=100)
    assert len(fall.rows) <= 100
    assert {"late", "deep"} <= {label.rpartition(".")[2] for label in labels(fall)}
    assert len(fall.rows) + sum(row.folded for row in fall.rows) == len(fall.rows) + fall.unshown == 1 + 40 * 51 + 2


def test_steps_that_were_not_run_are_counted_and_decided_ones_are_not() -> None:
    def not_run(name: str, native: str) -> TreeNode:
        return node(name, state=State.CANCELLED, native_state=native)

    tree = node("dag", 0, 9, children=(not_run("a", "upstream_failed"), not_run("b", "skipped"), node("c", 1, 2)))
    assert count_not_run(spans_of(tree, {})) == 1


def test_a_run_that_nothing_is_known_of_has_no_axis() -> None:
    fall = draw(node("dag", state=State.QUEUED))
    assert fall.extent is None
    assert fall.rows[0].bars == []


moments = st.none() | st.floats(0, 1000, allow_nan=False)
trees = st.recursive(
    st.builds(lambda *times: (times, ()), moments, moments, moments),
    lambda inner: st.builds(
        lambda times, children: (times, tuple(children)),
        st.tuples(moments, moments, moments),
        st.lists(inner, max_size=4),
    ),
    max_leaves=30,
)


def _tree(shape: Any, names: Iterator[int]) -> TreeNode:
    (begun, ended, queued), children = shape
    return node(
        f"n{next(names)}", begun, ended, queued=queued, children=tuple(_tree(child, names) for child in children)
    )


@given(trees, st.integers(1, 40))
def test_every_bar_lies_on_the_axis_and_the_shares_are_the_whole(shape: Any, max_rows: int) -> None:
    root = spans_of(_tree(shape, iter(range(10_000))), {})
    fall = draw_waterfall(root, now=NOW, max_rows=max_rows)
    for row in fall.rows:
        for bar in row.bars:
            assert 0 <= float(bar.x.rstrip("%")) <= 100
            assert float(bar.width.rstrip("%")) <= 100
    assert len(fall.rows) + sum(row.folded for row in fall.rows) == sum(1 for _ in root.walk())
    extent = extent_of(root, now=NOW)
    if extent:
        whole = (extent[1] - extent[0]).total_seconds()
        assert abs(sum(fall.shares.values()) - whole) < 1e-6
        assert all(share >= 0 for share in fall.shares.values())


def test_an_instant_is_given_to_the_first_of_what_was_going_on() -> None:
    shares = share_time(at(0), at(10), {"running": [(at(2), at(4)), (at(3), at(5))], "queued": [(at(0), at(3))]})
    assert shares == {"running": 3.0, "retry": 0.0, "queued": 2.0, "idle": 5.0}


def test_a_span_that_failed_for_another_s_sake_is_no_failure_of_its_own() -> None:
    tree = node("dag", state=State.CANCELLED, native_state="upstream_failed")
    assert not Span([tree], [SpanFacts()], 0).has_failed


def test_the_time_of_what_is_not_shown_counts() -> None:
    children = (node("dag.a", 0, 10), node("dag.failed", 60, 70, queued=50, state=State.FAILED))
    tree = node("dag", 0, 100, children=children, cut_children=4, cut_failed=1)
    hidden = [
        [node("dag.b", 10, 20, state=State.FAILED, attempt=1), node("dag.b", 25, 40, attempt=2)],
        [node("dag.c", 80, 100)],
        [node("dag.never", ended=100, state=State.CANCELLED)],
    ]
    root = spans_of(tree, {}, {tree.run_id: Unshown(hidden, is_whole=True)})
    fall = draw_waterfall(root, now=NOW)
    assert fall.shares == {"running": 10 + 10 + 15 + 10 + 20, "retry": 5, "queued": 10, "idle": 20}
    assert (fall.unshown, fall.unshown_failed) == (4, 1)
    assert fall.rows[0].folded_in == tree.run_id
    # The last one that is not shown began after the failed one had ended.
    assert [row.label for row in fall.rows if row.is_critical] == ["dag", "a", "failed"]
    assert count_not_run(root) == 1


def test_of_what_is_not_known_whole_no_budget_is_told_and_nothing_is_underlined() -> None:
    tree = node("dag", 0, 100, children=(node("dag.a", 0, 10),), cut_children=4)
    for unshown in ({}, {tree.run_id: Unshown([[node("dag.b", 10, 20)]], is_whole=False)}):
        fall = draw_waterfall(spans_of(tree, {}, unshown), now=NOW)
        assert fall.shares is None
        assert [row.label for row in fall.rows if row.is_critical] == ["dag"]


def test_a_run_that_ended_in_the_queue_waited_for_a_worker() -> None:
    fall = draw(node("dag", queued=0, ended=8, state=State.TIMED_OUT))
    assert fall.shares == {"running": 0, "retry": 0, "queued": 8, "idle": 0}
    assert [bar.title for bar in fall.rows[0].bars] == ["Timed out: never began"]


def test_of_what_went_well_it_is_not_said_that_it_never_began() -> None:
    [bar] = draw(node("dag", ended=8)).rows[0].bars
    assert bar.title == "Succeeded: no start was recorded"
