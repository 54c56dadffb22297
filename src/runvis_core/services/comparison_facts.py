"""What is known of a run and of what ran inside it, as flat mappings that can be compared. Pure: no store, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

import orjson

from runvis_core.services.answers import DefinitionVersion, RunSummary, TreeNode
from runvis_core.services.comparison_answers import Theme

_MAX_DEPTH: Final = 8
CUT: Final = {
    "parameters": (Theme.INPUTS, ("parameters",)),
    "conf": (Theme.INPUTS, ("conf",)),
    "datasets": (Theme.DATASETS, ("reads ", "writes ")),
    "artifacts": (Theme.DATASETS, ("artifact ",)),
    "metrics": (Theme.METRICS, ("metric ",)),
    "failure.message": (Theme.OUTCOME, ("failure.message",)),
}
"""By what a summary may leave out, where it would be among the facts."""
_INCIDENTAL: Final = frozenset(
    {
        "environment.host",
        "environment.pid",
        "engine_context.data_interval_end",
        "engine_context.data_interval_start",
        "engine_context.dynamic_key",
        "engine_context.flow_run_name",
        "engine_context.logical_date",
        "engine_context.run_after",
        "engine_context.task_run_name",
    }
)
"""Fields that hardly two runs have alike."""

Facts = dict[tuple[Theme, str], Any]


class Side(NamedTuple):
    """All that a comparison takes of one run."""

    run: RunSummary
    version: DefinitionVersion | None
    tree: TreeNode
    summaries: Mapping[UUID, RunSummary]
    """Of the runs in the tree, as far as they were read."""
    native_keys: Mapping[UUID, str]


def facts_of(side: Side, step: str, nodes: list[TreeNode]) -> Facts:
    """Return by theme and field all that a step, or the run itself (`""`), has to compare."""
    node = nodes[-1]
    is_top = step == ""
    run = side.run if is_top else side.summaries.get(node.run_id)
    facts: Facts = {
        (Theme.OUTCOME, "state"): word_of(node.effective_state),
        (Theme.OUTCOME, "native_state"): node.native_state,
        (Theme.OUTCOME, "attempts"): len(nodes),
        (Theme.ENVIRONMENT, "engine"): node.engine,
        (Theme.ENVIRONMENT, "deployment"): node.deployment,
        (Theme.STRUCTURE, "kind"): node.kind,
        (Theme.QUEUE, "queue_seconds"): seconds_between(node.queued_at, node.started_at),
        (Theme.DURATION, "duration_seconds"): node.duration_seconds,
    }
    if is_top:
        facts[Theme.STRUCTURE, "definition"] = node.definition
        facts |= _version_facts(side.version)
    if run is not None:
        facts |= _summary_facts(run)
    return {key: value for key, value in facts.items() if value is not None}


def word_of(value: Any) -> str | None:
    """Return the word of a state; None for none."""
    return None if value is None else value.value


def _summary_facts(run: RunSummary) -> Facts:
    facts: Facts = {}
    if run.failure is not None:
        facts[Theme.OUTCOME, "failure.error_type"] = run.failure.error_type
        facts[Theme.OUTCOME, "failure.message"] = run.failure.message
    if run.trigger is not None:
        facts[Theme.INPUTS, "trigger"] = run.trigger.kind.value
    context = run.context
    for theme, name, value in (
        (Theme.INPUTS, "parameters", run.parameters),
        (Theme.INPUTS, "conf", context.conf),
        (Theme.CODE, "code", context.code),
        (Theme.ENVIRONMENT, "environment", context.environment),
        (Theme.ENVIRONMENT, "engine_context", context.engine),
    ):
        for field, leaf in _leaves(name, value):
            facts[Theme.INCIDENTAL if field in _INCIDENTAL else theme, field] = leaf
    facts |= {(Theme.INPUTS, f"tag {tag}"): True for tag in context.tags}
    facts[Theme.ENVIRONMENT, "owner"] = context.owner
    facts |= {(Theme.DATASETS, f"reads {ref.namespace} {ref.name}"): True for ref in run.reads}
    facts |= {(Theme.DATASETS, f"writes {ref.namespace} {ref.name}"): True for ref in run.writes}
    for artifact in run.artifacts:
        facts[Theme.DATASETS, f"artifact {artifact.name}"] = artifact.digest or artifact.uri or True
    facts |= {(Theme.METRICS, f"metric {metric.name}"): metric.value for metric in run.metrics}
    return facts


def _version_facts(version: DefinitionVersion | None) -> Facts:
    if version is None:
        return {}
    facts: Facts = {
        (Theme.CODE, "definition.version"): version.version,
        (Theme.CODE, "definition.native_version"): version.native_version,
        (Theme.CODE, "definition.code_version"): version.code_version,
        (Theme.STRUCTURE, "schedule"): version.schedule,
    }
    structure = cast("dict[str, Any]", version.structure) if isinstance(version.structure, dict) else {}
    for task in structure.get("tasks") or ():
        facts[Theme.STRUCTURE, f"task {task.get('id')}"] = task.get("operator") or True
    for edge in structure.get("edges") or ():
        facts[Theme.STRUCTURE, "edge " + " -> ".join(str(end) for end in edge)] = True
    return facts


def _leaves(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a JSON value that have no parts, each with the path to it; no two have the same path."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        inner = ((_quoted(key), part) for key, part in cast("dict[str, Any]", value).items())
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        inner = enumerate(cast("list[Any]", value))
    parts = list(inner)
    if not parts:
        # No parameters are the same as parameters without a name.
        if value is not None and (depth or value not in ({}, [])):
            yield name, value
        return
    for key, part in parts:
        yield from _leaves(f"{name}.{key}", part, depth + 1)


def _quoted(key: str) -> str:
    """Return a key as a part of a path: in quotes where it could be taken for several, or for a place in a list."""
    return key if key and not key.isdigit() and not {".", '"'} & set(key) else orjson.dumps(key).decode()


def cut_names(side: Side, nodes: list[TreeNode]) -> set[str]:
    """Return what the summary of a step's last attempt leaves out of what is compared."""
    run = side.summaries.get(nodes[-1].run_id) if nodes else None
    return set() if run is None else CUT.keys() & run.cut.keys()


def seconds_between(earlier: datetime | None, later: datetime | None) -> float | None:
    """Return the seconds between two times; None while either is unknown."""
    return None if earlier is None or later is None else (later - earlier).total_seconds()
