"""Histories full of causes, and what the lineage tables say of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from sqlalchemy import select

from runvis_core.model.event import (
    DatasetDeclaredEvent,
    DatasetEvent,
    EventBase,
    IdentityEvent,
    LinkEvent,
    StateEvent,
)
from runvis_core.model.state import Relation, State, Witness
from runvis_core.store import tables as t
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make

RUNS = 7
KINDS = ("dag", "task")


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the lineage tables."""
    with store.engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in t.LINEAGE
        }


def an_identity(number: int, definition: str, **fields: Any) -> IdentityEvent:
    defaults = {"definition_kind": "dag", "native_key": f"key {number}", "native_id": f"id {number}"}
    return make(IdentityEvent, run_id=a_run_id(str(number)), definition=definition, **(defaults | fields))


numbers = st.integers(0, RUNS - 1)
moments = st.integers(-9, 9)
witnesses = st.sampled_from([Witness.WORKER, Witness.SCHEDULER, Witness.FOLLOWER])


@st.composite
def identities(draw: st.DrawFn) -> EventBase:
    """What a witness says of a run: one may know more or less of it than another, and may contradict him in all."""
    number = draw(numbers)
    said: dict[str, UUID] = {}
    for field, ordinary in (("parent_run_id", (number * 5 + 2) % RUNS), ("caused_by_run_id", (number * 3 + 1) % RUNS)):
        if draw(st.booleans()):
            said[field] = a_run_id(str(draw(st.one_of(st.just(ordinary), numbers))))
    # Some share a native key, as attempts do.
    key = draw(st.one_of(st.just(number - number % 2), numbers))
    definition = draw(st.one_of(st.just(number % 3), st.integers(0, 2)))
    return an_identity(
        number,
        f"d{definition}",
        native_key=f"key {key}",
        definition_kind=draw(st.sampled_from(KINDS)),
        witness=draw(witnesses),
        seconds=draw(moments),
        **said,
    )


@st.composite
def uses(draw: st.DrawFn) -> EventBase:
    return make(
        DatasetEvent,
        run_id=a_run_id(str(draw(numbers))),
        witness=draw(witnesses),
        seconds=draw(moments),
        direction=draw(st.sampled_from(["read", "write"])),
        namespace="s3://lake",
        name=draw(st.sampled_from(["a", "b", "c\0"])),
    )


@st.composite
def links(draw: st.DrawFn) -> EventBase:
    target = draw(numbers)
    named: dict[str, Any] = (
        {"target_run_id": a_run_id(str(target))} if draw(st.booleans()) else {"target_native_key": f"key {target}"}
    )
    return make(
        LinkEvent,
        run_id=a_run_id(str(draw(numbers))),
        witness=draw(witnesses),
        seconds=draw(moments),
        relation=draw(st.sampled_from([Relation.CAUSED, Relation.CAUSED_BY, Relation.CARRIED_OVER])),
        **named,
    )


@st.composite
def others(draw: st.DrawFn) -> EventBase:
    if draw(st.booleans()):
        return make(DatasetDeclaredEvent, namespace="s3://lake", name=draw(st.sampled_from(["a", "declared"])))
    return make(StateEvent, run_id=a_run_id(str(draw(numbers))), seconds=draw(st.integers(0, 9)), state=State.RUNNING)


histories = st.lists(st.one_of(identities(), identities(), uses(), links(), others()), min_size=1, max_size=40)
