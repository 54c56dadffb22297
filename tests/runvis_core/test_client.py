from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runvis_core.client import Client, iterate
from runvis_core.errors import CursorError, NotFoundError, RunVisError, SettingsError, UnreachableError
from runvis_core.services.answers import Page, RunSummary
from runvis_core.services.filters import RunFilter
from runvis_core.services.problems import PREFIX
from runvis_core.settings import load_settings


class Far(ThreadingHTTPServer):
    """A far end that answers what a test wants, and remembers what it was asked."""

    status = 200
    body = b'{"items": [], "next_cursor": null}'
    token: str | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Far

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        refused = self.server.token and self.headers["Authorization"] != f"Bearer {self.server.token}"
        body = b'{"detail": "no"}' if refused else self.server.body
        self.send_response(401 if refused else self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def far() -> Iterator[Far]:
    with Far() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def ask(far: Far, **settings: Any) -> None:
    with Client(load_settings(url=far.url, **settings)) as client:
        client.list_runs(RunFilter(), limit=1)


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (404, "not-found", NotFoundError),
        (400, "cursor", CursorError),
        (503, "store-unreachable", UnreachableError),
        (500, "bug", UnreachableError),
        (401, "unauthorized", SettingsError),
        (403, "forbidden", SettingsError),
        (400, "invalid-request", RunVisError),
        (418, "of-tomorrow", RunVisError),
    ],
)
def test_a_problem_becomes_the_error_that_a_store_would_raise(
    far: Far, status: int, kind: str, error: type[RunVisError]
) -> None:
    far.status, far.body = status, b'{"type": "%s%s", "detail": "this is why"}' % (PREFIX.encode(), kind.encode())
    with pytest.raises(error, match="this is why") as caught:
        ask(far)
    assert type(caught.value) is error


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"7", b'{"detail": {}}', b"\xff"])
def test_an_error_page_of_something_in_between_is_no_riddle(far: Far, body: bytes) -> None:
    far.status, far.body = 502, body
    with pytest.raises(UnreachableError, match="answered 502"):
        ask(far)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"items": [{}]}', b"\xff"])
def test_an_answer_that_is_none_of_a_runvis_server_is_said(far: Far, body: bytes) -> None:
    far.body = body
    with pytest.raises(RunVisError, match="is RUNVIS_URL right"):
        ask(far)


def test_fields_of_a_newer_server_are_ignored(far: Far) -> None:
    far.body = b'{"items": [], "next_cursor": null, "of_tomorrow": {"a": 1}}'
    ask(far)


def test_a_token_file_is_read_again_when_the_token_is_refused(far: Far, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    far.token = "old"
    with Client(load_settings(url=far.url, token_file=file)) as client:
        client.list_runs(RunFilter(), limit=1)
        far.token = "new"
        file.write_text("new\n")
        client.list_runs(RunFilter(), limit=1)
        far.token = "another"
        with pytest.raises(SettingsError, match="RUNVIS_TOKEN"):
            client.list_runs(RunFilter(), limit=1)


def test_a_name_is_one_part_of_the_path_whatever_is_in_it(far: Far) -> None:
    far.status = 404
    with Client(load_settings(url=far.url)) as client:
        for name in ("a/b", "../../health/live", "?x=1", "a b#c", "ü"):
            with pytest.raises(RunVisError):
                client.get_run(name)
    assert [path.count("/") for path in far.asked] == [4] * 5
    assert not any(set("?# ") & set(path) for path in far.asked)


def test_asking_a_server_needs_no_store() -> None:
    import subprocess
    import sys

    code = (
        "import sys, runvis_core.client, runvis_core.cli.app\n"
        "heavy = {'sqlalchemy', 'alembic', 'fastapi', 'uvicorn', 'psycopg'} & sys.modules.keys()\n"
        "sys.exit(f'loaded: {heavy}' if heavy else None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_an_address_alone_makes_a_client_that_iterates_all_pages(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNVIS_TOKEN", "a-token-of-some-length")
    far.token = "a-token-of-some-length"
    cursors: list[str | None] = []

    def read(cursor: str | None) -> Page[RunSummary]:
        cursors.append(cursor)
        page = client.list_runs(RunFilter(engine="airflow"), limit=2, cursor=cursor)
        return page.model_copy(update={"next_cursor": {None: "a", "a": "b"}.get(cursor)})

    with Client(far.url) as client:
        assert list(iterate(read)) == []
    assert cursors == [None, "a", "b"]
    assert far.asked[-1] == "/api/v1/runs?engine=airflow&limit=2&cursor=b"


def test_what_was_perhaps_meant_is_told(far: Far) -> None:
    far.status = 404
    far.body = b'{"type": "%snot-found", "detail": "no such run", "near": ["one", "other"]}' % PREFIX.encode()
    with Client(far.url) as client, pytest.raises(NotFoundError) as caught:
        client.get_run("on")
    assert caught.value.near == ["one", "other"]


def test_checkpoints_are_paged_by_their_number(far: Far) -> None:
    far.body = b'{"items": [], "next_before": null}'
    with Client(far.url) as client:
        client.list_checkpoints(limit=3, before=7)
    assert far.asked == ["/api/v1/checkpoints?limit=3&before=7"]
