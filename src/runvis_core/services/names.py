"""Which run a person means: by its id or the beginning of it, the engine's id, an alias, or a correction's id."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Select, bindparam, select

from runvis_core.errors import AmbiguousError, NotFoundError
from runvis_core.services.filters import Word, is_storable
from runvis_core.services.reading import RUN_ID, RUN_IDS, reading
from runvis_core.store.database import Store
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import aliases, corrections, runs
from runvis_core.store.types import Id

SHORTEST_ABBREVIATION: Final = 6
_SHOWN: Final = 5
_HEX: Final = re.compile(r"[0-9a-f]{1,32}")
_MAX_NAME: Final = 1000
MAX_BECAME: Final = 16
"""How many times a run is followed to what it became."""


class Within(BaseModel):
    """Among whose runs a name is looked for: two installations of an engine may call their runs alike."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Word | None = Field(default=None, description="Only this engine's runs.")
    deployment: Word | None = Field(default=None, description="Only those of this installation of an engine.")

    def __str__(self) -> str:
        return " ".join(filter(None, (self.engine, self.deployment)))


ANYWHERE: Final = Within()


def find_run_id(store: Store, name: str, within: Within) -> UUID:
    """Return the id of the run that `name` means to an engine or its deployment; see `resolve_run`."""
    with reading(store) as connection:
        return resolve_run(connection, name, within)


def resolve_run(connection: Connection, name: str, within: Within = ANYWHERE) -> UUID:
    """Return the id of the run that `name` means; a provisional run is followed to what it became.

    Raises `NotFoundError`, naming near ones, if there is none, and `AmbiguousError`, naming them, if there are several.
    """
    return _follow_became(connection, _find_one(connection, name, within))


def resolve_as_named(connection: Connection, name: str) -> UUID:
    """Return the id of the run that `name` means, as `resolve_run` does; a provisional run is meant itself."""
    return _find_one(connection, name, ANYWHERE).run_id


def _find_one(connection: Connection, name: str, within: Within) -> Any:
    if not name or len(name) > _MAX_NAME or not is_storable(name):
        raise NotFoundError("there is no run of that name: an id has 6 to 36 characters, a native id at most 1,000")
    for find in (_by_id, _by_native_id, _by_alias):
        found = find(connection, name, within)
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousError(
                f"{name!r} means several runs; give more of an id: {_named(found)}", near=_ids_of(found)
            )
    if within != ANYWHERE:
        elsewhere = find_runs_named(connection, name, abbreviated=True)[:_SHOWN]
        raise NotFoundError(f"there is no run {name!r} of {within}", near=[str(run_id) for run_id in elsewhere])
    near = _neighbours(connection, name)
    raise NotFoundError(_none_such(name, near), near=_ids_of(near))


def find_runs_named(connection: Connection, name: str, *, abbreviated: bool) -> list[UUID]:
    """Return the runs that have this id, native id or alias; several where an engine's ids are no ids.

    `abbreviated` takes the beginning of an id too.
    """
    is_id = abbreviated or len(name.replace("-", "")) == len(UUID(int=0).hex)
    for find in (*((_by_id,) if is_id else ()), _by_native_id, _by_alias):
        found = find(connection, name, ANYWHERE)
        if found:
            return list(dict.fromkeys(_follow_became(connection, row) for row in found))
    return []


_COLUMNS: Final = (
    runs.c.run_id,
    runs.c.engine,
    runs.c.deployment,
    runs.c.native_key,
    runs.c.native_id,
    runs.c.attempt,
    runs.c.first_position,
    runs.c.became_run_id,
)


# Built once each: to build such a statement takes longer than to run it.
_BOUNDS: Final = (bindparam("first", type_=Id()), bindparam("last", type_=Id()))
_OF_ID: Final = select(*_COLUMNS).where(runs.c.run_id.between(*_BOUNDS)).order_by(runs.c.run_id).limit(_SHOWN)
_CORRECTED: Final = select(corrections.c.run_id).where(corrections.c.correction_id.between(*_BOUNDS)).limit(_SHOWN)
_OF_CORRECTION: Final = select(*_COLUMNS).where(runs.c.run_id.in_(_CORRECTED)).limit(_SHOWN)
_OF_IDS: Final = select(*_COLUMNS).where(is_among(runs.c.run_id, RUN_IDS)).order_by(runs.c.run_id).limit(_SHOWN)
_OF_WHOLE_ID: Final = select(*_COLUMNS).where(runs.c.run_id == RUN_ID)


def _id_range(name: str) -> tuple[UUID, UUID] | None:
    digits = name.replace("-", "").lower()
    if not _HEX.fullmatch(digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def _by_id(connection: Connection, name: str, within: Within) -> list[Any]:
    return [row for row in _of_ids(connection, name) if _is_within(row, within)]


def _is_within(row: Any, within: Within) -> bool:
    return within.engine in (None, row.engine) and within.deployment in (None, row.deployment)


def _of_ids(connection: Connection, name: str) -> list[Any]:
    bounds = _id_range(name)
    if bounds is None or len(name.replace("-", "")) < SHORTEST_ABBREVIATION:
        return []
    if bounds[0] == bounds[1] and (whole := connection.execute(_OF_WHOLE_ID, {RUN_ID.key: bounds[0]}).one_or_none()):
        return [whole]
    between: dict[str, Any] = dict(zip(("first", "last"), bounds, strict=True))
    found = [*connection.execute(_OF_ID, between), *connection.execute(_OF_CORRECTION, between)]
    return list({row.run_id: row for row in found}.values())


def _by_native_id(connection: Connection, name: str, within: Within) -> list[Any]:
    query = select(*_COLUMNS).where(runs.c.native_id == name, runs.c.became_run_id.is_(None))
    return _named_by_engine(connection, query.with_hint(runs, "INDEXED BY runs_native_id", "sqlite"), within)


def _by_alias(connection: Connection, name: str, within: Within) -> list[Any]:
    query = select(*_COLUMNS).join(aliases, aliases.c.run_id == runs.c.run_id).where(aliases.c.native_id == name)
    return _named_by_engine(connection, query.with_hint(aliases, "INDEXED BY aliases_native_id", "sqlite"), within)


def _named_by_engine(connection: Connection, query: Select[*tuple[Any, ...]], within: Within) -> list[Any]:
    """Return the latest attempts that a query finds within; its hint keeps SQLite from all runs of a deployment."""
    if within.engine is not None:
        query = query.where(runs.c.engine == within.engine)
    if within.deployment is not None:
        query = query.where(runs.c.deployment == within.deployment)
    return _latest_attempts(connection.execute(query.order_by(runs.c.first_position.desc()).limit(100)))


def _latest_attempts(rows: Iterable[Any]) -> list[Any]:
    """Keep the latest of the attempts of one thing: an engine may call them all by one id."""
    latest: dict[Any, Any] = {}
    for row in rows:
        key = (row.engine, row.deployment, row.native_key) if row.native_key is not None else row.run_id
        known = latest.get(key)
        if known is None or (row.attempt or 0) > (known.attempt or 0):
            latest[key] = row
    return list(latest.values())[:_SHOWN]


def _follow_became(connection: Connection, row: Any) -> UUID:
    for _ in range(MAX_BECAME):
        if row.became_run_id is None:
            break
        became = connection.execute(_OF_WHOLE_ID, {RUN_ID.key: row.became_run_id}).one_or_none()
        if became is None:
            break
        row = became
    return row.run_id


def _ids_of(rows: Iterable[Any]) -> list[str]:
    return [str(row.run_id) for row in rows]


def _none_such(name: str, near: list[Any]) -> str:
    if near:
        return f"there is no run {name!r}; near it: {_named(near)}"
    return f"there is no run {name!r}; an id may be abbreviated to {SHORTEST_ABBREVIATION} characters, not to fewer"


def _neighbours(connection: Connection, name: str) -> list[Any]:
    """Return the runs beside this name in the order of ids that begin as it does, else in that of native ids."""
    bounds = _id_range(name)
    if bounds is not None:
        beside = [
            select(*_COLUMNS).where(runs.c.run_id <= bounds[0]).order_by(runs.c.run_id.desc()).limit(2),
            select(*_COLUMNS).where(runs.c.run_id >= bounds[0]).order_by(runs.c.run_id).limit(2),
        ]
        near = _all(connection, beside)
        found = [row for row in near if _share(str(row.run_id), name.lower()) >= 4]
        if bounds[0] == bounds[1]:
            found = found or [*connection.execute(_OF_IDS, {RUN_IDS.key: _mistyped(bounds[0].hex)})]
        if found:
            return found
    native_id = runs.c.native_id
    below = select(native_id).where(native_id < name).group_by(native_id).order_by(native_id.desc()).limit(2)
    above = select(native_id).where(native_id > name).group_by(native_id).order_by(native_id).limit(2)
    named = [
        row.native_id for row in _all(connection, [below, above]) if _share(row.native_id, name) >= min(3, len(name))
    ]
    query = select(*_COLUMNS).where(native_id.in_(named)).order_by(runs.c.first_position.desc())
    return _latest_attempts(connection.execute(query.limit(100)))


def _mistyped(digits: str) -> list[UUID]:
    """Return the ids that differ from these digits in one."""
    return [
        UUID(digits[:place] + digit + digits[place + 1 :])
        for place, right in enumerate(digits)
        for digit in "0123456789abcdef"
        if digit != right
    ]


def _all(connection: Connection, queries: Iterable[Any]) -> list[Any]:
    return [row for query in queries for row in connection.execute(query)]


def _share(one: str, other: str) -> int:
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _named(rows: Iterable[Any]) -> str:
    return ", ".join(f"{row.run_id} ({row.engine} {row.deployment} {row.native_id or '?'})" for row in rows)
