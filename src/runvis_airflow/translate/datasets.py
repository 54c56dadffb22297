"""What tasks and DAG runs read and write, and what DAGs declare."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from runvis_airflow.identity import DagRunKey, TaskKey
from runvis_airflow.rows import Source
from runvis_airflow.states import asset_dataset
from runvis_airflow.translate.attributes import given
from runvis_core.model.event import DatasetDeclaredEvent, DatasetEvent, EventBase


def datasets_written(ti: Any, source: Source, key: TaskKey, outlet_events: Any, *, at: datetime) -> Iterator[EventBase]:
    """Say what the task wrote: its declared outlets, and the assets that it made of aliases while it ran."""
    for outlet in ti.task.outlets:
        accessor = outlet_events[outlet] if outlet_events is not None else None
        if getattr(outlet, "uri", None):
            yield dataset_event(outlet, source, key, "write", at=at, extra=getattr(accessor, "extra", None))
        for made in getattr(accessor, "asset_alias_events", ()):
            name = made.dest_asset_key
            yield dataset_event(name, source, key, "write", at=at, extra=made.extra)


def assets_of(declared: Any) -> list[Any]:
    """Return the assets among a task's inlets or outlets, which may be anything."""
    return [asset for asset in declared if getattr(asset, "uri", None)]


def dataset_event(
    asset: Any,
    source: Source,
    key: TaskKey | DagRunKey,
    direction: str,
    *,
    at: datetime,
    extra: Any = None,
    native_id: str | None = None,
) -> DatasetEvent:
    """Say that a task or a DAG run read or wrote an asset."""
    namespace, name = asset_dataset(asset.uri, deployment=source.deployment)
    return source.say(
        DatasetEvent,
        at,
        run_id=key.uuid(source.deployment),
        direction=direction,
        namespace=namespace,
        name=name,
        **given(native_id=native_id),
        **({"content": {"extra": extra}} if extra else {}),
    )


def asset_declared(asset: Any, source: Source, *, now: datetime) -> Iterator[EventBase]:
    """A DAG declares an asset."""
    namespace, name = asset_dataset(asset.uri, deployment=source.deployment)
    extra = getattr(asset, "extra", None)
    yield source.say(
        DatasetDeclaredEvent,
        now,
        namespace=namespace,
        name=name,
        **given(group=getattr(asset, "group", None) or None),
        **({"content": {"extra": dict(extra)}} if extra else {}),
    )
