"""Objects as Airflow's hooks hand them over, made from what a real Airflow 3.3.2 handed over once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from types import SimpleNamespace
from typing import Any

MAPPINGS = frozenset({"conf", "params", "extra", "context_carrier", "task_dict", "parameters"})
"""Attributes that are mappings in Airflow, too, and no objects."""


def load(raw: Any, name: str = "") -> Any:
    """Return the object, list, mapping, enum or time that `raw` describes; absent attributes are absent."""
    if isinstance(raw, list):
        return [load(item) for item in raw]
    if not isinstance(raw, dict):
        return raw
    if "__datetime__" in raw:
        return datetime.fromisoformat(raw["__datetime__"])
    if "__timedelta__" in raw:
        return timedelta(seconds=raw["__timedelta__"])
    if "__enum__" in raw:
        return Enum(raw["__enum__"], {raw["value"].upper(): raw["value"]})(raw["value"])
    fields = {key: load(value, key) for key, value in raw.items()}
    return fields if name in MAPPINGS else SimpleNamespace(**fields)


def load_error(raw: Mapping[str, str] | None) -> object:
    """Return the exception, or the bare text where the scheduler is who says it."""
    if raw is None or raw["type"] == "str":
        return raw and raw["text"]
    known = {"RuntimeError": RuntimeError, "ValueError": ValueError}
    kind = known.get(raw["type"]) or type(raw["type"], (Exception,), {"__module__": "airflow.exceptions"})
    return kind(raw["text"])


class OutletEvents:
    """What a task said of the assets that it wrote, by outlet."""

    def __init__(self, said: list[dict[str, Any]]) -> None:
        self._said = {item["uri"]: SimpleNamespace(extra=item["extra"], asset_alias_events=[]) for item in said}

    def __getitem__(self, outlet: Any) -> Any:
        return self._said[outlet.uri]
