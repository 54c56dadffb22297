"""The command line over a store, and over a server of the same store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from runvis_core.model.event import EventBase
from runvis_core.store.database import Store
from runvis_core.testing.ledger import ORIGIN
from runvis_core.testing.story import a_story

Run = Callable[..., Result]
TOKEN = "a-token-of-some-length"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's user counts: no variable, no runvis.toml, no store of their own."""
    for name in [name for name in os.environ if name.startswith("RUNVIS")]:
        monkeypatch.delenv(name)
    for kind in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    # Who runs the tests may have a terminal, and its width.
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def told(store: Store, record: Callable[[Store, Iterable[EventBase]], None]) -> str:
    """The address of a store that holds the story."""
    record(store, a_story())
    return store.engine.url.render_as_string(hide_password=False)


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AbstractContextManager[str]]:
    """A function that runs a server over the store at an address, and gives the server's own."""
    monkeypatch.setenv("RUNVIS_TOKEN", TOKEN)

    @contextmanager
    def serve(url: str) -> Iterator[str]:
        arguments = [sys.executable, "-m", "runvis_core.cli", "serve", "--port", "0", "--url", url]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                line = server.stdout.readline()
                assert line.startswith("RunVis serves at "), server.communicate(timeout=20)
                yield line.split()[-1]
            finally:
                server.terminate()
                _, said = server.communicate(timeout=20)
            assert server.returncode == 0, said

    return serve


@pytest.fixture(params=["store", "server"])
def address(request: pytest.FixtureRequest, told: str) -> Iterator[str]:
    """The address of the story: the store's own, and that of a server over it."""
    if request.param == "store":
        yield told
        return
    with request.getfixturevalue("serving")(told) as server:
        yield server


@pytest.fixture
def runvis() -> Run:
    """A function that runs a command in this process."""
    from runvis_core.cli.app import app

    runner = CliRunner()

    def run(*arguments: str, url: str | None = None) -> Result:
        return runner.invoke(app, [*arguments, *(["--url", url] if url else [])])

    return run


@pytest.fixture
def key(runvis: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The verifier key of a key that this machine signs with."""
    file = tmp_path / "ledger.key"
    made = runvis("keys", "new", ORIGIN, "--file", str(file))
    assert made.exit_code == 0, made.output
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("RUNVIS__LEDGER__KEY_FILE", str(file))
    return made.stdout.strip()
