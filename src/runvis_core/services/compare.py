"""Comparing two runs of a store: by their names, or a run with the last one that went well."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, literal, select, tuple_

from runvis_core.errors import NotFoundError
from runvis_core.model.state import State
from runvis_core.services.answers import TreeNode
from runvis_core.services.comparison import MAX_STEPS, compare_sides
from runvis_core.services.comparison_answers import Comparison
from runvis_core.services.comparison_facts import Side
from runvis_core.services.definitions import find_version
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import chunks, reading
from runvis_core.services.run_refs import SUMMARY_COLUMNS
from runvis_core.services.run_summaries import summarise
from runvis_core.services.run_trees import build_tree
from runvis_core.services.tree_statements import UNDER
from runvis_core.store.database import Store
from runvis_core.store.tables import runs
from runvis_core.store.types import Id, Moment


def compare_runs(store: Store, left: str, right: str) -> Comparison:
    """Return what differs between two runs, of one definition or of any two, and of one engine or of two.

    Raises `NotFoundError` if there is no such run.
    """
    with reading(store) as connection:
        return _compare(connection, resolve_run(connection, left), resolve_run(connection, right))


def compare_with_last_success(store: Store, name: str) -> Comparison:
    """Return what differs from the last run before it that went well (left) to the named run (right).

    Raises `NotFoundError` if there is no such run, or no run of its definition went well before it.
    """
    with reading(store) as connection:
        run_id = resolve_run(connection, name)
        last = find_last_success(connection, run_id)
        if last is None:
            raise NotFoundError(
                f"no run of the same definition succeeded before {run_id}; name the run to compare it with"
            )
        return _compare(connection, last, run_id)


def find_last_success(connection: Connection, run_id: UUID) -> UUID | None:
    """Return the last run of the same definition before this one whose effective state is Succeeded.

    None where there is none, or nobody named the definition.
    """
    row: Any = connection.execute(select(runs).where(runs.c.run_id == run_id)).one()
    if row.definition is None:
        return None
    query = (
        select(runs.c.run_id)
        .where(
            runs.c.engine == row.engine,
            runs.c.deployment == row.deployment,
            runs.c.definition == row.definition,
            runs.c.definition_kind == row.definition_kind,
            runs.c.effective_state == State.SUCCEEDED.value,
            runs.c.became_run_id.is_(None),
            tuple_(runs.c.sort_at, runs.c.run_id) < tuple_(literal(row.sort_at, Moment), literal(row.run_id, Id)),
        )
        .order_by(runs.c.sort_at.desc(), runs.c.run_id.desc())
        .limit(1)
    )
    return connection.scalar(query)


def _compare(connection: Connection, left: UUID, right: UUID) -> Comparison:
    return compare_sides(_read_side(connection, left), _read_side(connection, right))


def _read_side(connection: Connection, run_id: UUID) -> Side:
    row: Any = connection.execute(select(*SUMMARY_COLUMNS, *UNDER).where(runs.c.run_id == run_id)).one()
    (run,) = summarise(connection, [row], whole=True)
    tree = build_tree(connection, row).top
    rows: list[Any] = []
    summaries = {run_id: run}
    for chunk in chunks(list(_ids_of(tree))[: 2 * MAX_STEPS]):
        found = connection.execute(select(*SUMMARY_COLUMNS).where(runs.c.run_id.in_(chunk))).all()
        rows += found
        summaries.update((summary.run_id, summary) for summary in summarise(connection, found))
    native_keys = {found.run_id: found.native_key for found in rows if found.native_key is not None}
    return Side(run, find_version(connection, row.definition_version_id), tree, summaries, native_keys)


def _ids_of(tree: TreeNode) -> list[UUID]:
    ids: list[UUID] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop(0)
        ids += [child.run_id for child in node.children]
        ids += [started.run_id for started in node.caused]
        waiting += node.children
    return ids
