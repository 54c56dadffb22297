"""The versions of a definition that the runs of a grid ran: what each is called, and which steps it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, cast
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Connection, select

from runvis_core.services.reading import chunks, find_bodies_at
from runvis_core.store.tables import definition_versions


class Versions:
    """The versions that some runs ran, as far as conditions let them be known."""

    def __init__(
        self, connection: Connection, shown: Sequence[Any], are_known: Sequence[ColumnElement[bool]] = ()
    ) -> None:
        self._rows: dict[UUID, Any] = {}
        for chunk in chunks(list({run.definition_version_id for run in shown if run.definition_version_id})):
            query = select(definition_versions).where(
                definition_versions.c.definition_version_id.in_(chunk), *are_known
            )
            self._rows.update((row.definition_version_id, row) for row in connection.execute(query))
        refs = {
            row.position: bytes.fromhex(said["structure"]["digest"])
            for row in self._rows.values()
            if "structure" in (said := orjson.loads(row.bodies))
        }
        structures = find_bodies_at(connection, refs)
        self._steps = {version_id: _steps_of(structures.get(row.position)) for version_id, row in self._rows.items()}

    def name_of(self, version_id: UUID | None) -> str | None:
        """Return what a version is called: by the engine, else by the beginning of its hash."""
        row = self._rows.get(version_id) if version_id else None
        return (row.native_version or row.version[:12]) if row is not None else None

    def steps_of_all(self, shown: Sequence[Any]) -> list[str]:
        """Return the steps of all versions, each once."""
        names = (self.steps_of(version_id) for version_id in {run.definition_version_id: None for run in shown})
        return list(dict.fromkeys(chain.from_iterable(names)))

    def steps_of(self, version_id: UUID | None) -> Mapping[str, None]:
        """Return the steps in their order, as keys: each cell of a grid asks whether its step is among them."""
        return self._steps.get(version_id, {}) if version_id else {}


def find_schedule(connection: Connection, definition: Any, are_known: Sequence[ColumnElement[bool]] = ()) -> str | None:
    """Return the schedule of a definition's newest version, as far as conditions let it be known."""
    version = definition_versions.c
    query = select(version.schedule).where(
        version.definition == definition.definition,
        version.engine == definition.engine,
        version.deployment == definition.deployment,
        version.definition_kind == definition.definition_kind,
        *are_known,
    )
    return connection.scalar(query.order_by(version.position.desc()).limit(1))


def _steps_of(structure: Any) -> dict[str, None]:
    tasks = cast("dict[str, Any]", structure).get("tasks") if isinstance(structure, dict) else None
    return dict.fromkeys(str(task.get("id")) for task in cast("list[dict[str, Any]]", tasks or []))
