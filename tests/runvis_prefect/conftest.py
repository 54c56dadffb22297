from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid5

import pytest

MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)
NAMES = UUID(int=7)

Factory = Callable[..., Any]


@pytest.fixture
def a_state() -> Factory:
    """A state of Prefect, of a type and a name, `seconds` after the morning began."""

    def make(kind: str, name: str | None = None, *, seconds: float = 0, data: Any = None) -> Any:
        name = name or kind.capitalize()
        return SimpleNamespace(
            id=uuid5(NAMES, f"{kind} {name} {seconds}"),
            type=kind,
            name=name,
            timestamp=MORNING + timedelta(seconds=seconds),
            message=None,
            data=data,
            state_details=SimpleNamespace(scheduled_time=None, cache_key=None),
        )

    return make


@pytest.fixture
def a_flow_run() -> Factory:
    def make(name: str = "run", **fields: Any) -> Any:
        defaults: dict[str, Any] = {
            "id": uuid5(NAMES, f"flow run {name}"),
            "name": name,
            "run_count": 0,
            "empirical_policy": SimpleNamespace(resuming=False, retry_delay=None, retry_type=None),
            "expected_start_time": MORNING,
            "flow_version": "1",
            "deployment_id": None,
            "deployment_version": None,
            "work_pool_name": None,
            "work_queue_name": None,
            "parent_task_run_id": None,
            "idempotency_key": None,
            "labels": {},
            "tags": [],
            "parameters": {},
            "auto_scheduled": False,
            "created_by": None,
            "state": None,
        }
        return SimpleNamespace(**(defaults | fields))

    return make


@pytest.fixture
def a_task_run() -> Factory:
    def make(name: str = "task run", **fields: Any) -> Any:
        defaults: dict[str, Any] = {
            "id": uuid5(NAMES, f"task run {name}"),
            "name": name,
            "run_count": 1,
            "flow_run_id": None,
            "flow_run_run_count": 0,
            "task_key": "task-1",
            "dynamic_key": "0",
            "task_version": None,
            "expected_start_time": MORNING,
            "tags": [],
            "state": None,
        }
        return SimpleNamespace(**(defaults | fields))

    return make


@pytest.fixture
def a_flow() -> Factory:
    def make(name: str = "orders", fn: Any = None, **fields: Any) -> Any:
        defaults: dict[str, Any] = {
            "name": name,
            "fn": fn or (lambda: None),
            "version": None,
            "retries": 0,
            "timeout_seconds": None,
            "description": None,
        }
        return SimpleNamespace(**(defaults | fields))

    return make


@pytest.fixture
def a_task() -> Factory:
    def make(name: str = "load", **fields: Any) -> Any:
        return SimpleNamespace(**({"name": name, "fn": lambda: None, "retry_delay_seconds": 0} | fields))

    return make
