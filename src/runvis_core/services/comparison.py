"""What differs between two runs and what ran inside them. Pure: no store, no clock.

Swapping the sides negates each difference and changes nothing else: every rule here treats both sides alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeGuard

import orjson

from runvis_core.model.state import is_going_on
from runvis_core.services.answers import RunRef, TreeNode
from runvis_core.services.comparison_answers import Comparison, Difference, EqualFields, StepPair, StepSide, Theme
from runvis_core.services.comparison_facts import CUT, Side, cut_names, facts_of, seconds_between, word_of
from runvis_core.services.step_pairs import Pair, pair_steps

MAX_DIFFERENCES: Final = 500
MAX_STEPS: Final = 1000
"""How many aligned steps a comparison looks into."""
MAX_NAMED: Final = 20
"""How many steps a folded difference names, and how many equal fields each theme."""
MAX_VALUE_BYTES: Final = 2000
SECONDS_FLOOR: Final = 1.0
SECONDS_SHARE: Final = 0.1
"""Times that differ by less than a second, or by less than a tenth of the longer one, count as equal."""
_THEME_RANK: Final = {theme: rank for rank, theme in enumerate(Theme)}
_TOLD_AS_IT_GOES: Final = (Theme.DATASETS, Theme.METRICS)
_TIMES: Final = (Theme.QUEUE, Theme.DURATION)
_GIVEN: Final = (Theme.CODE, Theme.INPUTS, Theme.ENVIRONMENT)
"""What a run has before anything happens in it."""
_FIRST_RANK: Final = {
    theme: rank for rank, theme in enumerate((*_GIVEN, Theme.OUTCOME, Theme.STRUCTURE, Theme.DATASETS))
}
"""By what two runs can part in a step, what leads to the other first. Times and metrics differ between any two."""


class _Found(NamedTuple):
    difference: Difference
    step: str
    known_at: float
    """Seconds after the runs' beginning at which the difference could be seen first."""
    place: int
    """Of the step, among all steps."""


def compare_sides(left: Side, right: Side) -> Comparison:
    """Return what differs between two runs, ranked, and what does not."""
    pairs = pair_steps(left.tree, left.native_keys, right.tree, right.native_keys)
    kept = [pair for pair in pairs if not pair.is_left_out][:MAX_STEPS]
    found: list[_Found] = []
    equal: dict[Theme, set[str]] = defaultdict(set)
    steps: list[StepPair] = []
    for place, pair in enumerate(kept):
        here = list(_differences(pair, place, left, right, equal))
        found += here
        steps.append(_step(pair, here, is_lacking=_is_lacking(pair, left, right)))
    ranked = _rank(found)
    first = _first_divergence(found, ranked)
    if first is not None:
        merged = next(one for one in ranked if _same(one, first))
        ranked = [merged, *(one for one in ranked if one is not merged)]
    return Comparison(
        left=_ref(left.tree),
        right=_ref(right.tree),
        first_divergence=ranked[0] if first is not None else None,
        differences=ranked[:MAX_DIFFERENCES],
        equal=_equal(equal, found),
        steps=steps,
        cut_differences=max(0, len(ranked) - MAX_DIFFERENCES),
        cut_steps=len(pairs) - len(kept),
        cut_fields=sum(len(cut_names(left, pair.left) | cut_names(right, pair.right)) for pair in kept),
    )


def _ref(node: TreeNode) -> RunRef:
    return RunRef.model_validate(node.model_dump(include=set(RunRef.model_fields)))


# What differs


def _differences(pair: Pair, place: int, left: Side, right: Side, equal: dict[Theme, set[str]]) -> Iterator[_Found]:
    if not pair.left or not pair.right:
        # What ran inside a step that one side lacks is lacking with it.
        if pair.parent_is_whole and _is_lacking(pair, left, right):
            yield _lacking_step(pair, place, left, right)
        return
    known_at = min(_known_at(left, pair.left), _known_at(right, pair.right))
    facts, others = facts_of(left, pair.step, pair.left), facts_of(right, pair.step, pair.right)
    if facts.get((Theme.OUTCOME, "state")) != others.get((Theme.OUTCOME, "state")) or (
        pair.left[-1].engine != pair.right[-1].engine
    ):
        # Another state has another native word, and so has another engine: nothing of its own.
        facts.pop((Theme.OUTCOME, "native_state"), None)
        others.pop((Theme.OUTCOME, "native_state"), None)
    for theme, field in sorted(facts.keys() | others.keys()):
        value, other = facts.get((theme, field)), others.get((theme, field))
        if theme in _TIMES and (value is None or other is None):
            # Of one of them it has not come so far; that is said by its state.
            continue
        if _is_equal(theme, value, other):
            equal[theme].add(field)
        elif not _is_untold(theme, field, value, left, pair.left) and not _is_untold(
            theme, field, other, right, pair.right
        ):
            yield _Found(_difference(theme, field, value, other, pair.step), pair.step, known_at, place)


def _is_untold(theme: Theme, field: str, value: Any, side: Side, nodes: list[TreeNode]) -> bool:
    """Return whether a step lacks a fact that was left out, may still come, or that nobody was there to tell: it ended
    before it began."""
    if value is not None:
        return False
    for name in cut_names(side, nodes):
        where, beginnings = CUT[name]
        if theme is where and field.startswith(beginnings):
            return True
    if is_going_on(nodes[-1].effective_state):
        return theme in _TOLD_AS_IT_GOES
    return nodes[-1].started_at is None and theme is not Theme.OUTCOME


def _is_lacking(pair: Pair, left: Side, right: Side) -> bool:
    """Return whether a side has no such step: a run that goes on may come to it."""
    return not all(
        (pair.left or is_going_on(left.tree.effective_state), pair.right or is_going_on(right.tree.effective_state))
    )


def _is_equal(theme: Theme, value: Any, other: Any) -> bool:
    if theme in _TIMES:
        return abs(other - value) < max(SECONDS_FLOOR, SECONDS_SHARE * max(abs(value), abs(other)))
    return value == other and (type(value) is type(other) or (_is_number(value) and _is_number(other)))


def _difference(theme: Theme, field: str, value: Any, other: Any, step: str) -> Difference:
    return Difference(
        theme=theme,
        field=field,
        change="added" if value is None else "removed" if other is None else "changed",
        left=_shown(value),
        right=_shown(other),
        delta=float(other - value) if _is_number(value) and _is_number(other) else None,
        steps=[step] if step else [],
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _shown(value: Any) -> Any:
    text = orjson.dumps(value, default=str)
    if len(text) <= MAX_VALUE_BYTES:
        return value
    return f"{text[:MAX_VALUE_BYTES].decode(errors='ignore')}… ({len(text)} bytes)"


def _lacking_step(pair: Pair, place: int, left: Side, right: Side) -> _Found:
    nodes = pair.left or pair.right
    side = left if pair.left else right
    state = word_of(nodes[-1].effective_state) or "unknown"
    value, other = (state, None) if pair.left else (None, state)
    began = _offset(side, nodes[0].queued_at or nodes[0].started_at)
    difference = _difference(Theme.STRUCTURE, "step", value, other, pair.step)
    return _Found(difference, pair.step, began if began is not None else float("inf"), place)


def _known_at(side: Side, nodes: list[TreeNode]) -> float:
    ended = _offset(side, nodes[-1].ended_at)
    return ended if ended is not None else float("inf")


def _offset(side: Side, moment: datetime | None) -> float | None:
    return seconds_between(side.tree.queued_at or side.tree.started_at, moment)


# The order, and what is folded


def _first_divergence(found: list[_Found], ranked: list[Difference]) -> Difference | None:
    """Return the first difference in the order of cause.

    That is the first of what the runs themselves were given. Where they were given the same, it is what differs in the
    step that ended first of those that differ, the innermost one's where several ended at once; of a step too, what it
    was given comes before how it ended.
    """
    given = [one for one in ranked if one.theme in _GIVEN and not one.steps]
    if given:
        return given[0]

    def order(one: _Found) -> tuple[Any, ...]:
        theme, field = one.difference.theme, one.difference.field
        return (one.known_at, -one.step.count("/"), one.step == "", one.place,
                _FIRST_RANK[theme], field != "state", field)  # fmt: skip

    first = min((one for one in found if one.difference.theme in _FIRST_RANK), key=order, default=None)
    return first.difference if first else None


def _same(merged: Difference, one: Difference) -> bool:
    # A folded difference names its first steps only, but those are the same of each that went into it.
    return _fold_key(merged) == _fold_key(one)


def _fold_key(difference: Difference) -> tuple[Any, ...]:
    sides = (orjson.dumps(difference.left), orjson.dumps(difference.right))
    return (difference.theme, difference.field, *sides, bool(difference.steps))


def _rank(found: list[_Found]) -> list[Difference]:
    """Return the differences by theme, the largest change first; what differs alike in several steps becomes one."""
    alike: dict[tuple[Any, ...], list[_Found]] = defaultdict(list)
    for one in found:
        alike[_fold_key(one.difference)].append(one)
    folded: list[tuple[tuple[Any, ...], Difference]] = []
    for group in alike.values():
        difference = group[0].difference
        steps = [one.step for one in group if one.step]
        merged = difference.model_copy(update={"steps": steps[:MAX_NAMED], "cut_steps": max(0, len(steps) - MAX_NAMED)})
        change = -abs(difference.delta) if difference.delta is not None else 0.0
        sides = sorted((orjson.dumps(difference.left), orjson.dumps(difference.right)))
        order = (_THEME_RANK[difference.theme], bool(steps), change, group[0].place, difference.field, *sides)
        folded.append((order, merged))
    folded.sort(key=lambda one: one[0])
    return [difference for _, difference in folded]


def _equal(equal: dict[Theme, set[str]], found: list[_Found]) -> list[EqualFields]:
    differing = {(one.difference.theme, one.difference.field) for one in found}
    shown: list[EqualFields] = []
    for theme in Theme:
        fields = sorted(field for field in equal.get(theme, ()) if (theme, field) not in differing)
        if fields:
            shown.append(EqualFields(theme=theme, count=len(fields), fields=fields[:MAX_NAMED]))
    return shown


def _step(pair: Pair, found: list[_Found], *, is_lacking: bool) -> StepPair:
    slight = (Theme.QUEUE, Theme.DURATION, Theme.INCIDENTAL)
    return StepPair(
        step=pair.step,
        left=_step_side(pair.left, pair.left_origin),
        right=_step_side(pair.right, pair.right_origin),
        differs=is_lacking or any(one.difference.theme not in slight for one in found),
    )


def _step_side(nodes: list[TreeNode], origin: datetime | None) -> StepSide | None:
    if not nodes:
        return None
    node = nodes[-1]
    return StepSide(
        run=_ref(node),
        attempts=len(nodes),
        offset_seconds=seconds_between(origin, node.started_at),
        queue_seconds=seconds_between(node.queued_at, node.started_at),
    )
