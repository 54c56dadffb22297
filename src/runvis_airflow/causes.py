"""What started a DAG run, as far as its conf says: another engine's run hands itself on there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from runvis_core.model.cause import read_object, read_traceparent

_HAS_A_CAUSE: Final = "operator_triggered"
"""The run type of a DAG run that a task of the same Airflow started: a conf that was passed on is not the cause's."""


def find_correlation(conf: object, carrier: Mapping[str, Any] | None) -> str | None:
    """Return the correlation id that was handed on, else that of Airflow's own trace, which each DAG run has."""
    handed = read_object(conf)
    trace = carrier.get("traceparent") if carrier else None
    return (handed and handed.correlation_id) or read_traceparent(trace)


def find_cause(conf: object, run_type: str | None) -> UUID | None:
    """Return the run of another engine that started a DAG run."""
    handed = read_object(conf)
    return handed.run_id if handed is not None and run_type != _HAS_A_CAUSE else None
