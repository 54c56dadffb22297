"""`runvis demo`, with the engines of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.waiting import until

DEMO = [sys.executable, "-c", "from runvis_core.cli import main; main()", "demo"]


def environment() -> dict[str, str]:
    return os.environ | {
        "RUNVIS_DEMO_AIRFLOW_PYTHON": os.environ["RUNVIS_TEST_AIRFLOW_PYTHON"],
        "RUNVIS_DEMO_PREFECT_PYTHON": os.environ["RUNVIS_TEST_PREFECT_PYTHON"],
    }


def left_behind(folder: Path) -> list[str]:
    """The commands of all processes that were started with this demo's folder in their environment."""
    return [
        (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        for process in Path("/proc").glob("[0-9]*")
        if bytes(folder) in _environ(process)
    ]


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""  # it ended, or is not ours


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "demo"
    assert left_behind(tmp_path / "demo") == []


def tell(folder: Path) -> str:
    """Run the demo over a folder, and return what it printed."""
    done = subprocess.run(
        [*DEMO, "--folder", folder], env=environment(), capture_output=True, text=True, timeout=590, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(1200)
def test_both_engines_are_in_one_history_and_nothing_is_left_behind(folder: Path) -> None:
    said = tell(folder)
    for told in (
        "up_for_retry",
        "AwaitingRetry",
        "skipped",
        "upstream_failed",
        "orders.price",
        "forecast.predict",
        "dataset",
        "⇒ started invoice",
        "⇒ started forecast",
        "⇒ started restock",
        "↻ restock → forecast → restock",
        "2 turns, the last at",
        "s3://shop/forecast",
        f"The store is {folder}/runvis.db",
    ):
        assert told in said
    store = b"".join(file.read_bytes() for file in folder.glob("runvis.db*"))
    assert b"hunter2" not in store

    # It works a second time, over what the first time left; what it tells then is that time's.
    assert left_behind(folder) == []
    again = tell(folder)
    assert "↻ restock → forecast → restock" in again
    assert f"The store is {folder}/runvis.db" in again


@pytest.mark.timeout(600)
def test_a_demo_that_is_ended_early_ends_what_it_started(folder: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--folder", folder], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as demo:
        try:
            until("the scheduler's start", (folder / "airflow/component-logs/scheduler.log").exists, seconds=120)
            assert left_behind(folder)
            demo.send_signal(signal.SIGTERM)
            assert demo.wait(timeout=180) != 0
        finally:
            demo.kill()


def test_without_an_engines_environment_it_says_what_to_do(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RUNVIS")}
    done = subprocess.run([*DEMO], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "RUNVIS_DEMO_AIRFLOW_PYTHON is not set" in done.stderr
    assert "make demo" in done.stderr
    assert list(tmp_path.iterdir()) == []
