"""A run's record as rows, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import orjson

from runvis_core.model.encoding import encode
from runvis_core.model.fold import FOLD_VERSION
from runvis_core.model.run import Correction, LateFact, Presumption, Record, Run, Testimony
from runvis_core.model.state import State, Verdict, Witness
from runvis_core.store import tables as t
from runvis_core.store.driver import Row, Values
from runvis_core.store.types import Id, Moment

RUN_FIELDS: Final = tuple(field.name for field in fields(Run))
RUN_COLUMNS: Final = ("first_position", "sort_at", "record", "fold_version", *RUN_FIELDS)
"""The order of a new run's row."""
READ_COLUMNS: Final = ("record", *RUN_FIELDS)
"""The order in which the append path reads a run's row."""

_STATES: Final = {state.value: state for state in State}
_VERDICTS: Final = {verdict.value: verdict for verdict in Verdict}
_WITNESSES: Final = {witness.value: witness for witness in Witness}
_ENUMS: Final[dict[str, dict[str, Any]]] = {
    "state": _STATES,
    "effective_state": _STATES,
    "presumed": _VERDICTS,
}

run_values: Final[Callable[[Run], tuple[Any, ...]]] = attrgetter(*RUN_FIELDS)
"""Returns a run's fields in the order of `RUN_FIELDS`."""


class RunRows:
    """Turns runs into rows of one kind of database, and back."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self._binders = [self._binder(name) for name in RUN_FIELDS]
        self._readers = [
            (index, reader) for index, name in enumerate(RUN_FIELDS) if (reader := self._reader(name)) is not None
        ]

    def _binder(self, name: str) -> Callable[[Any], Any] | None:
        kind = t.runs.c[name].type
        if isinstance(kind, Id):
            return self.values.bind_id
        if isinstance(kind, Moment):
            return self.values.bind_moment
        return _word if name in _ENUMS else None

    def _reader(self, name: str) -> Callable[[Any], Any] | None:
        kind = t.runs.c[name].type
        if isinstance(kind, Id):
            return self.values.read_id
        if isinstance(kind, Moment):
            return self.values.read_moment
        if name == "clock_suspect":
            return bool
        return _ENUMS[name].__getitem__ if name in _ENUMS else None

    def new_row(self, record: Record, first_position: int, first_occurred_at: datetime) -> Row:
        """Return the row of a run that had none."""
        bound = [
            value if value is None or bind is None else bind(value)
            for bind, value in zip(self._binders, run_values(record.run), strict=True)
        ]
        sort_at = self.values.bind_moment(first_occurred_at)
        return (first_position, sort_at, record_json(record), FOLD_VERSION, *bound)

    def changes(self, before: tuple[Any, ...], record: Record, record_text: str | None) -> tuple[tuple[str, ...], Row]:
        """Return which columns of a run changed, and their values."""
        names: list[str] = []
        bound: list[Any] = []
        for name, bind, old, new in zip(RUN_FIELDS, self._binders, before, run_values(record.run), strict=True):
            if old is not new and old != new:
                names.append(name)
                bound.append(new if new is None or bind is None else bind(new))
        text = record_json(record) if record_text is not None else None
        if text is not None and text != record_text:
            names.append("record")
            bound.append(text)
        return tuple(names), tuple(bound)

    def read(self, row: Row) -> tuple[Record, str]:
        """Return the record that a row says, without what lies in tables of its own, and its JSON."""
        text, *read = row
        for index, reader in self._readers:
            value = read[index]
            if value is not None:
                read[index] = reader(value)
        said = orjson.loads(text)
        ranks = {name: tuple(rank) for name, rank in said.get("ranks", {}).items()}
        record = Record(Run(*read), context=said["context"], ranks=ranks)
        if presumed := said.get("presumption"):
            record.presumption = _read_presumption(presumed)
        return record, text

    def testimony_row(self, run_id: UUID, word: Testimony) -> Row:
        """Return the row of a testimony, in the order of the table."""
        values = self.values
        return (
            values.bind_id(run_id),
            word.position,
            values.bind_id(word.event_id),
            word.witness.value,
            word.state.value,
            word.native_state,
            values.bind_moment(word.occurred_at),
        )

    def correction_row(self, correction: Correction) -> Row:
        """Return the row of a correction, in the order of the table."""
        run_id, *word = self.testimony_row(correction.corrects, correction.testimony)
        return (self.values.bind_id(correction.correction_id), run_id, *word)

    def read_testimony(self, row: Row) -> tuple[UUID, Testimony]:
        """Return the testimony that a row says, and whose it is."""
        run_id, position, event_id, witness, state, native_state, occurred_at = row
        read_id, read_moment = self.values.read_id, self.values.read_moment
        word = Testimony(
            _WITNESSES[witness], _STATES[state], native_state, read_moment(occurred_at), position, read_id(event_id)
        )
        return read_id(run_id), word

    def read_correction(self, row: Row) -> Correction:
        """Return the correction that a row says."""
        correction_id, *said = row
        run_id, word = self.read_testimony(tuple(said))
        return Correction(self.values.read_id(correction_id), run_id, word)


@cache
def run_rows(values: Values) -> RunRows:
    """Return what turns runs into rows for a driver: looking up the columns' types takes longer than most appends."""
    return RunRows(values)


def _word(value: Any) -> str:
    return value.value


def record_json(record: Record) -> str:
    """Return what the column `record` holds: before the end all that the fold needs to go on, then the context.

    What came after the end is left out: it lies in `run_late`, whether or not one batch brought it with the end.
    """
    if record.is_frozen:
        late = {fact.field for fact in record.late}
        return encode({"context": {section: _kept(section, keys, late) for section, keys in record.context.items()
                                   if section not in late and _kept(section, keys, late)}}).decode()  # fmt: skip
    said: dict[str, Any] = {"context": {section: keys for section, keys in record.context.items() if keys}}
    if record.ranks:
        said["ranks"] = record.ranks
    if record.presumption is not None:
        presumption = record.presumption
        said["presumption"] = {
            "verdict": presumption.verdict,
            "state": presumption.state,
            "reason": presumption.reason,
            "occurred_at": presumption.occurred_at,
            "position": presumption.position,
            "event_id": presumption.event_id,
        }
    return encode(said).decode()


def _kept(section: str, keys: dict[str, Any], late: set[str]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if f"{section}.{key}" not in late} if late else keys


def _read_presumption(said: dict[str, Any]) -> Presumption:
    return Presumption(
        _VERDICTS[said["verdict"]],
        _STATES[said["state"]] if said["state"] else None,
        said["reason"],
        datetime.fromisoformat(said["occurred_at"]),
        said["position"],
        UUID(said["event_id"]),
    )


def late_rows(late: Iterable[LateFact]) -> list[tuple[int, str]]:
    """Return position and JSON of what came late: one row per entry that brought something."""
    by_position: dict[int, dict[str, Any]] = {}
    for fact in late:
        by_position.setdefault(fact.position, {})[fact.field] = fact.value
    return [(position, encode(facts).decode()) for position, facts in by_position.items()]


def add_late(record: Record, facts: str) -> None:
    """Put what came late back into a record's context. Columns of the run hold theirs already."""
    for name, value in orjson.loads(facts).items():
        if name in _RUN_FIELD_SET:
            continue
        section, dot, key = name.partition(".")
        if dot:
            record.context.setdefault(section, {})[key] = value
        else:
            record.context[section] = value


_RUN_FIELD_SET: Final = frozenset(RUN_FIELDS)
