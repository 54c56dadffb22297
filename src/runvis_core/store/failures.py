"""The first line of each failure and its words, so that an error is found by its text: a step beside the log.

The lines come from bodies: whoever erases a failure's message must `forget_failures` of its run too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Connection, delete, select, tuple_

from runvis_core.model.decision import ERASURE, Erased
from runvis_core.store import tables as t
from runvis_core.store.log import StoredEntry
from runvis_core.store.step_rows import find_foreign_rows, find_position, name_differences, walk_runs
from runvis_core.store.upsert import insert_once

MESSAGE: Final = "message"
"""The body of a failure that its first line is taken from."""
LINE_LENGTH: Final = 300
"""Characters of a failure's first line that are kept."""
MAX_WORDS: Final = 40
"""How many words of a line it is found by."""
MAX_WORD: Final = 40
_WORD: Final = re.compile(r"\w+")
_CHUNK: Final = 200


def first_line(message: str) -> str:
    """Return the first line of a message that says anything, cut to `LINE_LENGTH`."""
    line = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return line.replace("\0", "\ufffd")[:LINE_LENGTH]


def find_words(text: str) -> list[str]:
    """Return the words of a text by which it is found, each once."""
    words = (found[0].casefold()[:MAX_WORD] for found in _WORD.finditer(text))
    return list(dict.fromkeys(words))[:MAX_WORDS]


Told = tuple[StoredEntry, dict[str, Any]]
"""An entry that tells of a failure, and its event."""


class Failures:
    """Keeps `failures` and `failure_words`. The first failure that a run had told of it gives the line."""

    name = "failures"

    def take(self, connection: Connection, entries: Sequence[StoredEntry]) -> None:
        """Note the failures among these entries, and forget those whose messages a decision among them erased."""
        told: list[Told] = []
        for entry in entries:
            if entry.kind == "failure":
                told.append((entry, orjson.loads(entry.entry)["event"]))
            elif entry.kind == "decision" and entry.run_id is not None and _erases_a_message(entry):
                # In the log's order: what is told after it stays.
                _note_all(connection, told)
                told = []
                forget_failures(connection, [entry.run_id])
        _note_all(connection, told)

    def check(self, connection: Connection) -> Iterator[str]:
        """Yield each row that the log does not support, and each that is lacking, up to where the step is."""
        until = find_position(connection, self.name)
        for runs in walk_runs(connection, until=until):
            told, unknown = _find_told(connection, [run.run_id for run in runs], until=until)
            begun = {run.run_id: run.sort_at for run in runs if run.run_id not in unknown}
            lines, words = _find_rows(told, _find_messages(connection, told), begun)
            for table, expected in ((t.failures, lines), (t.failure_words, words)):
                standing = connection.execute(select(table).where(table.c.run_id.in_(begun)))
                rows = [tuple(row[column.name] for column in table.columns) for row in expected]
                yield from name_differences(table, standing, rows)
        for table in (t.failures, t.failure_words):
            yield from find_foreign_rows(connection, table)


def forget_failures(connection: Connection, run_ids: Sequence[UUID]) -> None:
    """Remove what is kept of these runs' failures."""
    for table in (t.failure_words, t.failures):
        connection.execute(delete(table).where(table.c.run_id.in_(run_ids)))


def _find_told(connection: Connection, run_ids: Sequence[UUID], *, until: int) -> tuple[list[Told], set[UUID]]:
    """Return what entries up to a position tell of failures of these runs and no decision up to there erased.

    The second part are the runs of which a later decision erased a message: what was told of them nobody knows any
    more.
    """
    columns = t.entries.c
    query = select(t.entries).where(columns.run_id.in_(run_ids), columns.kind.in_(("failure", "decision")))
    told: dict[UUID | None, list[Told]] = defaultdict(list)
    unknown: set[UUID] = set()
    for row in connection.execute(query.order_by(columns.position)):
        entry = StoredEntry(*row)
        if entry.kind == "failure":
            if entry.position <= until:
                told[entry.run_id].append((entry, orjson.loads(entry.entry)["event"]))
        elif entry.run_id is not None and _erases_a_message(entry):
            if entry.position <= until:
                told.pop(entry.run_id, None)
            else:
                unknown.add(entry.run_id)
    return [one for of_run in told.values() for one in of_run], unknown


def _erases_a_message(entry: StoredEntry) -> bool:
    event = orjson.loads(entry.entry)["event"]
    if event["decision"] != ERASURE:
        return False
    return any(body.name == MESSAGE for body in Erased.model_validate(event["details"]).bodies)


def _note_all(connection: Connection, told: list[Told]) -> None:
    for start in range(0, len(told), _CHUNK):
        _note(connection, told[start : start + _CHUNK])


def _note(connection: Connection, told: list[Told]) -> None:
    begun = _find_begun(connection, {entry.run_id for entry, _ in told if entry.run_id is not None})
    lines, words = _find_rows(told, _find_messages(connection, told), begun)
    if lines:
        connection.execute(insert_once(connection, t.failures), lines)
    if words:
        connection.execute(insert_once(connection, t.failure_words), words)


def _find_rows(
    told: Iterable[Told], messages: Mapping[int, str], begun: Mapping[UUID, datetime]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of `failures` and `failure_words` that follow."""
    lines: dict[UUID, dict[str, Any]] = {}
    words: list[dict[str, Any]] = []
    for entry, event in told:
        run_id = entry.run_id
        if run_id is None or run_id not in begun:
            continue
        error_type = str(event.get("error_type") or "").replace("\0", "\ufffd")
        line = first_line(messages.get(entry.position, ""))
        row = {"run_id": run_id, "sort_at": begun[run_id], "error_type": error_type or None, "line": line}
        lines.setdefault(run_id, row)
        words += [
            {"word": word, "sort_at": begun[run_id], "run_id": run_id} for word in find_words(f"{error_type} {line}")
        ]
    return list(lines.values()), words


def _find_messages(connection: Connection, told: Iterable[Told]) -> dict[int, str]:
    wanted = list(_digests(told))
    messages: dict[int, str] = {}
    for start in range(0, len(wanted), _CHUNK):
        place = tuple_(t.bodies.c.position, t.bodies.c.digest)
        query = select(t.bodies.c.position, t.bodies.c.content).where(place.in_(wanted[start : start + _CHUNK]))
        for row in connection.execute(query):
            said = orjson.loads(row.content)
            messages[row.position] = said if isinstance(said, str) else orjson.dumps(said).decode()
    return messages


def _digests(told: Iterable[Told]) -> Iterator[tuple[int, bytes]]:
    for entry, event in told:
        refs: dict[str, dict[str, Any]] = event.get("bodies") or {}
        ref = refs.get(MESSAGE)
        if ref is not None:
            yield entry.position, bytes.fromhex(ref["digest"])


def _find_begun(connection: Connection, run_ids: Iterable[UUID]) -> dict[UUID, datetime]:
    query = select(t.runs.c.run_id, t.runs.c.sort_at).where(t.runs.c.run_id.in_(list(run_ids)))
    return {row.run_id: row.sort_at for row in connection.execute(query)}
