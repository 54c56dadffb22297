"""Flows as deployments, served by this process. Each run that holds leaves its pid in READY_DIR."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import flow, serve, task
from prefect.deployments import run_deployment
from prefect.events import DeploymentEventTrigger
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import flow_run
from prefect.schedules import Interval


@task
def hold() -> None:
    (Path(os.environ["READY_DIR"]) / str(flow_run.get_parent_flow_run_id() or flow_run.id)).write_text(str(os.getpid()))
    for _ in range(1200):
        time.sleep(0.1)


@flow
def holding() -> None:
    hold()


@task
def say(word: str) -> str:
    return word


@flow
def echo(word: str = "hello") -> str:
    return say(word)


@flow
def calling() -> None:
    run_deployment("echo/served", parameters={"word": "called"}, poll_interval=0.5)


@flow
def reacting() -> None:
    say("reacted")


@flow
def ticking() -> None:
    say("ticked")


@flow
def suspending() -> str:
    suspend_flow_run(timeout=300, key="once")
    return say("resumed")


if __name__ == "__main__":
    in_a_while = datetime.now(UTC) + timedelta(seconds=float(os.environ["TICKS_IN_SECONDS"]))
    once = Interval(timedelta(days=1), anchor_date=in_a_while)
    # Not after what the scheduler made: Prefect's triggers wait a quarter of an hour for its event, which there is not.
    after_call = DeploymentEventTrigger(
        name="after a call",
        expect={"prefect.flow-run.Completed"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": "calling"},
    )
    serve(
        holding.to_deployment("served"),
        echo.to_deployment("served", description="Says a word."),
        calling.to_deployment("served"),
        suspending.to_deployment("served"),
        ticking.to_deployment("served", schedules=[once]),
        reacting.to_deployment("served", triggers=[after_call]),
        pause_on_shutdown=False,
    )
