"""What became of entries, told by comparing the leaves that the tree has with those that the entries have."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

MAX_DIFFERENCES: Final = 100_000
"""As many places are remembered to find out what became of each."""


class Differences:
    """Places at which the tree and the entries do not agree, collected one by one and then explained together."""

    def __init__(self) -> None:
        self._tree: dict[int, bytes] = {}
        self._entries: dict[int, bytes] = {}
        self.is_cut = False
        """Whether there were more than are remembered."""

    def __bool__(self) -> bool:
        return bool(self._tree or self._entries)

    def note(self, position: int, in_tree: bytes | None, in_log: bytes | None) -> None:
        """Remember a position with the leaf hash that the tree has there and the one that its entry has, if any."""
        if len(self._tree) + len(self._entries) >= MAX_DIFFERENCES:
            self.is_cut = True
            return
        if in_tree is not None:
            self._tree[position] = in_tree
        if in_log is not None:
            self._entries[position] = in_log

    def explain(self) -> Iterator[str]:
        """Yield what became of each entry: altered, removed, added or moved; a row of like ones in one line."""
        was_at = {leaf: position for position, leaf in self._tree.items()}
        found = set(self._entries.values())
        said: list[tuple[int, str, int]] = []
        for position in sorted({*self._tree, *self._entries}):
            in_tree, in_log = self._tree.get(position), self._entries.get(position)
            moved_from = was_at.get(in_log) if in_log is not None else None
            is_gone = in_tree is not None and in_tree not in found
            if moved_from is not None:
                said.append((position, "moved", position - moved_from))
                if is_gone:
                    said.append((position, "removed", 0))
            elif in_log is None:
                said.append((position, "removed" if is_gone else "missing here", 0))
            elif is_gone:
                said.append((position, "altered", 0))
            else:
                said.append((position, "added", 0))
        yield from _grouped(said)


_WORDS: Final = {
    "altered": "altered: the tree has another entry's hash at this place",
    "removed": "removed: the tree has the hash of an entry that the log does not hold",
    "added": "added: the tree does not have it",
    "missing here": "missing: the entry that the tree has here stands elsewhere",
}


def _grouped(said: list[tuple[int, str, int]]) -> Iterator[str]:
    said.sort(key=lambda one: (one[1], one[2], one[0]))
    lines: list[tuple[int, str]] = []
    for (what, shift), group in groupby(said, key=lambda one: (one[1], one[2])):
        positions = [position for position, _, _ in group]
        for first, last in _runs(positions):
            where = f"entry {first}" if first == last else f"entries {first} to {last}"
            from_ = f"{first - shift}" if first == last else f"{first - shift} to {last - shift}"
            words = f"moved: the tree has it at {from_}" if what == "moved" else _WORDS[what]
            lines.append((first, f"{where}: {words}"))
    yield from (line for _, line in sorted(lines))


def _runs(positions: list[int]) -> Iterator[tuple[int, int]]:
    first = last = positions[0]
    for position in positions[1:]:
        if position != last + 1:
            yield first, last
            first = position
        last = position
    yield first, last
