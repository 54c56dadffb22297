from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from uuid import uuid4

from click.testing import Result

from runvis_core.model.event import EventBase, ProducerClosedEvent, ProducerOpenedEvent
from runvis_core.services.completeness_answers import Completeness
from runvis_core.store.database import Store
from runvis_core.testing.factories import make

Run = Callable[..., Result]
Record = Callable[[Store, Iterable[EventBase]], None]


def test_the_account_is_shown_alike_from_a_store_and_a_server(runvis: Run, address: str) -> None:
    options = ("--since", "2026-11-01", "--until", "2027-01-01")
    for by in ("deployment", "definition", "producer"):
        shown = runvis("completeness", "--by", by, *options, url=address)
        assert shown.exit_code == 0, shown.output
        assert "nothing is known to be missing" in shown.stdout
    asked = runvis("completeness", "--by", "definition", *options, "-o", "json", url=address)
    found = Completeness.model_validate_json(asked.stdout)
    assert {row.definition: (row.runs, row.open, row.whole) for row in found.items} == {
        "etl": (1, 1, 0),
        "etl.load": (2, 1, 1),
        "child": (1, 1, 0),
    }
    narrowed = runvis("completeness", "--definition", "etl", *options, "-o", "jsonl", url=address)
    assert [row["definition"] for row in json.loads(narrowed.stdout)["items"]] == ["etl"]


def test_a_gap_is_named_and_ends_the_command_with_1(
    runvis: Run, sqlite_store: Store, sqlite_url: str, record: Record
) -> None:
    producer, now = uuid4(), datetime.now(UTC)
    opened = make(ProducerOpenedEvent, producer=producer, sequence=0, component="task", host="h1", occurred_at=now)
    record(sqlite_store, [opened, make(ProducerClosedEvent, producer=producer, sequence=4, occurred_at=now)])
    for by in ("deployment", "producer"):
        shown = runvis("completeness", "--by", by, "--until", "2999-01-01", "--since", "1h", url=sqlite_url)
        assert shown.exit_code == 1, shown.output
        assert f"gap: 1 to 3 of producer {producer}" in shown.stdout
        assert "not whole" in shown.stdout
    doctor = runvis("doctor", "-o", "json", url=sqlite_url)
    (check,) = [check for check in json.loads(doctor.stdout)["items"] if check["name"] == "completeness"]
    assert check["outcome"] == "problem"


def test_an_empty_store_has_an_empty_account(runvis: Run, sqlite_store: Store, sqlite_url: str) -> None:
    shown = runvis("completeness", url=sqlite_url)
    assert shown.exit_code == 0
    assert "nothing was recorded" in shown.stderr
