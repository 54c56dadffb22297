"""Faults, for real: stores, servers and processes to harm, and the table of what that did."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.scale import FINDINGS, IS_LARGE, as_table

from runvis_core.emit import circuit, notice
from runvis_core.settings import Settings


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was promised and what was found, if this is the large form."""
    if IS_LARGE:
        terminalreporter.section("what was promised, and what was found")
        for line in as_table(FINDINGS):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of this machine's user counts, and nobody waits long before the next try."""
    for name in [name for name in os.environ if name.startswith("RUNVIS_") and not name.startswith("RUNVIS_FAULTS")]:
        monkeypatch.delenv(name)
    for kind in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(circuit, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(circuit, "LONGEST_RETRY_SECONDS", 0.05)
    notice.forget_notices()
    yield
    notice.forget_notices()


@pytest.fixture(params=["sqlite_url", "postgresql_url"], ids=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The address of a store of each kind, empty, with the newest schema."""
    from runvis_core.store.database import open_store

    url: str = request.getfixturevalue(request.param)
    open_store(url).close()
    return url


@pytest.fixture
def spool_settings(tmp_path: Path) -> Settings:
    """Settings with a spool of the test's own and no store."""
    return Settings(deployment="prod", spool_dir=tmp_path / "spool")
