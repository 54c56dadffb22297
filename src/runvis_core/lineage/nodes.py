"""Nodes as they are kept: each has a number, in the order in which the log told of them first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Connection, func, select

from runvis_core.lineage.facts import Node
from runvis_core.store import tables as t
from runvis_core.store.bulk import Bulk, single
from runvis_core.store.statements import COLUMNS

_CHUNK: Final = 400

T = TypeVar("T")


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield the items in parts that a database takes as parameters of one statement."""
    rest = iter(items)
    while part := list(islice(rest, _CHUNK)):
        yield part


def node_of(row: Any) -> Node:
    """Return the node that a row of `lineage_nodes` says."""
    return Node(row.kind, row.name, row.engine, row.deployment, row.definition_kind, row.namespace)


def find_nodes(connection: Connection, numbers: Iterable[int]) -> dict[int, Node]:
    """Return nodes by their numbers."""
    found: dict[int, Node] = {}
    for chunk in chunks(numbers):
        query = select(t.lineage_nodes).where(t.lineage_nodes.c.number.in_(chunk))
        found.update((row.number, node_of(row)) for row in connection.execute(query))
    return found


class ToldNodes:
    """The nodes that a portion of entries tells of, and at which position each is told first."""

    def __init__(self) -> None:
        self._found: dict[UUID, tuple[int, Node]] = {}

    def note(self, position: int, node: Node) -> None:
        """Take note of a node; of those told at one position, the first counts."""
        node_id = node.node_id
        known = self._found.get(node_id)
        if known is None or position < known[0]:
            self._found[node_id] = (position, node)

    def keep(self, connection: Connection) -> dict[UUID, int]:
        """Return the numbers of all of them by id; those that are new are added."""
        bulk = Bulk(connection)
        numbers: dict[UUID, int] = dict(
            bulk.find(t.lineage_nodes, ("node_id", "number"), ("node_id",), single(self._found))
        )
        new = [(position, node_id, node) for node_id, (position, node) in self._found.items() if node_id not in numbers]
        if new:
            last = connection.execute(select(func.max(t.lineage_nodes.c.number))).scalar_one() or 0
            rows: list[dict[str, Any]] = []
            ordered = sorted(new, key=lambda one: (one[0], one[1].hex))
            for number, (position, node_id, node) in enumerate(ordered, last + 1):
                numbers[node_id] = number
                rows.append({"number": number, "node_id": node_id, "position": position, **node._asdict()})
            bulk.insert(t.lineage_nodes, ([row[name] for name in _NAMES] for row in rows))
        return numbers


_NAMES: Final = COLUMNS[t.lineage_nodes.name]
