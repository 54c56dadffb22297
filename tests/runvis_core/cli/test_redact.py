from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]


def test_what_the_rules_make_of_json_is_shown_with_its_places(runvis: Run, tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({"host": "db", "password": "hunter22", "env": [{"name": "TOKEN", "value": "abcdefgh"}]}))
    shown = runvis("redact", "test", str(file))
    assert shown.exit_code == 0, shown.output
    assert "hunter22" not in shown.output
    assert "abcdefgh" not in shown.output
    assert json.loads(shown.stdout)["host"] == "db"
    assert shown.stderr.splitlines() == ["redacted: password", "redacted: env[0].value"]


def test_what_the_rules_make_of_a_text_is_shown_with_its_lines(
    runvis: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "task.log"
    file.write_text(
        "it began\nconnect(password='two words')\nbadge-number: 12345678\n"
        "the password is wrong\nthe password is hunter22\n"
    )
    monkeypatch.setenv("RUNVIS__EMIT__SECRET_KEYS", '["badge_number"]')
    said = json.loads(runvis("redact", "test", str(file), "-o", "json").stdout)
    assert said["redacted"] == (
        "it began\nconnect(password='[redacted]')\nbadge-number: [redacted]\n"
        "the password is wrong\nthe password is [redacted]\n"
    )
    assert said["places"] == ["line 2", "line 3", "line 5"]


def test_a_file_without_secrets_is_told_to_have_none(runvis: Run, tmp_path: Path) -> None:
    file = tmp_path / "plain.txt"
    file.write_text("nothing here")
    assert "nothing was redacted" in runvis("redact", "test", str(file)).stderr
    assert runvis("redact", "test", str(tmp_path / "gone")).exit_code == 2
