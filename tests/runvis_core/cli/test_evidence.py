from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from runvis_core.services.correction_answers import CorrectionSummary
from runvis_core.testing.story import LOAD_1

Run = Callable[..., Result]


def test_a_pack_is_written_and_its_size_said(runvis: Run, told: str, tmp_path: Path) -> None:
    output = tmp_path / "pack"
    options = ["--definition", "etl", "--from", "2026-11-24", "--to", "2026-11-25", "--output", str(output)]
    result = runvis("evidence", *options, url=told)
    assert result.exit_code == 0, result.output
    assert "3 runs in" in result.stdout
    assert (output / "README.md").read_text().startswith("# Evidence of the runs of etl")
    assert runvis("evidence", *options, url=told).exit_code == 2, "it is there already"


def test_evidence_of_nothing_exits_with_3(runvis: Run, told: str, tmp_path: Path) -> None:
    result = runvis("evidence", "--definition", "x", "--from", "7d", "--output", str(tmp_path / "x.zip"), url=told)
    assert result.exit_code == 3
    assert not (tmp_path / "x.zip").exists()


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
