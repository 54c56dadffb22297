"""The lineage tables follow from the log alone, in whatever portions it is read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runvis_core.lineage.tables import an_identity, contents, histories

from runvis_core.lineage.facts import Node
from runvis_core.lineage.step import LineageStep
from runvis_core.lineage.turns import Turn
from runvis_core.model.encoding import seal
from runvis_core.model.event import DatasetEvent, EventBase, LinkEvent
from runvis_core.model.state import Relation
from runvis_core.store.database import Store, open_store
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.steps import advance, catch_up
from runvis_core.testing.factories import MORNING, a_run_id, make

Record = Callable[[Store, Iterable[EventBase]], None]
STEP = LineageStep()


def portions(store: Store, sizes: Sequence[int]) -> None:
    """Let the step take the log in portions of these sizes, again and again."""
    place = 0
    while advance(store, STEP, limit=sizes[place % len(sizes)]):
        place += 1


@settings(max_examples=60)
@given(history=histories, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), data=st.data())
def test_any_portions_and_a_rebuild_give_the_same_tables(
    empty_file: Path, history: list[EventBase], sizes: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(history)))
    with tempfile.TemporaryDirectory() as folder:
        files = [shutil.copy(empty_file, Path(folder) / name) for name in ("first.db", "second.db")]
        first, second = (f"sqlite:///{file}" for file in files)
        with (
            closing(open_store(first, clock=lambda: MORNING)) as at_once,
            closing(open_store(second, clock=lambda: MORNING)) as bit_by_bit,
        ):
            at_once.log.append([seal(event) for event in history], principal="test")
            catch_up(at_once, [STEP])
            for part in (history[:cut], history[cut:]):
                bit_by_bit.log.append([seal(event) for event in part], principal="test")
                portions(bit_by_bit, sizes)
            assert contents(bit_by_bit) == contents(at_once)
            before = contents(at_once)
            rebuild_store(at_once)
            portions(at_once, sizes)
            assert contents(at_once) == before


def chain(*definitions: str) -> list[EventBase]:
    """One run after the other, each caused by the one before."""
    return [
        an_identity(number, name, **({"caused_by_run_id": a_run_id(str(number - 1))} if number else {}))
        for number, name in enumerate(definitions)
    ]


def names(store: Store) -> dict[int, str]:
    return {row[0]: row[-1] for row in contents(store)["lineage_nodes"]}


def edges(store: Store) -> set[tuple[str, str, str, int]]:
    known = names(store)
    return {(known[row[0]], row[2], known[row[1]], row[7]) for row in contents(store)["lineage_edges"]}


def turns(store: Store) -> list[str]:
    known = names(store)
    return sorted(known[row[1]] for row in contents(store)["lineage_turns"])


def test_a_use_counts_for_the_task_and_for_all_that_contain_it_once_a_run(store: Store, record: Record) -> None:
    inside = {"definition_kind": "task", "parent_run_id": a_run_id("0")}
    write = {"direction": "write", "namespace": "s3://lake", "name": "sales"}
    record(store, [make(DatasetEvent, run_id=a_run_id("1"), **write)])
    record(store, [an_identity(1, "etl.load", **inside)])
    catch_up(store, [STEP])
    assert edges(store) == {("etl.load", "writes", "sales", 1)}
    # What contains it is named last, and a second word on the same writing is no second one.
    record(store, [make(DatasetEvent, run_id=a_run_id("1"), native_id="7", **write), an_identity(0, "etl")])
    catch_up(store, [STEP])
    assert edges(store) == {("etl.load", "writes", "sales", 1), ("etl", "writes", "sales", 1)}


def test_a_start_that_several_witnesses_tell_is_one(store: Store, record: Record) -> None:
    record(store, chain("a", "b"))
    record(store, [make(LinkEvent, run_id=a_run_id("0"), relation=Relation.CAUSED, target_native_key="key 1")])
    record(store, [make(LinkEvent, run_id=a_run_id("1"), relation=Relation.CAUSED_BY, target_run_id=a_run_id("0"))])
    # Another attempt of the started thing is no other start.
    record(store, [an_identity(5, "b", native_key="key 1", attempt=2, caused_by_run_id=a_run_id("0"))])
    catch_up(store, [STEP])
    assert edges(store) == {("a", "triggers", "b", 1)}


@pytest.mark.parametrize("backwards", [False, True])
def test_each_return_to_a_definition_is_a_turn(store: Store, record: Record, *, backwards: bool) -> None:
    told = chain("a", "b", "a", "b", "a", "c")
    for event in reversed(told) if backwards else told:
        record(store, [event])
        catch_up(store, [STEP])
    assert turns(store) == ["a", "a", "b"]


def test_a_definition_that_starts_itself_turns(store: Store, record: Record) -> None:
    record(store, chain("a", "a", "a"))
    catch_up(store, [STEP])
    assert edges(store) == {("a", "triggers", "a", 2)}
    assert turns(store) == ["a", "a"]


def test_a_loop_is_told_once_and_after_it_is_durable(store: Store, record: Record) -> None:
    told: list[tuple[list[str], int]] = []

    def tell(new: list[Turn], nodes: dict[int, Node]) -> None:
        kept = len(contents(store)["lineage_turns"])
        told.extend(([nodes[number].name for number in turn.path], kept) for turn in new)

    step = LineageStep(tell)
    for event in chain("a", "b", "c", "a", "b", "c", "a"):
        record(store, [event])
        catch_up(store, [step])
    assert told == [(["a", "b", "c"], 1)]


def test_runs_that_cause_one_another_end_nothing(store: Store, record: Record) -> None:
    around: list[Any] = [
        an_identity(number, f"d{number}", caused_by_run_id=a_run_id(str((number + 1) % 3)), parent_run_id=a_run_id("0"))
        for number in range(3)
    ]
    record(store, around)
    catch_up(store, [STEP])
    assert turns(store)
