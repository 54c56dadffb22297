"""What can run: definitions, their versions and their recent runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Connection, and_, func, select, tuple_

from runvis_core.errors import AmbiguousError, NotFoundError
from runvis_core.services.answers import DefinitionDetail, DefinitionSummary, DefinitionVersion, Page, RunRef
from runvis_core.services.cursors import read_cursor, read_name, write_cursor
from runvis_core.services.filters import DefinitionFilter, is_storable
from runvis_core.services.reading import find_entries, reading
from runvis_core.services.run_refs import REF_COLUMNS, find_refs, run_refs
from runvis_core.services.starts import find_started, find_starts, is_server_only
from runvis_core.services.witnesses import count_entries
from runvis_core.store.database import Store
from runvis_core.store.id_lists import are_among
from runvis_core.store.tables import bodies, definition_versions, definitions, runs

MAX_VERSIONS: Final = 200
RECENT_RUNS: Final = 20
_LIST: Final = "definitions"
_KEY: Final = (
    definitions.c.engine,
    definitions.c.deployment,
    definitions.c.definition,
    definitions.c.definition_kind,
)
_VERSION_KEY: Final = (
    definition_versions.c.engine,
    definition_versions.c.deployment,
    definition_versions.c.definition,
    definition_versions.c.definition_kind,
)


def list_definitions(
    store: Store, filters: DefinitionFilter, *, limit: int, cursor: str | None = None
) -> Page[DefinitionSummary]:
    """Return the definitions in the order of engine, deployment, name and kind, and the cursor of the next page.

    Raises `CursorError` for a cursor of another list.
    """
    with reading(store) as connection:
        query = select(*_KEY).order_by(*_KEY).limit(limit + 1)
        query = query.where(*_are_asked(filters))
        if cursor is not None:
            place = read_cursor(cursor, of=_LIST, filters=filters, kinds=(read_name,) * len(_KEY))
            query = query.where(tuple_(*_KEY) > tuple_(*place))
        rows = connection.execute(query).all()
        items = _summaries(connection, rows[:limit])
    more = len(rows) > limit
    return Page(
        items=items, next_cursor=write_cursor(list(rows[limit - 1]), of=_LIST, filters=filters) if more else None
    )


def get_definition(store: Store, name: str, filters: DefinitionFilter) -> DefinitionDetail:
    """Return a definition with its versions and its recent runs.

    Raises `NotFoundError` if there is none of that name, or if there are several and the filters don't tell which.
    """
    with reading(store) as connection:
        row = find_definition(connection, name, filters)
        (summary,) = _summaries(connection, [row])
        of_definition = and_(*(column == value for column, value in zip(_VERSION_KEY, row, strict=True)))
        query = select(definition_versions).where(of_definition).order_by(definition_versions.c.position.desc())
        found = connection.execute(query.limit(MAX_VERSIONS)).all()
        versions = _versions(connection, found)
        if versions:
            versions[0] = _with_bodies(connection, found[0], versions[0])
        recent = select(*REF_COLUMNS).where(*_runs_of(row)).order_by(runs.c.sort_at.desc(), runs.c.run_id.desc())
        refs = run_refs(connection.execute(recent.limit(RECENT_RUNS)))
        if not refs and versions and (parent := versions[0].parent_definition) is not None:
            of_parent = (runs.c.engine == row.engine, runs.c.deployment == row.deployment, runs.c.definition == parent)
            refs = find_started(connection, of_parent, row.definition, RECENT_RUNS)
        told_by = count_entries(connection, [ref.run_id for ref in refs]).values()
        witnesses = sorted({name for _, names in told_by for name in names})
        return DefinitionDetail(
            **dict(summary),
            versions=versions,
            cut_versions=max(0, summary.version_count - MAX_VERSIONS),
            witnesses=witnesses,
            server_only=is_server_only(witnesses),
            starts=find_starts(connection, _runs_of(row)),
            recent_runs=refs,
        )


def find_version(connection: Connection, version_id: UUID | None) -> DefinitionVersion | None:
    """Return the version of the definition that a run ran, with its structure; None if nobody recorded it."""
    if version_id is None:
        return None
    query = select(definition_versions).where(definition_versions.c.definition_version_id == version_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    (version,) = _versions(connection, [row])
    return _with_bodies(connection, row, version)


def find_versions_between(
    connection: Connection, row: Any, since: datetime, until: datetime
) -> list[DefinitionVersion]:
    """Return the versions of a definition that first appeared in a range of time, the earliest first."""
    of_definition = and_(*(column == value for column, value in zip(_VERSION_KEY, row, strict=True)))
    occurred_at = definition_versions.c.occurred_at
    query = select(definition_versions).where(of_definition, occurred_at >= since, occurred_at < until)
    found = connection.execute(query.order_by(definition_versions.c.position).limit(MAX_VERSIONS)).all()
    return _versions(connection, found)


def find_versions_until(
    connection: Connection, row: Any, *, position: int, moment: datetime | None
) -> list[DefinitionVersion]:
    """Return the versions of a definition that the log told of up to a position, and that there were by a moment.

    The newest first, at most `MAX_VERSIONS`.
    """
    of_definition = and_(*(column == value for column, value in zip(_VERSION_KEY, row, strict=True)))
    query = select(definition_versions).where(of_definition, definition_versions.c.position <= position)
    if moment is not None:
        query = query.where(definition_versions.c.occurred_at <= moment)
    found = connection.execute(query.order_by(definition_versions.c.position.desc()).limit(MAX_VERSIONS)).all()
    return _versions(connection, found)


def find_definition(connection: Connection, name: str, filters: DefinitionFilter) -> Any:
    """Return engine, deployment, name and kind of the definition of this name.

    Raises `NotFoundError` if there is none of that name, or if there are several and the filters don't tell which.
    """
    if not is_storable(name):
        raise NotFoundError("there is no definition of that name: no store can hold it")
    query = select(*_KEY).where(definitions.c.definition == name, *_are_asked(filters))
    rows = connection.execute(query.limit(10)).all()
    if len(rows) == 1:
        return rows[0]
    if rows:
        named = ", ".join(f"{row.engine} {row.deployment} ({row.definition_kind})" for row in rows)
        raise AmbiguousError(
            f"the name {name!r} is that of several definitions; say which engine, deployment and kind: {named}"
        )
    near = _find_near(connection, name)
    said = f"near it: {', '.join(near)}" if near else "`runvis definitions list` names all"
    raise NotFoundError(f"there is no definition {name!r}; {said}", near=near)


def _are_asked(filters: DefinitionFilter) -> list[ColumnElement[bool]]:
    asked = {
        definitions.c.engine: filters.engine,
        definitions.c.deployment: filters.deployment,
        definitions.c.definition_kind: filters.kind,
    }
    return [column == value for column, value in asked.items() if value is not None]


def _find_near(connection: Connection, name: str) -> list[str]:
    begins = name[: max(3, len(name) // 2)]
    query = (
        select(definitions.c.definition)
        .where(definitions.c.definition.startswith(begins, autoescape=True))
        .distinct()
        .order_by(definitions.c.definition)
        .limit(5)
    )
    return list(connection.scalars(query))


def _runs_of(row: Any) -> tuple[Any, ...]:
    return (
        runs.c.engine == row.engine,
        runs.c.deployment == row.deployment,
        runs.c.definition == row.definition,
        runs.c.definition_kind == row.definition_kind,
        runs.c.became_run_id.is_(None),
    )


def _summaries(connection: Connection, rows: Sequence[Any]) -> list[DefinitionSummary]:
    items: list[DefinitionSummary] = []
    latest = _latest_versions(connection, rows)
    last_runs = _last_runs(connection, rows)
    for row in rows:
        count, version = latest.get(tuple(row), (0, None))
        items.append(
            DefinitionSummary(
                engine=row.engine,
                deployment=row.deployment,
                definition=row.definition,
                kind=row.definition_kind,
                version_count=count,
                latest_version=version,
                last_run=last_runs.get(tuple(row)),
            )
        )
    return items


def _latest_versions(
    connection: Connection, rows: Sequence[Any]
) -> dict[tuple[Any, ...], tuple[int, DefinitionVersion]]:
    if not rows:
        return {}
    names = {row.definition for row in rows}
    query = (
        select(*_VERSION_KEY, func.count().label("versions"), func.max(definition_versions.c.position).label("latest"))
        .where(definition_versions.c.definition.in_(names))
        .group_by(*_VERSION_KEY)
    )
    counted = connection.execute(query).all()
    at = select(definition_versions).where(definition_versions.c.position.in_([row.latest for row in counted]))
    found = connection.execute(at).all()
    versions = {
        (row.engine, row.deployment, row.definition, row.definition_kind): version
        for row, version in zip(found, _versions(connection, found), strict=True)
    }
    found_of = {(row.engine, row.deployment, row.definition, row.definition_kind): row.versions for row in counted}
    return {key: (count, versions[key]) for key, count in found_of.items()}


def _last_runs(connection: Connection, rows: Sequence[Any]) -> dict[tuple[Any, ...], RunRef]:
    last = (
        select(runs.c.run_id)
        .where(
            runs.c.engine == definitions.c.engine,
            runs.c.deployment == definitions.c.deployment,
            runs.c.definition == definitions.c.definition,
            runs.c.definition_kind == definitions.c.definition_kind,
            runs.c.became_run_id.is_(None),
        )
        .order_by(runs.c.sort_at.desc(), runs.c.run_id.desc())
        .limit(1)
        .scalar_subquery()
    )
    if not rows:
        return {}
    query = select(*_KEY, last.label("run_id")).where(are_among(_KEY, rows))
    of_run = {row.run_id: tuple(row)[:4] for row in connection.execute(query) if row.run_id is not None}
    return {of_run[ref.run_id]: ref for ref in find_refs(connection, of_run)}


def _versions(connection: Connection, rows: Iterable[Any]) -> list[DefinitionVersion]:
    kept = list(rows)
    logged = find_entries(connection, [row.position for row in kept])
    return [
        DefinitionVersion(
            version_id=row.definition_version_id,
            version=row.version,
            native_version=row.native_version,
            code_version=row.code_version,
            schedule=row.schedule,
            owner=row.owner,
            tags=orjson.loads(row.tags),
            parent_definition=row.parent_definition,
            first_position=row.position,
            recorded_at=logged[row.position].recorded_at if row.position in logged else None,
        )
        for row in kept
    ]


def _with_bodies(connection: Connection, row: Any, version: DefinitionVersion) -> DefinitionVersion:
    refs = {name: bytes.fromhex(ref["digest"]) for name, ref in orjson.loads(row.bodies).items()}
    query = select(bodies.c.digest, bodies.c.content).where(bodies.c.position == row.position)
    found = {bytes(body.digest): orjson.loads(body.content) for body in connection.execute(query)}
    return version.model_copy(
        update={name: found[refs[name]] for name in ("structure", "docs") if refs.get(name) in found}
    )
