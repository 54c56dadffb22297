"""The statements by which a tree of runs is read: what runs contain, level by level, and what is said of it.

Built once each: to build such a statement takes longer than to run it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import and_, bindparam, exists, func, literal, select, tuple_, union

from runvis_core.model.state import Relation
from runvis_core.services.ancestry import HAS_CAUSED
from runvis_core.services.feed import FAILED, is_tried_again
from runvis_core.services.reading import RUN_ID, RUN_IDS, has_row
from runvis_core.services.run_refs import REF_COLUMNS
from runvis_core.store.id_lists import id_list, is_among
from runvis_core.store.tables import links, runs
from runvis_core.store.types import Id

_INNER: Final = runs.alias("inner")
_HAS_CHILDREN: Final = has_row(_INNER.c.parent_run_id == runs.c.run_id, _INNER.c.became_run_id.is_(None))
_HAS_CARRIED: Final = has_row(links.c.run_id == runs.c.run_id, links.c.relation == Relation.CARRIED_OVER.value)
_HOLDS: Final = _HAS_CHILDREN.label("has_children")
UNDER: Final = (_HOLDS, _HAS_CARRIED.label("has_carried"), HAS_CAUSED)
"""Whether there is anything under a run in its tree: most have nothing, and are not asked for it."""
NODE_COLUMNS: Final = (
    *REF_COLUMNS,
    runs.c.native_key,
    runs.c.sort_at,
    runs.c.retry_expected_at,
    runs.c.clock_suspect,
    *UNDER,
)
"""What is read of a run that a tree shows."""
TIMES: Final = (
    runs.c.run_id,
    runs.c.engine,
    runs.c.deployment,
    runs.c.native_key,
    runs.c.attempt,
    runs.c.effective_state,
    runs.c.native_state,
    runs.c.queued_at,
    runs.c.started_at,
    runs.c.ended_at,
    _HOLDS,
)
"""What is read of a run that there may be no room for."""
BY_IDS: Final = select(*NODE_COLUMNS).where(is_among(runs.c.run_id, RUN_IDS))
TOP: Final = select(*NODE_COLUMNS).where(runs.c.run_id == RUN_ID)
STARTED: Final = select(*NODE_COLUMNS).where(is_among(runs.c.run_id, RUN_IDS), runs.c.became_run_id.is_(None))
PARENTS: Final = id_list("parents")
"""The runs that a statement is about."""


@cache
def child_edges() -> Any:
    """Select what ran right inside `PARENTS`: `parent`, `child`, its `sort_at`, and if it was `carried` over."""
    parents, child = PARENTS, (runs.c.run_id.label("child"), runs.c.sort_at)
    contained = select(runs.c.parent_run_id.label("parent"), *child, literal(0).label("carried"))
    contained = contained.where(is_among(runs.c.parent_run_id, parents), runs.c.became_run_id.is_(None))
    carried = select(links.c.run_id, *child, literal(1)).join(runs, runs.c.run_id == links.c.target_run_id)
    carried = carried.where(is_among(links.c.run_id, parents), links.c.relation == Relation.CARRIED_OVER.value)
    # One witness may know a try's id and another only its key: a union, and not of all, so that it is shown once.
    return union(contained, carried, _carried_by_key(parents)).subquery("edges")


def _carried_by_key(parents: Any) -> Any:
    """Select the tries that a reopened parent names by native key: of each the last one before it was reopened."""
    later = runs.alias("later")
    of_key = and_(
        runs.c.native_key == links.c.target_native_key,
        runs.c.engine == links.c.engine,
        runs.c.deployment == links.c.deployment,
        runs.c.sort_at <= links.c.occurred_at,
    )
    is_followed = exists().where(
        later.c.native_key == runs.c.native_key,
        later.c.engine == runs.c.engine,
        later.c.deployment == runs.c.deployment,
        later.c.sort_at <= links.c.occurred_at,
        tuple_(later.c.sort_at, later.c.first_position) > tuple_(runs.c.sort_at, runs.c.first_position),
    )
    return (
        select(links.c.run_id, runs.c.run_id, runs.c.sort_at, literal(1))
        .join(runs, of_key)
        .where(is_among(links.c.run_id, parents), links.c.relation == Relation.CARRIED_OVER.value, ~is_followed)
    )


@cache
def level_of() -> Any:
    """Select the first children of each of `PARENTS`, at most `most` of one, each with how many there are."""
    edges = child_edges()
    # One that is both inside and carried over is inside.
    order = (edges.c.sort_at, edges.c.child, edges.c.carried)
    # The rest of a row is looked up for those alone that are shown.
    numbered = select(
        edges,
        func.row_number().over(partition_by=edges.c.parent, order_by=order).label("place"),
        func.count().over(partition_by=edges.c.parent).label("total"),
    ).subquery()
    edge = numbered.c
    query = select(edge.parent, edge.carried, edge.place, edge.total, *NODE_COLUMNS)
    query = query.join(runs, runs.c.run_id == edge.child).where(edge.place <= bindparam("most"))
    return query.order_by(edge.sort_at, edge.child, edge.carried, edge.parent)


@cache
def rest_of() -> Any:
    """Select the times of those children for which a level has no room."""
    edges = child_edges()
    order = (edges.c.sort_at, edges.c.child, edges.c.carried)
    query = select(edges.c.carried, *TIMES).join(runs, runs.c.run_id == edges.c.child).order_by(*order)
    return query.limit(bindparam("left")).offset(bindparam("most"))


@cache
def failed_of() -> Any:
    """Select the children that failed in their last attempt, the earliest first, and how many there are."""
    edges = child_edges()
    query = select(edges.c.carried, func.count().over().label("total"), *NODE_COLUMNS)
    query = query.join(runs, runs.c.run_id == edges.c.child)
    query = query.where(runs.c.effective_state.in_(FAILED), ~is_tried_again())
    return query.order_by(edges.c.sort_at, edges.c.child, edges.c.carried).limit(bindparam("most"))


@cache
def contained_in() -> tuple[Any, Any, Any]:
    """Select what one run contains, how much that is, and the times of that for which there is no room."""
    parent = bindparam("parent", type_=Id())
    inside = (runs.c.parent_run_id == parent, runs.c.became_run_id.is_(None))
    order = (runs.c.sort_at, runs.c.run_id)
    query = select(*NODE_COLUMNS).where(*inside).order_by(*order).limit(bindparam("most"))
    rest = select(literal(0).label("carried"), *TIMES).where(*inside).order_by(*order)
    rest = rest.limit(bindparam("left")).offset(bindparam("most"))
    by_parent = "INDEXED BY runs_parent"
    return (
        query.with_hint(runs, by_parent, "sqlite"),
        select(func.count()).select_from(runs).where(*inside),
        rest.with_hint(runs, by_parent, "sqlite"),
    )


@cache
def child_counts() -> Any:
    """Select how many children each of `PARENTS` has."""
    edges = child_edges()
    return select(edges.c.parent, func.count().label("children")).group_by(edges.c.parent)
