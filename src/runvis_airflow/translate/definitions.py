"""What a DAG looks like, and files that are none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from runvis_airflow.rows import Source
from runvis_airflow.translate.attributes import dag_version_id_of, given, text_or_none, word_or_none
from runvis_core.model.event import DefinitionErrorEvent, DefinitionEvent, EventBase


def dag_definition(dag_run: Any, source: Source, *, at: datetime) -> Iterator[EventBase]:
    """Say what the DAG looked like when the DAG run was made: its tasks, edges, schedule, owner, docs."""
    dag = getattr(dag_run, "dag", None)
    version_id_ = dag_version_id_of(dag_run)
    if dag is None or version_id_ is None:
        return
    version = getattr(dag_run, "created_dag_version", None)
    docs = getattr(dag, "doc_md", None) or getattr(dag, "description", None)
    yield source.say(
        DefinitionEvent,
        at,
        definition=dag.dag_id,
        definition_kind="dag",
        version=version_id_,
        **given(
            native_version=text_or_none(getattr(version, "version_number", None)),
            code_version=getattr(version, "bundle_version", None),
            schedule=_schedule(dag),
            owner=getattr(dag, "owner", None) or None,
        ),
        tags=tuple(sorted(dag.tags or ())),
        content=given(structure=structure(dag), docs=docs),
    )


def structure(dag: Any) -> dict[str, Any]:
    """Return a DAG's tasks and the edges between them."""
    tasks = sorted(dag.task_dict.values(), key=lambda task: task.task_id)
    return {
        "tasks": [
            given(
                id=task.task_id,
                operator=task.task_type,
                trigger_rule=word_or_none(getattr(task, "trigger_rule", None)),
                mapped=True if getattr(task, "is_mapped", False) else None,
                retries=getattr(task, "retries", None),
                owner=getattr(task, "owner", None),
            )
            for task in tasks
        ],
        "edges": [[task.task_id, after] for task in tasks for after in sorted(task.downstream_task_ids)],
    }


def _schedule(dag: Any) -> str | None:
    timetable = getattr(dag, "timetable", None)
    summary = getattr(timetable, "summary", None)
    return str(summary) if summary else None


def import_error(filename: str, stacktrace: str, source: Source, *, now: datetime) -> Iterator[EventBase]:
    """A DAG file can't be imported; the same error at the same file is the same fact, at every parse."""
    yield source.say(
        DefinitionErrorEvent,
        now,
        source=str(filename),
        fingerprint=import_error_fingerprint(filename, stacktrace),
        content={"traceback": stacktrace},
    )


def import_error_fingerprint(filename: str, stacktrace: str) -> str:
    """Return what tells one import error from the next."""
    return hashlib.sha256(f"{filename}\0{stacktrace}".encode("utf-8", "replace")).hexdigest()[:32]
