from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.main import get_command

from runvis_core.cli.app import app

Run = Callable[..., Result]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runvis_core.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["runs", "list", "--state", "Broken"],
        ["runs", "list", "--since", "yesterday"],
        ["runs", "list", "--since", "2026-11-24T08:00:00"],
        ["runs", "list", "--since", "999999w"],
        ["runs", "list", "--limit", "0"],
        ["runs", "list", "-o", "xml"],
        ["runs", "list", "--engine", ""],
        ["runs", "list", "--url", "nonsense"],
        ["runs", "list", "--url", "mysql://host/db"],
        ["runs", "list", "--url", "sqlite:///no/such/folder/runvis.db"],
        ["runs", "list", "--url", "http://host:port"],
        ["serve", "--follow", "airflow"],
        ["serve", "--follow", "nothing=http://localhost:1"],
        ["serve", "--url", "http://localhost:1"],
        ["serve", "--host", "0.0.0.0"],
        ["serve", "--port", "70000"],
        ["db", "upgrade", "--url", "http://localhost:1"],
        ["follow", "nothing", "http://localhost:1"],
        ["spool", "drain", "--url", "ftp://nowhere"],
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_why(runvis: Run, arguments: list[str]) -> None:
    result = runvis(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr


def test_a_server_that_is_not_there_exits_with_4(runvis: Run, closed_port: int) -> None:
    for command in (["runs", "list"], ["runs", "show", "x"], ["runs", "tail"], ["definitions", "list"]):
        result = runvis(*command, url=f"http://127.0.0.1:{closed_port}")
        assert result.exit_code == 4, result.output
        assert "can't be reached" in result.stderr


def test_a_database_that_is_not_there_exits_with_4(runvis: Run, closed_port: int) -> None:
    result = runvis("runs", "list", url=f"postgresql://nobody:hidden-word@127.0.0.1:{closed_port}/runvis")
    assert result.exit_code == 4, result.output
    assert "hidden-word" not in result.output


def test_what_is_no_runvis_server_is_said(runvis: Run) -> None:
    with _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}") as url:
        result = runvis("runs", "list", url=url)
    assert result.exit_code == 1
    assert "is RUNVIS_URL right" in result.stderr


def test_the_process_itself_exits_with_the_status(sqlite_url: str) -> None:
    upgraded = run("db", "upgrade", "--url", sqlite_url)
    assert upgraded.returncode == 0, upgraded.stderr
    missing = run("runs", "show", "nothing", "--url", sqlite_url)
    assert missing.returncode == 3
    assert missing.stderr.startswith("runvis: there is no run 'nothing'")
    assert missing.stdout == ""
    assert run("runs", "list", "--state", "x", "--url", sqlite_url).returncode == 2
    assert run("--version").stdout.startswith("runvis ")


def test_asking_makes_no_store(runvis: Run, tmp_path: Path) -> None:
    result = runvis("runs", "list", url=f"sqlite:///{tmp_path / 'new.db'}")
    assert result.exit_code == 2
    assert "there is no store at" in result.stderr
    assert runvis("runs", "list").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_store_of_who_names_none_lies_in_their_data_folder(runvis: Run, tmp_path: Path) -> None:
    assert runvis("db", "upgrade").exit_code == 0
    assert (tmp_path / "data" / "runvis" / "runvis.db").is_file()
    assert runvis("runs", "list").exit_code == 0


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, one in (below or {}).items():
        yield from _commands(one, (*path, name))


@pytest.mark.parametrize(("path", "command"), list(_commands(get_command(app))), ids=lambda value: str(value)[:40])
def test_the_help_of_each_command_teaches_by_example(path: tuple[str, ...], command: object) -> None:
    said = getattr(command, "help", None) or ""
    examples = said.partition("Examples:")[2]
    assert path[-1] in examples, f"no example in the help of {' '.join(path)}"


def _answering(reply: bytes) -> object:
    import threading
    from contextlib import contextmanager

    @contextmanager
    def serve() -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(reply)

            thread = threading.Thread(target=answer)
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            thread.join(10)

    return serve()
