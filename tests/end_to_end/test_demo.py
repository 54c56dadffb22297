"""`runvis demo`, with the engines of the tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path

import httpx
import pytest
from tests.end_to_end.waiting import until
from tests.runvis_core.web.conftest import running

from runvis_core.settings import load_settings
from runvis_core.store.database import open_store

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


def look_at(folder: Path) -> None:
    """Go from the overview to why the DAG failed, what differed from when it went well, and the loop."""
    with (
        closing(open_store(f"sqlite:///{folder}/runvis.db")) as store,
        running(store, load_settings(url="sqlite:///unused")) as address,
        httpx.Client(base_url=address, headers={"Accept": "text/html"}, timeout=60, trust_env=False) as pages,
    ):
        reason = "ValueError</bdi></strong>: its page says more."
        overview = read(pages, "/")
        assert "1 definition failing" in overview
        assert "ValueError: order 4 was never paid" in overview
        failed = follow(pages, re.search(r'href="(/runs/[^"]+)"><bdi>returns<', overview))
        assert "returns.pay_back</bdi></a><bdi>, ValueError: order 4 was never paid" in failed
        assert reason in failed
        compared = follow(pages, re.search(r'href="([^"]+)">What differs from the last that went well', failed))
        both = '<td data-label="Left"><bdi>3</bdi></td><td data-label="Right"><bdi>4</bdi></td>'
        assert f"<bdi>conf.order</bdi></th>{both}" in compared
        assert compared.count("in <bdi>notify</bdi>") == 1  # it did not run, and nobody told more of it
        loops = read(pages, "/graph")
        loop = follow(pages, re.search(r'<a class="go" href="([^"]+)"><bdi>restock<', loops))
        for said in ("Loop, 3 nodes", "restock · airflow", "forecast · prefect", "feeds the next run"):
            assert said in loop


def follow(pages: httpx.Client, link: re.Match[str] | None) -> str:
    assert link is not None, "no such link"
    return read(pages, unescape(link[1]))


def read(pages: httpx.Client, path: str) -> str:
    answer = pages.get(path)
    assert answer.status_code == 200, path
    return answer.text


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
        "They part at: conf.order",
        "s3://shop/forecast",
        f"The store is {folder}/runvis.db",
    ):
        assert told in said
    store = b"".join(file.read_bytes() for file in folder.glob("runvis.db*"))
    assert b"hunter2" not in store

    look_at(folder)

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
