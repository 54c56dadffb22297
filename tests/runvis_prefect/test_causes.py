from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from runvis_core.model.cause import Cause
from runvis_core.model.state import TriggerKind
from runvis_prefect.causes import find_causes
from runvis_prefect.facts import Surroundings
from runvis_prefect.identity import task_run_id
from runvis_prefect.translate import flow_identity

Factory = Callable[..., Any]
TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER = UUID(int=7)
DEPLOYMENT_ID, TRACKING_ID = UUID(int=8), UUID(int=9)


def test_what_was_handed_on_is_the_cause_and_the_correlation(
    a_flow: Factory, a_flow_run: Factory, a_state: Factory
) -> None:
    run = a_flow_run(labels=Cause(OTHER, TRACE).as_labels(), deployment_id=DEPLOYMENT_ID)
    said = flow_identity(a_flow(), run, a_state("RUNNING"), Surroundings("test"))
    assert (said.caused_by_run_id, said.correlation_id) == (OTHER, TRACE)
    assert said.trigger is not None
    assert said.trigger.kind is TriggerKind.RUN


def test_run_deployment_is_known_by_its_tracking_task_run(a_flow_run: Factory) -> None:
    run = a_flow_run(deployment_id=DEPLOYMENT_ID, parent_task_run_id=TRACKING_ID)
    assert find_causes(run, "test") == (task_run_id("test", TRACKING_ID, 1), None)


def test_a_subflow_has_a_parent_and_no_cause(a_flow_run: Factory) -> None:
    assert find_causes(a_flow_run(parent_task_run_id=TRACKING_ID), "test") == (None, None)


def test_a_run_at_the_top_begins_a_correlation_of_its_own(a_flow_run: Factory) -> None:
    run = a_flow_run()
    assert find_causes(run, "test") == (None, run.id.hex)


def test_prefects_own_trace_comes_before_that(a_flow_run: Factory) -> None:
    run = a_flow_run(labels={"__OTEL_TRACEPARENT": f"00-{TRACE}-b7ad6b7169203331-01"})
    assert find_causes(run, "test") == (None, TRACE)
