"""Which node of the lineage a person means: by its id, a definition's name, or a dataset's address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import SequenceMatcher
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, select

from runvis_core.emit.current import dataset_name
from runvis_core.errors import AmbiguousError, NotFoundError
from runvis_core.lineage.facts import Node
from runvis_core.services.lineage_answers import LineageQuery
from runvis_core.store.tables import lineage_nodes

_SHOWN: Final = 5
_FEWEST: Final = 3
_LOOKED_THROUGH: Final = 100
_MAX_SPLITS: Final = 100


def resolve_node(connection: Connection, query: LineageQuery, has_node: ColumnElement[bool] | None = None) -> Any:
    """Return the row of the node that is meant; `has_node` says which nodes were there.

    Raises `NotFoundError`, naming near ones, if there is none, or naming them if there are several.
    """
    columns = lineage_nodes.c
    name = query.node
    known = select(lineage_nodes) if has_node is None else select(lineage_nodes).where(has_node)
    named = known.where(columns.name == name).order_by(columns.number)
    for column, wanted in ((columns.engine, query.engine), (columns.deployment, query.deployment)):
        named = named.where(column == wanted) if wanted is not None else named
    addressed = known.where(columns.node_id.in_(list(_possible_ids(name)))).order_by(columns.number)
    for statement in (addressed, named):
        found = connection.execute(statement.limit(_SHOWN + 1)).all()
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousError(
                f"{name!r} means several: {_listed(found)}; say which by engine and deployment, or by its id",
                near=_ids_of(found),
                labels=_labels_of(found),
            )
    near = _find_near(connection, known, name)
    hint = f"; there are {_listed(near)}" if near else ": give a definition's name or a dataset's address"
    raise NotFoundError(f"no lineage is known of {name!r}{hint}", near=_ids_of(near), labels=_labels_of(near))


def _find_near(connection: Connection, known: Select[Any], name: str) -> list[Any]:
    """Return the nodes whose names begin with what was given, or else with the first half of it: the likest first."""
    columns = lineage_nodes.c
    with suppress(ValueError):
        name = dataset_name(name)[1]
    for begins in (name, name[: max(_FEWEST, len(name) // 2)]):
        following = known.where(columns.name >= begins).order_by(columns.name, columns.number).limit(_LOOKED_THROUGH)
        near = [row for row in connection.execute(following) if row.name.startswith(begins)]
        if near:
            return sorted(near, key=lambda row: -SequenceMatcher(None, row.name, name).ratio())[:_SHOWN]
    return []


def _possible_ids(name: str) -> Iterator[UUID]:
    with suppress(ValueError):
        yield UUID(name)
    with suppress(ValueError):
        namespace, dataset = dataset_name(name)
        yield _dataset_id(namespace, dataset)
    # As nodes are printed: namespace and name with a slash between them, and either may have slashes of its own.
    places = [place for place, char in enumerate(name) if char == "/"]
    for place in places[-_MAX_SPLITS:]:
        yield _dataset_id(name[:place], name[place + 1 :])


def _dataset_id(namespace: str, name: str) -> UUID:
    return Node("dataset", name, namespace=namespace).node_id


def _ids_of(rows: Sequence[Any]) -> list[str]:
    return [str(row.node_id) for row in rows[:_SHOWN]]


def _labels_of(rows: Sequence[Any]) -> list[str]:
    return [f"{row.name} ({_home(row)})" for row in rows[:_SHOWN]]


def _listed(rows: Any) -> str:
    listed = [f"{row.name} ({_home(row)}, {row.node_id})" for row in rows]
    return ", ".join(listed[:_SHOWN]) + (", …" if len(listed) > _SHOWN else "")


def _home(row: Any) -> str:
    return f"{row.engine} {row.deployment}" if row.kind == "definition" else f"dataset in {row.namespace}"
