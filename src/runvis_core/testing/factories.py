"""Events with defaults, for tests that care about one thing at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from runvis_core.model.entry import Entry
from runvis_core.model.event import EventBase
from runvis_core.model.identity import run_id
from runvis_core.model.state import Witness

MORNING = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
"""When histories in tests begin."""
ENGINE = "airflow"
DEPLOYMENT = "test"

_E = TypeVar("_E", bound=EventBase)


def a_run_id(name: str = "run") -> UUID:
    """Return the id of the test run called `name`."""
    return run_id(ENGINE, DEPLOYMENT, ("test", name))


def at(seconds: float) -> datetime:
    """Return the moment `seconds` after `MORNING`."""
    return MORNING + timedelta(seconds=seconds)


def make(kind: type[_E], /, *, seconds: float = 0, **fields: Any) -> _E:
    """Return an event of a kind about the default run, told by its worker `seconds` after `MORNING`."""
    defaults: dict[str, Any] = {
        "engine": ENGINE,
        "deployment": DEPLOYMENT,
        "witness": Witness.WORKER,
        "occurred_at": at(seconds),
    }
    if "run_id" in kind.model_fields and kind.model_fields["run_id"].is_required():
        defaults["run_id"] = a_run_id()
    return kind.model_validate(defaults | fields)


def recorded(events: Iterable[EventBase], *, first: int = 1) -> list[Entry]:
    """Return events as a log would hold them, in this order, from position `first`, each recorded as it occurred."""
    return [Entry(position, event.occurred_at, "test", event) for position, event in enumerate(events, first)]
