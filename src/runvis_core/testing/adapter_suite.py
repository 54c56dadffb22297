"""What every adapter must hold, over pairs of what an engine said and what that means.

```python
class TestMyEngine(AdapterSuite):
    engine = "my_engine"
    fixtures = Path("tests/fixtures/my_engine")

    def translate(self, raw: Any, deployment: str) -> list[EventBase]: ...
```

A pair is `NAME.raw.json`, as the engine gave it, beside `NAME.canonical.json`, the events in their order. To write the
canonical side anew after a wanted change, call `TestMyEngine().write_canonical()` and read the difference.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from runvis_core.model.encoding import event_fields, read_item, seal, wire_item
from runvis_core.model.event import EventBase
from runvis_core.model.fold import fold_entries
from runvis_core.model.run import Record
from runvis_core.testing.factories import recorded

DEPLOYMENT = "test"


class AdapterSuite:
    """Subclass it with the engine's word, the folder of its pairs and its translation."""

    engine: ClassVar[str]
    fixtures: ClassVar[Path]

    def translate(self, raw: Any, deployment: str) -> list[EventBase]:
        """Return the events that a raw fixture means, in the order in which the adapter would record them."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test that asks for a `raw` once for each pair."""
        if "raw" in metafunc.fixturenames:
            files = sorted(self.fixtures.glob("*.raw.json"))
            names = [file.name.removesuffix(".raw.json") for file in files]
            metafunc.parametrize("raw", files, ids=names)

    def test_there_are_pairs(self) -> None:
        """A suite over an empty folder would hold whatever the adapter does."""
        assert list(self.fixtures.glob("*.raw.json"))

    def test_what_the_engine_said_means_what_the_pair_says(self, raw: Path) -> None:
        """The canonical side of a pair is exactly what the translation gives."""
        assert _as_json(self._events(raw)) == orjson.loads(_canonical(raw).read_bytes())

    def test_ids_are_the_same_whoever_translates(self, raw: Path) -> None:
        """A second translation of the same report gives the same facts."""
        assert [event.event_id for event in self._events(raw)] == [event.event_id for event in self._events(raw)]

    def test_each_fact_of_a_report_is_one(self, raw: Path) -> None:
        """No two events of one report share an id."""
        ids = [event.event_id for event in self._events(raw)]
        assert len(ids) == len(set(ids))

    def test_another_deployment_has_other_runs(self, raw: Path) -> None:
        """Two installations of the engine with the same native ids never meet."""
        ours = {run for event in self._events(raw) if (run := getattr(event, "run_id", None))}
        theirs = {run for event in self._events(raw, "other") if (run := getattr(event, "run_id", None))}
        assert not ours & theirs

    def test_every_event_is_the_engines_and_survives_the_wire(self, raw: Path) -> None:
        """What the store's door reads is what the translation said."""
        for event in self._events(raw):
            assert (event.engine, event.deployment) == (self.engine, DEPLOYMENT)
            sealed = seal(event)
            assert read_item(orjson.loads(wire_item(sealed))).data == sealed.data

    def test_the_order_of_arrival_does_not_change_how_a_run_ended(self, raw: Path) -> None:
        """Each run comes out with the same identity, times and effective state, however its events arrive."""
        events = self._events(raw)
        forward = _records(events)
        shuffled = random.Random(7).sample(events, len(events))  # noqa: S311 - an order, not a secret
        for other in (_records(events[::-1]), _records(shuffled)):
            assert {key: _essence(record) for key, record in other.items()} == {
                key: _essence(record) for key, record in forward.items()
            }

    def write_canonical(self) -> None:
        """Write the canonical side of every pair anew."""
        for raw in self.fixtures.glob("*.raw.json"):
            text = orjson.dumps(_as_json(self._events(raw)), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
            _canonical(raw).write_bytes(text + b"\n")

    def _events(self, raw: Path, deployment: str = DEPLOYMENT) -> list[EventBase]:
        return self.translate(orjson.loads(raw.read_bytes()), deployment)


def _canonical(raw: Path) -> Path:
    return raw.with_name(raw.name.replace(".raw.json", ".canonical.json"))


def _as_json(events: list[EventBase]) -> list[dict[str, Any]]:
    plain = [event_fields(event) | ({"content": event.content} if event.content else {}) for event in events]
    return orjson.loads(orjson.dumps(plain, default=str))


def _records(events: list[EventBase]) -> dict[str, Record]:
    runs: dict[str, list[EventBase]] = {}
    for event in events:
        if (run_id := getattr(event, "run_id", None)) is not None:
            runs.setdefault(str(run_id), []).append(event)
    return {run_id: fold_entries(None, recorded(events)) for run_id, events in runs.items()}


def _essence(record: Record) -> tuple[Any, ...]:
    run = record.run
    return (
        run.definition,
        run.native_id,
        run.attempt,
        run.effective_state,
        run.started_at,
        run.ended_at,
        {event.event.event_id for event in record.collections.values()},
    )
