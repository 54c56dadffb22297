from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from pydantic import ValidationError

from runvis_core.model import event as event_module
from runvis_core.model.event import (
    EVENT_KINDS,
    ContextEvent,
    EventBase,
    IdentityEvent,
    LinkEvent,
    StateEvent,
    parse_event,
)
from runvis_core.model.state import State, Verdict
from runvis_core.testing.factories import a_run_id, at, make
from runvis_core.testing.histories import histories

IDENTITY: dict[str, Any] = {"definition": "d", "definition_kind": "dag", "native_key": "d/1", "native_id": "d/1"}


def test_every_kind_says_in_the_modules_table_what_makes_two_reports_the_same_fact() -> None:
    for kind, model in EVENT_KINDS.items():
        assert f"`{kind}`" in (event_module.__doc__ or "")
        assert "fact" in vars(model)


@given(histories)
def test_an_id_follows_from_the_fact(history: list[EventBase]) -> None:
    for event in history:
        twin = event.model_copy(update={"sequence": 7, "producer": a_run_id("producer")})
        assert event.derived_id() == event.event_id == twin.derived_id()


def test_an_engines_own_transition_id_is_kept() -> None:
    given_id = UUID("12345678-1234-5678-1234-567812345678")
    assert make(StateEvent, state="Running", event_id=given_id).event_id == given_id


@pytest.mark.parametrize(
    "change", [{"state": State.FAILED}, {"native_state": "x"}, {"occurred_at": at(1)}, {"witness": "scheduler"}]
)
def test_a_transition_is_another_one_when_any_part_of_the_fact_differs(change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"state": State.RUNNING, "occurred_at": at(0), "witness": "worker"}
    assert make(StateEvent, **fields).event_id != make(StateEvent, **fields | change).event_id


def test_identity_reported_twice_with_the_same_words_is_one_fact_whenever_it_is_said() -> None:
    assert make(IdentityEvent, seconds=0, **IDENTITY).event_id == make(IdentityEvent, seconds=9, **IDENTITY).event_id
    assert make(IdentityEvent, **IDENTITY).event_id != make(IdentityEvent, **IDENTITY, attempt=2).event_id


def test_the_id_of_a_context_tells_nothing_of_what_its_bodies_hold() -> None:
    one, other = (make(ContextEvent, content={"parameters": value}) for value in ("secret", "other"))
    assert one.event_id == other.event_id


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"state": "Sleeping"}, "state"),
        ({"occurred_at": "2026-11-24T08:00:00"}, "occurred_at"),
        ({"run_id": "not-a-uuid"}, "run_id"),
        ({"engine": ""}, "engine"),
        ({"witness": "oracle"}, "witness"),
        ({"sequence": -1}, "sequence"),
    ],
)
def test_a_wrong_field_is_refused_by_name(change: dict[str, Any], where: str) -> None:
    raw = make(StateEvent, state="Running").model_dump(mode="json") | change
    with pytest.raises(ValidationError) as refused:
        parse_event(raw)
    assert [error["loc"] for error in refused.value.errors()] == [(where,)]


def test_an_unknown_kind_needs_an_id_of_its_own() -> None:
    raw = make(StateEvent, state="Running").model_dump(mode="json") | {"kind": "telepathy"}
    assert parse_event(raw).kind == "telepathy"
    del raw["event_id"]
    with pytest.raises(ValidationError, match="needs an event_id"):
        parse_event(raw)


def test_a_link_names_exactly_one_target() -> None:
    for target in ({}, {"target_run_id": a_run_id(), "target_native_key": "d/1"}):
        with pytest.raises(ValidationError, match="either"):
            make(LinkEvent, relation="caused", **target)


def test_only_a_loss_presumes_an_end() -> None:
    for verdict, state in ((Verdict.LOST, None), (Verdict.LOST, "Running"), (Verdict.SILENT, "Failed")):
        with pytest.raises(ValidationError, match="terminal state"):
            make(event_module.PresumptionEvent, verdict=verdict, state=state, reason="r")
