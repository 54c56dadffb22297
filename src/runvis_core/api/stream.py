"""`/stream`: the log as it grows, as server-sent events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from runvis_core.api.log_tail import Choice, LogTail, Place
from runvis_core.api.problems import ProblemError
from runvis_core.api.state import state_of
from runvis_core.api.watch import Over
from runvis_core.errors import UnreachableError
from runvis_core.model.event import EVENT_KINDS
from runvis_core.services.filters import Word
from runvis_core.services.names import Within, find_run_id
from runvis_core.services.problems import INVALID
from runvis_core.store.database import Store

router = APIRouter()

HEARTBEAT_SECONDS: Final = 15.0
RETRY_MILLISECONDS: Final = 2000
MAX_POSITION: Final = 2**63 - 1
LAST_EVENT_ID: Final = "Last-Event-ID"


def _known_kind(kind: str) -> str:
    if kind not in EVENT_KINDS:
        raise PydanticCustomError("kind", "there is no such kind; there are {allowed}", {"allowed": [*EVENT_KINDS]})
    return kind


KindWord = Annotated[str, AfterValidator(_known_kind)]


class StreamQuery(BaseModel):
    """Which entries to be told of, and from where on."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(
        default=None, ge=0, le=MAX_POSITION, description="Entries after this position; without it those that come."
    )
    engine: Word | None = Field(default=None, description="Only this engine's facts.")
    deployment: Word | None = Field(default=None, description="Only those of this installation of an engine.")
    kind: list[KindWord] = Field(default_factory=list[str], description="Only these kinds of facts: state, failure, …")
    run: Word | None = Field(default=None, description="Only facts about this run, named as for `runs/{name}`.")

    async def choose(self, store: Store) -> Choice:
        """Return what that chooses of the log. Raises `NotFoundError` for a run that there is not."""
        run = None
        if self.run is not None:
            within = Within(engine=self.engine, deployment=self.deployment)
            run = str(await run_in_threadpool(find_run_id, store, self.run, within))
        return Choice(self.engine, self.deployment, frozenset(self.kind), run)


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events, one per entry."}},
)
async def get_stream(
    request: Request,
    query: Annotated[StreamQuery, Query()],
    last_event_id: Annotated[
        str | None, Header(description="The position after which to go on; an EventSource sends it by itself.")
    ] = None,
) -> StreamingResponse:
    """Tell of entries as they are recorded, until the caller or the server ends it, or the caller's token or session.

    Each event is named `entry`, has the entry's position as its id and the entry as JSON; comments in between say that
    the stream lives. Who comes back with `Last-Event-ID` misses nothing.
    """
    tail: LogTail = request.app.state.tail
    choice = await query.choose(state_of(request).store)
    parameter = "after" if last_event_id is None else LAST_EVENT_ID
    after = query.after if last_event_id is None else _position(last_event_id)
    if after is None:
        after = await tail.find_head()
    else:
        await _check_place(tail, after, parameter)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    follow = request.app.state.watch.follow(request.state.still_may)
    return StreamingResponse(_events(tail, choice, after, follow), media_type="text/event-stream", headers=headers)


def _position(last_event_id: str) -> int:
    if not last_event_id.isascii() or not last_event_id.isdigit() or int(last_event_id) > MAX_POSITION:
        raise ProblemError(
            400,
            INVALID,
            f"{LAST_EVENT_ID}: it is no position of the log; send the id of the last event as it came, or leave it out",
            parameter=LAST_EVENT_ID,
        )
    return int(last_event_id)


async def _check_place(tail: LogTail, after: int, parameter: str) -> None:
    try:
        head = await tail.find_head()
    except UnreachableError:
        # Who comes back is let in, and comes back again: a browser that is refused never does.
        return
    if after > head:
        detail = f"{parameter}: the log ends at position {head}; begin there or before"
        raise ProblemError(400, INVALID, detail, parameter=parameter, allowed={"ge": 0, "le": head})


async def _events(
    tail: LogTail, choice: Choice, after: int, follow: AbstractContextManager[Over]
) -> AsyncIterator[bytes]:
    """Yield what a client reads. A slow one holds nothing here but its place: what it has not read is in the log."""
    yield b"retry: %d\n\n" % RETRY_MILLISECONDS
    said_at = time.monotonic()
    place = Place(after, has_more=True)
    with follow as over:
        while not tail.stopping.is_set() and not over.done():
            if place.has_more:
                try:
                    page = await tail.read(place.after)
                except UnreachableError:
                    # The client comes back, and goes on from here.
                    return
                frames = page.frames_of(choice)
                place = Place(page.after, has_more=False)
                if frames:
                    yield frames
                    said_at = time.monotonic()
            silent_for = time.monotonic() - said_at
            if silent_for >= HEARTBEAT_SECONDS:
                # With the place, so that nothing that was not wanted is looked through again.
                yield b": alive\nid: %d\n\n" % place.after
                said_at, silent_for = time.monotonic(), 0.0
            place = await tail.wait(place.after, choice, HEARTBEAT_SECONDS - silent_for, over)
