"""The log as it grows: each entry once, in order, from where the client was."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runvis_core.api import stream as stream_module
from runvis_core.api.log_tail import MAX_PAGES, PAGE_ENTRIES, READ_PAGES, Choice, LogTail, TailPage
from runvis_core.model.decision import Scope
from runvis_core.model.event import EventBase, MetricEvent
from runvis_core.services.answers import EntryView
from runvis_core.services.decision_answers import TokenRequest
from runvis_core.services.entries import RawEntry, list_entries
from runvis_core.services.ingest import ingest_events
from runvis_core.services.tokens import issue_token, revoke_token
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.story import LOAD_1, a_story

Record = Callable[[Store, Iterable[EventBase]], None]
PATIENCE = httpx.Timeout(120)


def metrics(first: int, number: int) -> list[EventBase]:
    return [make(MetricEvent, run_id=a_run_id(), name=f"m{first + n}", value=n) for n in range(number)]


def events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """Yield each event of a stream as its fields; a comment under the empty name."""
    fields: dict[str, Any] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif fields:
            yield fields
            fields = {}


def entries(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    return (json.loads(said["data"]) for said in events(answer) if said.get("event") == "entry")


def take(answer: httpx.Response, number: int) -> list[int]:
    found = entries(answer)
    return [next(found)["position"] for _ in range(number)]


def test_entries_come_as_they_are_recorded(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, metrics(0, 3))
    with client.stream("GET", "/api/v1/stream", timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        record(store, metrics(3, 2))
        assert take(answer, 2) == [4, 5]


def test_who_comes_back_misses_nothing(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, metrics(0, 250))
    with client.stream("GET", "/api/v1/stream", params={"after": 0}, timeout=PATIENCE) as answer:
        assert take(answer, 120) == list(range(1, 121))
    headers = {"Last-Event-ID": "120"}
    with client.stream("GET", "/api/v1/stream", params={"after": 7}, headers=headers, timeout=PATIENCE) as answer:
        record(store, metrics(250, 5))
        assert take(answer, 135) == list(range(121, 256))


@pytest.mark.parametrize("position", ["x", "-1", "1.5", "٣", "9" * 30])
def test_a_wrong_last_event_id_is_refused(client: httpx.Client, position: str) -> None:
    headers = {"Last-Event-ID": position.encode()}
    answer = client.get("/api/v1/stream", headers=headers)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "Last-Event-ID")


@pytest.mark.parametrize(
    ("query", "status", "parameter", "said"),
    [
        ("kind=stat", 400, "kind", "failure"),
        ("after=4", 400, "after", "position 3"),
        ("run=nobody", 404, None, "there is no run"),
    ],
)
def test_what_no_entry_can_be_is_refused(
    client: httpx.Client, store: Store, record: Record, query: str, status: int, parameter: str | None, said: str
) -> None:
    record(store, metrics(0, 3))
    answer = client.get(f"/api/v1/stream?{query}")
    assert (answer.status_code, answer.json().get("parameter")) == (status, parameter)
    assert said in answer.text
    ahead = client.get("/api/v1/stream", headers={"Last-Event-ID": "4"})
    assert (ahead.status_code, ahead.json()["parameter"]) == (400, "Last-Event-ID")


def test_a_stream_takes_a_run_by_any_of_its_names(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    told: list[list[int]] = []
    for name in (str(LOAD_1), str(LOAD_1)[:8]):
        asked = {"after": 0, "kind": "state", "run": name}
        with client.stream("GET", "/api/v1/stream", params=asked, timeout=PATIENCE) as answer:
            told.append(take(answer, 1))
    assert told[0] == told[1]


def test_a_stream_tells_only_what_is_asked_for(client: httpx.Client, store: Store, record: Record) -> None:
    record(store, a_story())
    asked: dict[str, Any] = {"after": 0, "kind": ["failure", "state"], "run": str(LOAD_1), "engine": "airflow"}
    expected = [
        entry.position
        for entry in list_entries(store, after=0, limit=100).items
        if entry.event.get("run_id") == str(LOAD_1) and entry.event["kind"] in ("failure", "state")
    ]
    with client.stream("GET", "/api/v1/stream", params=asked, timeout=PATIENCE) as answer:
        assert take(answer, len(expected)) == expected


def test_a_comment_says_that_the_stream_lives_and_where_it_is(
    client: httpx.Client, store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "HEARTBEAT_SECONDS", 0.05)
    record(store, metrics(0, 3))
    asked = {"after": 0, "kind": "state"}
    with client.stream("GET", "/api/v1/stream", params=asked, timeout=PATIENCE) as answer:
        alive = next(said for said in events(answer) if "" in said)
        assert (alive[""], alive["id"]) == ("alive", "3")


def test_a_stream_ends_when_its_token_is_revoked_also_while_it_tells_of_what_comes(
    serve: Callable[..., httpx.Client], store: Store, record: Record
) -> None:
    client = serve()
    request = TokenRequest(name="ann", scopes=frozenset({Scope.READ}))
    revoked, other = (issue_token(store, request, principal="test") for _ in range(2))
    record(store, metrics(0, 1))

    def follow(token: str, **asked: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return client.stream("GET", "/api/v1/stream", params={"after": 0} | asked, headers=headers, timeout=PATIENCE)

    with (
        follow(revoked.token) as busy,
        follow(revoked.token, kind="failure") as quiet,
        follow(other.token) as kept,
    ):
        of_busy = entries(busy)
        next(of_busy)
        revoke_token(store, revoked.token_id, principal="test")
        # To its proper end: a stream that is cut off in the middle of a chunk raises here.
        for number, _ in enumerate(of_busy, 1):
            assert number < 10_000
            record(store, metrics(number, 1))
        assert list(entries(quiet)) == []
        record(store, metrics(10_000, 1))
        head = list_entries(store, after=0, limit=100_000).items[-1].position
        assert head in (entry["position"] for entry in entries(kept))


def test_many_streams_each_get_every_entry(client: httpx.Client, store: Store, record: Record) -> None:
    got: list[list[int]] = []
    begun = threading.Barrier(9)

    def follow() -> None:
        with client.stream("GET", "/api/v1/stream", params={"after": 0}, timeout=PATIENCE) as answer:
            begun.wait(60)
            got.append(take(answer, 30))

    threads = [threading.Thread(target=follow) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    for first in range(0, 30, 10):
        record(store, metrics(first, 10))
    for thread in threads:
        thread.join(120)
    assert got == [list(range(1, 31))] * 8


def test_a_page_is_read_once_for_all_and_only_so_many_are_kept() -> None:
    reads: list[int] = []

    def read(after: int, limit: int) -> list[RawEntry]:
        reads.append(after)
        return [_entry(after + 1)] if after < 200 else []

    async def follow() -> None:
        tail = LogTail(read, lambda: 200, asyncio.Event())
        for after in range(100):
            pages = await asyncio.gather(*(tail.read(after) for _ in range(5)))
            assert [page.after for page in pages] == [after + 1] * 5
        assert reads == list(range(100))
        assert len(tail._pages) == MAX_PAGES
        # What is not there yet is no page to keep.
        assert (await tail.read(200)).items == []
        assert (await tail.read(200)).items == []
        assert reads[100:] == [200, 200]

    asyncio.run(follow())


def test_where_there_is_much_several_pages_are_read_together() -> None:
    log = [_entry(position) for position in range(1, 2 * READ_PAGES * PAGE_ENTRIES - 20)]
    reads: list[int] = []

    def read(after: int, limit: int) -> list[RawEntry]:
        reads.append(after)
        return log[after : after + limit]

    async def follow() -> None:
        tail = LogTail(read, lambda: len(log), asyncio.Event())
        found: list[RawEntry] = []
        while (page := await tail.read(len(found))).items:
            assert len(page.items) <= PAGE_ENTRIES
            found += (told.entry for told in page.items)
        assert found == log
        assert reads == [0, READ_PAGES * PAGE_ENTRIES, len(log)]

    asyncio.run(follow())


def test_a_stream_says_of_an_entry_what_the_log_says(client: httpx.Client, store: Store) -> None:
    ingest_events(store, a_story(), principal='who "quotes",{}')
    page = list_entries(store, after=0, limit=1000)
    with client.stream("GET", "/api/v1/stream", params={"after": 0}, timeout=PATIENCE) as answer:
        told = entries(answer)
        assert [EntryView.model_validate(next(told)) for _ in page.items] == page.items


def test_a_wait_ends_when_the_log_goes_on_or_the_server_stops() -> None:
    log: list[RawEntry] = [_entry(position) for position in range(1, 6)]

    async def wait() -> None:
        stopping = asyncio.Event()
        tail = LogTail(lambda after, limit: log[after : after + limit], lambda: len(log), stopping)
        assert await asyncio.wait_for(tail.wait(4, Choice(), 600), 60) == (4, True)
        waiting = asyncio.create_task(_wait_for_more(tail, 5, Choice()))
        await asyncio.sleep(0)
        log.append(_entry(6))
        assert await asyncio.wait_for(waiting, 60) == 5
        waiting = asyncio.create_task(tail.wait(6, Choice(), 600))
        await asyncio.sleep(0)
        stopping.set()
        await asyncio.wait_for(waiting, 60)

    asyncio.run(wait())


def _entry(position: int, run: uuid.UUID | None = None) -> RawEntry:
    return RawEntry(position, run.bytes if run else None, "note", b'{"event":{},"schema":1}', None, None)


async def _wait_for_more(tail: LogTail, after: int, choice: Choice) -> int:
    """Wait as a stream does; return up to where there was nothing, once there is something."""
    while True:
        after = (await tail.wait(after, choice, 600)).after
        page = await tail.read(after)
        if page.frames_of(choice):
            return after
        after = page.after


def test_who_is_not_concerned_is_left_asleep_and_need_not_look_through_what_came() -> None:
    ours, theirs = uuid.UUID(int=1), uuid.UUID(int=2)
    log: list[RawEntry] = []

    async def follow() -> None:
        tail = LogTail(lambda after, limit: log[after : after + limit], lambda: len(log), asyncio.Event())
        of_run = asyncio.create_task(_wait_for_more(tail, 0, Choice(run=str(ours))))
        after = 0
        for _ in range(3):
            of_all = asyncio.create_task(_wait_for_more(tail, after, Choice()))
            await asyncio.sleep(0)
            log.append(_entry(len(log) + 1, theirs))
            after = await asyncio.wait_for(of_all, 60) + 1
            assert not of_run.done()
        log.append(_entry(4, ours))
        assert await asyncio.wait_for(of_run, 60) == 3
        tail.stopping.set()

    asyncio.run(follow())


def test_streams_of_the_same_choice_share_what_is_written_for_them() -> None:
    run = uuid.UUID(int=1)
    page = TailPage([_entry(1, run), _entry(2)], after=0)
    assert page.frames_of(Choice(run=str(run))) == page.items[0].frame
    assert page.frames_of(Choice()) is page.frames_of(Choice())
    assert page.frames_of(Choice(run="other")) == page.frames_of(Choice(kinds=frozenset({"state"}))) == b""


def test_a_stream_goes_on_where_the_log_was_archived_meanwhile() -> None:
    async def follow() -> None:
        tail = LogTail(lambda after, limit: [], lambda: 9, asyncio.Event())
        assert await tail.wait(1, Choice(), 60) == (1, True)
        page = await tail.read(1)
        assert (page.items, page.after) == ([], 9)
        tail.stopping.set()

    asyncio.run(follow())


def test_an_open_stream_ends_when_the_server_is_ended(sqlite_store: Store, record: Record, tmp_path: Path) -> None:
    record(sqlite_store, metrics(0, 1))
    url = sqlite_store.engine.url.render_as_string(hide_password=False)
    arguments = [sys.executable, "-m", "runvis_core.cli", "serve", "--port", "0", "--url", url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            with (
                httpx.Client(base_url=address, timeout=PATIENCE) as client,
                client.stream("GET", "/api/v1/stream", params={"after": 0}) as answer,
            ):
                found = events(answer)
                assert next(said for said in found if "data" in said)["id"] == "1"
                server.send_signal(signal.SIGTERM)
                # To its proper end: a stream that is cut off in the middle of a chunk raises here.
                assert [said for said in found if "data" in said] == []
        finally:
            server.terminate()
            _, said = server.communicate(timeout=120)
    assert server.returncode == 0, said
    assert "Cancel" not in said
