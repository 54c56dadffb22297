"""All that was known about one run in a past."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select

from runvis_core.model.event import AliasEvent, LinkEvent
from runvis_core.model.run import Record
from runvis_core.model.state import Relation
from runvis_core.services.answers import (
    AliasView,
    AttemptView,
    CorrectionView,
    DefinitionVersion,
    LateFactView,
    LinkView,
    RunDetail,
    TreeNode,
)
from runvis_core.services.definitions import find_version
from runvis_core.services.judgement import JUDGED_KINDS, find_judgement
from runvis_core.services.past import PastRun, PastRuns, reading_past
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.past_kin import find_past_attempts
from runvis_core.services.past_names import get_past_run
from runvis_core.services.past_runs import summarise_past
from runvis_core.services.past_trees import build_past_tree
from runvis_core.services.reading import LoggedEntry
from runvis_core.services.run_details import (
    MAX_ITEMS,
    SAID_KINDS,
    TRANSITION_KINDS,
    DrawnRun,
    find_log,
    find_said,
    find_transitions,
    view_testimony,
)
from runvis_core.services.run_refs import attempt_fields
from runvis_core.store.database import Store
from runvis_core.store.rows import late_rows
from runvis_core.store.tables import definition_versions, links


def get_past_run_detail(store: Store, name: str, asked: PastFilter, *, now: datetime) -> RunDetail:
    """Return all that was known about a run in a past; heartbeats and completeness are told of today only.

    Raises `NotFoundError` where there is no such run or it was not there yet, and `PastError`.
    """
    return get_drawn_past_run(store, name, asked, now=now).run


def get_drawn_past_run(store: Store, name: str, asked: PastFilter, *, now: datetime) -> DrawnRun:
    """Return what `get_past_run_detail` does, and what a drawing needs beyond it."""
    with reading_past(store, asked, now=now) as (connection, past):
        runs = PastRuns(connection, past)
        found = get_past_run(runs, name)
        tree = build_past_tree(runs, found)
        return DrawnRun(_describe(runs, found, name, tree.top), tree.facts, tree.unshown)


def describe_past_run(runs: PastRuns, run: PastRun, name: str) -> RunDetail:
    """Return all that was known about a run, which was asked for by a name."""
    return _describe(runs, run, name, build_past_tree(runs, run).top)


def _describe(runs: PastRuns, run: PastRun, name: str, tree: TreeNode) -> RunDetail:
    (summary,) = summarise_past(runs, [run], whole=True)
    connection, past = runs.connection, runs.past
    run_id, record = run.row.run_id, run.record
    logged = {entry.position: entry for entry in run.logged}
    transitions = find_transitions(_of_kinds(run, TRANSITION_KINDS), until=past.moment)
    testimony = [view_testimony(word, logged[word.position]) for word in record.testimonies[:MAX_ITEMS]]
    return RunDetail(
        **dict(summary),
        asked_for=name,
        retry_expected_at=run.row.retry_expected_at,
        definition_version=_version(runs, run),
        provisional_run_ids=_provisional(runs, run_id),
        frozen_position=run.row.frozen_position,
        attempts=[AttemptView(**attempt_fields(one.row)) for one in find_past_attempts(runs, run, limit=MAX_ITEMS)],
        transitions=transitions,
        testimony=testimony,
        corrections=_corrections(record, logged),
        **find_judgement(
            connection,
            _of_kinds(run, JUDGED_KINDS),
            record.run.state,
            frozen_position=run.row.frozen_position,
            testimony=testimony,
            transitions=transitions,
        ),
        late=_late(record),
        links=_links(record),
        aliases=_aliases(record),
        said=find_said(connection, run_id, _of_kinds(run, SAID_KINDS)),
        log=find_log(connection, run_id, record.context),
        tree=tree,
    )


def _of_kinds(run: PastRun, kinds: Collection[str]) -> list[LoggedEntry]:
    return [entry for entry in run.logged if entry.event["kind"] in kinds][:MAX_ITEMS]


def _version(runs: PastRuns, run: PastRun) -> DefinitionVersion | None:
    version_id = run.row.definition_version_id
    query = select(definition_versions.c.position).where(definition_versions.c.definition_version_id == version_id)
    position = runs.connection.scalar(query)
    is_known = position is not None and position <= runs.past.position
    return find_version(runs.connection, version_id) if is_known else None


def _provisional(runs: PastRuns, run_id: UUID) -> list[UUID]:
    query = select(links.c.run_id).where(
        links.c.relation == Relation.BECAME.value,
        links.c.target_run_id == run_id,
        links.c.position <= runs.past.position,
    )
    found = runs.load(runs.connection.scalars(query.order_by(links.c.position).limit(MAX_ITEMS)))
    became = [one.row for one in found if one.row.became_run_id == run_id]
    return [row.run_id for row in sorted(became, key=lambda row: (row.sort_at, row.run_id))]


def _corrections(record: Record, logged: dict[int, LoggedEntry]) -> list[CorrectionView]:
    return [
        CorrectionView(
            run_id=correction.correction_id,
            corrects=correction.corrects,
            state=correction.testimony.state,
            native_state=correction.testimony.native_state,
            report=logged[correction.testimony.position].report(),
        )
        for correction in record.corrections
    ]


def _late(record: Record) -> list[LateFactView]:
    return [
        LateFactView(field=field, value=value, position=position)
        for position, facts in late_rows(record.late)[:MAX_ITEMS]
        for field, value in orjson.loads(facts).items()
    ]


def _links(record: Record) -> list[LinkView]:
    said = [(one.event, one.position) for one in record.collections.values()]
    return [
        LinkView(
            relation=event.relation,
            target_run_id=event.target_run_id,
            target_native_key=event.target_native_key,
            position=position,
        )
        for event, position in said
        if isinstance(event, LinkEvent)
    ][:MAX_ITEMS]


def _aliases(record: Record) -> list[AliasView]:
    events: list[Any] = [one.event for one in record.collections.values()]
    found = [event for event in events if isinstance(event, AliasEvent)]
    return [AliasView(system=event.system, native_id=event.native_id) for event in found[:MAX_ITEMS]]
