from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import orjson
from tests.runvis_airflow.raw import load
from tests.runvis_airflow.test_translate import FIXTURES

from runvis_airflow.causes import find_cause, find_correlation
from runvis_airflow.history import DagRun, dag_run_events
from runvis_airflow.rows import Source
from runvis_airflow.translate import dag_runs, tasks
from runvis_core.model.cause import KEY, Cause
from runvis_core.model.event import IdentityEvent
from runvis_core.model.state import TriggerKind, Witness

FLOW_RUN = UUID(int=7)
TRACE, OWN_TRACE = "0af7651916cd43dd8448eb211c80319c", "b" * 32
CONF = {"day": 1, KEY: Cause(FLOW_RUN, TRACE).as_object()}
CARRIER = {"traceparent": f"00-{OWN_TRACE}-b7ad6b7169203331-01"}


def test_the_scheduler_and_the_follower_say_the_same_of_a_cause_that_was_handed_on() -> None:
    raw = orjson.loads((FIXTURES / "dag_run_running.raw.json").read_bytes())
    view = load(raw["dag_run"])
    view.conf = CONF
    said = list(dag_runs.dag_run_running(view, Source("test", Witness.SCHEDULER), native_url=None))
    rest = DagRun(
        dag_id=view.dag_id,
        dag_run_id=view.run_id,
        state="running",
        run_type="manual",
        start_date=view.start_date,
        conf=CONF,
    )
    said += dag_run_events(rest, Source("test", Witness.FOLLOWER), timed_out=False, base_url="http://airflow.example")
    identities = [event for event in said if isinstance(event, IdentityEvent)]
    assert len(identities) == 2
    for event in identities:
        assert (event.caused_by_run_id, event.correlation_id) == (FLOW_RUN, TRACE)
        assert event.trigger is not None
        assert event.trigger.kind is TriggerKind.RUN


def test_a_task_has_the_correlation_that_was_handed_to_its_dag_run() -> None:
    raw = orjson.loads((FIXTURES / "task_running.raw.json").read_bytes())
    task = load(raw["task_instance"])
    task._ti_context_from_server.dag_run.conf = CONF
    source = Source("test", Witness.WORKER)
    identity = next(
        tasks.task_running(task, source, now=datetime(2026, 11, 29, tzinfo=UTC), environment={}, parameters={})
    )
    assert isinstance(identity, IdentityEvent)
    assert identity.correlation_id == TRACE


def test_airflows_own_trace_is_the_correlation_where_none_was_handed_on() -> None:
    assert find_correlation({"day": 1}, CARRIER) == OWN_TRACE
    assert find_correlation(None, None) is None


def test_a_conf_that_an_operator_passed_on_names_no_cause() -> None:
    assert find_cause(CONF, "manual") == FLOW_RUN
    assert find_cause(CONF, "operator_triggered") is None
