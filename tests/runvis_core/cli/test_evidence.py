from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from runvis_core.errors import StoreError
from runvis_core.services.checkpoints import make_checkpoint
from runvis_core.services.correction_answers import CorrectionSummary
from runvis_core.services.decisions import local_principal
from runvis_core.settings import load_settings
from runvis_core.store.database import open_store
from runvis_core.testing.ledger import ORIGIN
from runvis_core.testing.story import ETL, LOAD_1

Run = Callable[..., Result]


OPTIONS = ("--definition", "etl", "--from", "2026-11-24", "--to", "2026-11-25", "--output")


def test_a_pack_is_written_alike_from_a_store_and_a_server(
    runvis: Run, told: str, address: str, tmp_path: Path
) -> None:
    folder, zipped, beside = tmp_path / "pack", tmp_path / "pack.zip", tmp_path / "beside.zip"
    for output in (folder, zipped):
        result = runvis("evidence", *OPTIONS, str(output), url=address)
        assert result.exit_code == 0, result.output
        assert "3 runs in" in result.stdout
    assert (folder / "README.md").read_text().startswith("# Evidence of the runs of etl")
    assert runvis("evidence", *OPTIONS, str(folder), url=address).exit_code == 2, "it is there already"
    assert runvis("evidence", *OPTIONS, str(beside), url=told).exit_code == 0
    assert zipped.read_bytes() == beside.read_bytes()


def test_evidence_of_nothing_exits_with_3(runvis: Run, address: str, tmp_path: Path) -> None:
    result = runvis("evidence", "--definition", "x", "--from", "7d", "--output", str(tmp_path / "x.zip"), url=address)
    assert result.exit_code == 3
    assert not (tmp_path / "x.zip").exists()
    empty = runvis("evidence", "--definition", "", "--from", "7d", "--output", str(tmp_path / "x.zip"), url=address)
    assert empty.exit_code == 2


def test_what_is_taken_out_is_told_by_the_audit_trail(
    runvis: Run, told: str, address: str, key: str, tmp_path: Path
) -> None:
    assert runvis("checkpoint", url=told).exit_code == 0
    assert runvis("prove", "etl/r1", url=address).exit_code == 0
    assert runvis("evidence", *OPTIONS, str(tmp_path / "pack.zip"), url=address).exit_code == 0
    exported = runvis("runs", "list", "--state", "Failed", "--all", "-o", "jsonl", url=address)
    assert exported.exit_code == 0, exported.output
    assert len(exported.stdout.splitlines()) == len(
        json.loads(runvis("runs", "list", "--state", "Failed", "-o", "json", url=address).stdout)["items"]
    )
    items = json.loads(runvis("audit", "list", "-o", "json", url=told).stdout)["items"]
    said = [(item["name"], item["subject"]) for item in reversed(items)]
    form = " as application/x-ndjson" if address.startswith("http") else ""
    assert said == [
        ("checkpoint", ORIGIN),
        ("export", f"proof of run {ETL}"),
        ("export", "evidence of etl"),
        ("export", f"runs{form}"),
    ]
    assert items[0]["details"] == {"state": ["Failed"]}
    who = {item["principal"] for item in items[:-1]}
    assert who == {"token" if address.startswith("http") else local_principal()}
    # What the trail gained is signed like all else, and a checkpoint that nobody ordered adds nothing to it.
    settings = load_settings(url=told)
    with closing(open_store(told)) as store:
        for _ in range(3):
            make_checkpoint(store, settings)
        assert store.log.head().position == items[0]["position"]
    assert runvis("verify", "--key", key, url=told).exit_code == 0


def test_an_export_that_can_t_be_told_of_is_made_and_says_so(
    runvis: Run, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the store failed: permission denied for table entries")

    monkeypatch.setattr("runvis_core.services.decisions.record_access", refuse)
    exported = runvis("runs", "list", "--all", "-o", "csv", url=told)
    assert exported.exit_code == 0, exported.output
    assert len(exported.stdout.splitlines()) > 4
    assert "the audit trail does not tell of this: the store failed" in exported.stderr


def test_corrections_are_listed_alike_from_a_store_and_a_server(runvis: Run, address: str) -> None:
    shown = runvis("corrections", "list", url=address)
    assert shown.exit_code == 0, shown.output
    for words in (str(LOAD_1)[:8], "Failed", "Succeeded success", "follower"):
        assert words in shown.stdout
    asked = runvis("corrections", "list", "--definition", "etl.load", "-o", "json", url=address)
    (item,) = json.loads(asked.stdout)["items"]
    assert CorrectionSummary.model_validate(item).corrects == LOAD_1
    none = runvis("corrections", "list", "--engine", "prefect", url=address)
    assert (none.exit_code, none.stdout) == (0, "")


def test_a_runs_page_says_who_decided(runvis: Run, address: str) -> None:
    shown = " ".join(runvis("runs", "show", str(LOAD_1), url=address).stdout.split())
    assert "latest_testimony: those who told how it ended disagree" in shown
    assert "record whole" in shown
