"""From rows of runs to what is said of them: everything that a page of runs needs, in a fixed number of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Connection, Table, and_, bindparam, func, or_, select

from runvis_core.model.state import Witness
from runvis_core.services.ancestry import Ancestry, find_ancestry
from runvis_core.services.answers import (
    ArtifactView,
    ContextView,
    DatasetRef,
    FailureView,
    MetricView,
    RunCompleteness,
    RunSummary,
    TriggerView,
)
from runvis_core.services.reading import RUN_IDS, SMALL_BODY_BYTES, chunks, find_bodies
from runvis_core.services.run_completeness import judge_runs
from runvis_core.services.run_refs import run_ref_fields
from runvis_core.services.witnesses import count_entries
from runvis_core.store.failures import first_line
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import artifacts, datasets, metrics, run_late, runs

LIST_ITEMS: Final = 100
"""How many datasets, artifacts and metrics a list shows of each run."""

# Built once each, as all that is asked of several runs.
_LATE: Final = (
    select(run_late.c.run_id, run_late.c.facts)
    .where(is_among(run_late.c.run_id, RUN_IDS))
    .order_by(run_late.c.position)
)
Context = dict[str, dict[str, Any]]


def find_contexts(connection: Connection, rows: Sequence[Any]) -> dict[UUID, Context]:
    """Return each run's context, with what was filled in after its end. The rows have `record` and `HAS_LATE`."""
    contexts: dict[UUID, Context] = {row.run_id: orjson.loads(row.record).get("context", {}) for row in rows}
    for chunk in chunks(row.run_id for row in rows if row.has_late):
        for late in connection.execute(_LATE, {RUN_IDS.key: chunk}):
            _fill_in(contexts[late.run_id], orjson.loads(late.facts))
    return contexts


def _fill_in(context: Context, facts: dict[str, Any]) -> None:
    for field, value in facts.items():
        section, dot, key = field.partition(".")
        if dot:
            context.setdefault(section, {}).setdefault(key, value)
        elif field in ("failure", "log"):
            context.setdefault(field, value)


class _Bodies:
    """The bodies that a page shows, by the references to them in the runs' contexts."""

    def __init__(self, *, max_bytes: int | None) -> None:
        self._max_bytes = max_bytes
        self._wanted: dict[UUID, set[bytes]] = defaultdict(set)
        self._found: dict[bytes, Any] = {}

    def want(self, run_id: UUID, ref: dict[str, Any] | None) -> None:
        if ref is not None and not self._too_large(ref):
            self._wanted[run_id].add(bytes.fromhex(ref["digest"]))

    def load(self, connection: Connection) -> None:
        self._found = find_bodies(connection, self._wanted)

    def content(self, ref: dict[str, Any] | None, name: str, cut: dict[str, int]) -> Any:
        if ref is None:
            return None
        if self._too_large(ref):
            cut[name] = ref["size"]
            return None
        return self._found.get(bytes.fromhex(ref["digest"]))

    def _too_large(self, ref: dict[str, Any]) -> bool:
        return self._max_bytes is not None and ref["size"] > self._max_bytes


_SHOWN_BODIES: Final = ("parameters", "conf", "actor")


def _shown_refs(context: Context, *, traceback: bool) -> list[dict[str, Any] | None]:
    refs = [context.get("bodies", {}).get(name) for name in _SHOWN_BODIES]
    failure = context.get("failure", {})
    refs.append(failure.get("message"))
    if traceback:
        refs.append(failure.get("traceback"))
    return refs


class Collected:
    """The datasets, artifacts or metrics of some runs, at most so many of each, and how many were left out."""

    def __init__(self, rows: dict[UUID, list[Any]], cut: dict[UUID, int]) -> None:
        self._rows = rows
        self._cut = cut

    def of(self, run_id: UUID, name: str, cut: dict[str, int]) -> list[Any]:
        """Return those of a run, and note in `cut` how many were left out."""
        if self._cut.get(run_id):
            cut[name] = self._cut[run_id]
        return self._rows.get(run_id, [])


@cache
def _collected(table: Table) -> Any:
    numbered = (
        select(
            table,
            func.row_number().over(partition_by=table.c.run_id, order_by=table.c.position).label("place"),
            func.count().over(partition_by=table.c.run_id).label("total"),
        )
        .where(is_among(table.c.run_id, RUN_IDS))
        .subquery()
    )
    query = select(numbered).where(numbered.c.place <= bindparam("most"))
    return query.order_by(numbered.c.run_id, numbered.c.position)


def _read_collected(connection: Connection, table: Table, runs_in_it: Iterable[Any], *, limit: int) -> Collected:
    found: dict[UUID, list[Any]] = defaultdict(list)
    cut: dict[UUID, int] = {}
    for chunk in chunks(run.run_id for run in runs_in_it):
        for row in connection.execute(_collected(table), {RUN_IDS.key: chunk, "most": limit}):
            found[row.run_id].append(row)
            cut[row.run_id] = max(0, row.total - limit)
    return Collected(found, cut)


@cache
def _previous_attempts() -> Any:
    earlier = runs.alias("earlier")
    previous = (
        select(earlier.c.run_id)
        .where(
            earlier.c.native_key == runs.c.native_key,
            earlier.c.engine == runs.c.engine,
            earlier.c.deployment == runs.c.deployment,
            # An engine that numbers no attempts gives all the same number: a DAG run that was reopened, or made again.
            or_(
                earlier.c.attempt < runs.c.attempt,
                and_(earlier.c.attempt == runs.c.attempt, earlier.c.started_at < runs.c.started_at),
            ),
            earlier.c.became_run_id.is_(None),
        )
        .order_by(earlier.c.attempt.desc(), earlier.c.started_at.desc().nulls_last(), earlier.c.first_position.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(runs.c.run_id, previous.label("previous")).where(is_among(runs.c.run_id, RUN_IDS))


def find_previous_attempts(connection: Connection, rows: Sequence[Any]) -> dict[UUID, UUID]:
    """Return by run the attempt before it, for runs that don't name it themselves."""
    found: dict[UUID, UUID] = {}
    for chunk in chunks([row.run_id for row in rows if row.retry_of is None and row.native_key is not None]):
        told = connection.execute(_previous_attempts(), {RUN_IDS.key: chunk})
        found.update((row.run_id, row.previous) for row in told if row.previous is not None)
    return found


def summarise(
    connection: Connection, rows: Sequence[Any], *, whole: bool = False, contexts: dict[UUID, Context] | None = None
) -> list[RunSummary]:
    """Return what lists say of the runs of these rows, in their order; `whole` leaves nothing of them out.

    The rows have `SUMMARY_COLUMNS`.
    """
    run_ids = [row.run_id for row in rows]
    contexts = contexts if contexts is not None else find_contexts(connection, rows)
    counts = count_entries(connection, run_ids)
    limit = list_items(whole=whole)
    around = Surroundings(
        ancestry=find_ancestry(connection, rows),
        previous=find_previous_attempts(connection, rows),
        corrected={row.run_id for row in rows if row.is_corrected},
        counts=counts,
        completeness={run_id: found.completeness for run_id, found in judge_runs(connection, rows, counts).items()},
        datasets=_read_collected(connection, datasets, [row for row in rows if row.has_datasets], limit=limit),
        artifacts=_read_collected(connection, artifacts, [row for row in rows if row.has_artifacts], limit=limit),
        metrics=_read_collected(connection, metrics, [row for row in rows if row.has_metrics], limit=limit),
    )
    return describe(connection, rows, contexts, around, whole=whole)


def list_items(*, whole: bool) -> int:
    """Return how many datasets, artifacts and metrics an answer shows of a run."""
    return 100 * LIST_ITEMS if whole else LIST_ITEMS


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is said of runs that stands on no row of theirs."""

    ancestry: Ancestry
    previous: Mapping[UUID, UUID]
    """By run the attempt before it."""
    corrected: Collection[UUID]
    counts: Mapping[UUID, tuple[int, list[str]]]
    """By run how many entries it has, and who reported them."""
    completeness: Mapping[UUID, RunCompleteness]
    datasets: Collected
    artifacts: Collected
    metrics: Collected


def describe(
    connection: Connection,
    rows: Sequence[Any],
    contexts: Mapping[UUID, Context],
    around: Surroundings,
    *,
    whole: bool,
) -> list[RunSummary]:
    """Return what is said of runs by their rows, contexts and surroundings, with the contents of their bodies."""
    page = _Page(connection, contexts, around, whole=whole)
    return [page.summary(row, contexts[row.run_id]) for row in rows]


class _Page:
    def __init__(
        self, connection: Connection, contexts: Mapping[UUID, Context], around: Surroundings, *, whole: bool
    ) -> None:
        self._whole = whole
        self._around = around
        self._bodies = _Bodies(max_bytes=None if whole else SMALL_BODY_BYTES)
        for run_id, context in contexts.items():
            for ref in _shown_refs(context, traceback=whole):
                self._bodies.want(run_id, ref)
        self._bodies.load(connection)

    def summary(self, row: Any, context: Context) -> RunSummary:
        run_id, cut = row.run_id, dict[str, int]()
        refs = context.get("bodies", {})
        around = self._around
        touched = around.datasets.of(run_id, "datasets", cut)
        event_count, witnesses = around.counts.get(run_id, (0, []))
        return RunSummary(
            **run_ref_fields(row, corrected=run_id in around.corrected),
            trigger=self._trigger(row, context, cut),
            parent_run_id=row.parent_run_id,
            caused_by_run_id=around.ancestry.cause_of(run_id),
            root_run_id=around.ancestry.root_of(run_id),
            retry_of=row.retry_of or around.previous.get(run_id),
            correlation_id=around.ancestry.correlation_of(run_id),
            parameters=self._bodies.content(refs.get("parameters"), "parameters", cut),
            reads=_refs(touched, "read"),
            writes=_refs(touched, "write"),
            artifacts=[
                ArtifactView(name=item.name, uri=item.uri, digest=item.digest, media_type=item.media_type)
                for item in around.artifacts.of(run_id, "artifacts", cut)
            ],
            metrics=[
                MetricView(name=item.name, value=item.value, unit=item.unit, occurred_at=item.occurred_at)
                for item in around.metrics.of(run_id, "metrics", cut)
            ],
            failure=self._failure(context, cut),
            context=self._context(row, context, cut),
            witnesses=[Witness(name) for name in witnesses],
            event_count=event_count,
            completeness=around.completeness.get(run_id),
            clock_suspect=bool(row.clock_suspect),
            cut=cut,
        )

    def _trigger(self, row: Any, context: Context, cut: dict[str, int]) -> TriggerView | None:
        if row.trigger_kind is None:
            return None
        actor = self._bodies.content(context.get("bodies", {}).get("actor"), "actor", cut)
        return TriggerView(kind=row.trigger_kind, native=row.trigger_native, actor=actor)

    def _failure(self, context: Context, cut: dict[str, int]) -> FailureView | None:
        return _failure(context, self._bodies, cut, whole=self._whole)

    def _context(self, row: Any, context: Context, cut: dict[str, int]) -> ContextView:
        return ContextView(
            code=context.get("code", {}),
            environment=context.get("environment", {}),
            engine=context.get("engine_context", {}),
            conf=self._bodies.content(context.get("bodies", {}).get("conf"), "conf", cut),
            tags=sorted(context.get("tags", {})),
            owner=row.owner,
            native_url=row.native_url,
        )


def _failure(context: Context, bodies: _Bodies, cut: dict[str, int], *, whole: bool) -> FailureView | None:
    failure = context.get("failure")
    if failure is None:
        return None
    message = as_text(bodies.content(failure.get("message"), "failure.message", cut))
    return FailureView(
        error_type=failure.get("error_type"),
        line=first_line(message) if message is not None else None,
        message=message,
        traceback=as_text(bodies.content(failure.get("traceback"), "", {})) if whole else None,
    )


def find_failures(connection: Connection, rows: Sequence[Any]) -> dict[UUID, FailureView | None]:
    """Return by run what lists say of its failure."""
    contexts, bodies = find_contexts(connection, rows), _Bodies(max_bytes=SMALL_BODY_BYTES)
    for run_id, context in contexts.items():
        bodies.want(run_id, context.get("failure", {}).get("message"))
    bodies.load(connection)
    return {run_id: _failure(context, bodies, {}, whole=False) for run_id, context in contexts.items()}


def as_text(content: Any) -> str | None:
    """Return a body that is read as text; what is no text is shown as JSON."""
    return content if content is None or isinstance(content, str) else orjson.dumps(content).decode()


def _refs(rows: Iterable[Any], direction: str) -> list[DatasetRef]:
    # A dataset touched twice has two entries in the log, and is one dataset.
    named = dict.fromkeys((row.namespace, row.name) for row in rows if row.direction == direction)
    return [DatasetRef(namespace=namespace, name=name) for namespace, name in named]
