"""`/events`: the door for events, and the log as it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from runvis_core.api.batches import Batch, parse_batch, read_body
from runvis_core.api.committer import CrowdedError
from runvis_core.api.problems import ProblemError
from runvis_core.api.state import principal_of, state_of
from runvis_core.services.answers import BatchAnswer, EntryPage
from runvis_core.services.entries import list_entries, list_last_entries
from runvis_core.services.filters import DEFAULT_LIMIT, MAX_LIMIT
from runvis_core.services.ingest import record_heartbeats

router = APIRouter()

PAUSE_SECONDS: Final = 60
CROWDED_SECONDS: Final = 1

_BATCH_SCHEMA: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "items": {"type": "array", "maxItems": 1000, "items": {"type": "object"}},
                        "events": {"type": "array", "maxItems": 1000, "items": {"type": "object"}},
                        "heartbeats": {"type": "array", "maxItems": 1000, "items": {"type": "object"}},
                    },
                },
                "example": {
                    "events": [
                        {
                            "kind": "state",
                            "engine": "airflow",
                            "deployment": "prod",
                            "witness": "worker",
                            "run_id": "6f4c2a1e-0d43-5b7e-9a55-0c6a1b0f8f11",
                            "occurred_at": "2026-11-24T08:00:00Z",
                            "state": "Running",
                            "native_state": "running",
                        }
                    ]
                },
            }
        },
    },
    "responses": {
        "200": {
            "content": {
                "application/json": {
                    "example": {
                        "outcomes": [
                            {
                                "index": 0,
                                "status": "stored",
                                "event_id": "0b6d3c52-7a55-5c0e-8c06-5f6f3f1f2a77",
                                "position": 1,
                                "marks": [],
                            }
                        ],
                        "paused": False,
                    },
                }
            }
        }
    },
}


class EntryQuery(BaseModel):
    """Which part of the log to read."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="Entries after this position; without it the last ones."
    )
    limit: int = Field(default=DEFAULT_LIMIT, ge=0, le=MAX_LIMIT, description="How many at most.")


# Not a thread's work: a sender waits for the transaction that its batch shares, and a waiting thread would be one less
# for readers. And no model of the body: the store's door reads each item, once.
@router.post("/events", responses={200: {"model": BatchAnswer}}, openapi_extra=_BATCH_SCHEMA)
async def post_events(request: Request) -> Response:
    """Take a batch of events and heartbeats: what is known already is known, what is no event is refused, item by item.

    The reply comes when the batch is durable. If all items are refused it is a 422, with the same outcomes.
    """
    state = state_of(request)
    if state.is_paused:
        reply = orjson.dumps({"outcomes": [], "paused": True})
        return Response(reply, media_type="application/json", headers={"Retry-After": str(PAUSE_SECONDS)})
    limits = state.settings.limits
    body = await read_body(request, limits.wire_bytes)
    encoding = request.headers.get("content-encoding", "").strip().lower()
    # A gzip body may hold ten times as much: too long for the loop that serves everybody.
    parse = partial(parse_batch, limits=limits)
    batch = parse(body, encoding) if not encoding else await run_in_threadpool(parse, body, encoding)
    batch = batch.of(principal_of(request).binding)
    outcomes = await _store(request, batch)
    # Each by its place in this batch: it may have shared a transaction with others.
    said = [outcome._replace(index=index).as_json() for index, outcome in enumerate(outcomes)]
    if said and all(outcome["status"] == "refused" for outcome in said):
        detail = f"each of the {len(said)} items was refused; `outcomes` says why"
        raise ProblemError(422, "all-refused", detail, outcomes=said, paused=False)
    reply_fields: dict[str, Any] = {"outcomes": said, "paused": False}
    if batch.faults:
        reply_fields["heartbeats"] = batch.faults
    return Response(orjson.dumps(reply_fields), media_type="application/json")


async def _store(request: Request, batch: Batch) -> Sequence[Any]:
    state = state_of(request)
    outcomes: Sequence[Any] = []
    if batch.items:
        try:
            waiting = state.committer.submit(batch.items, principal=principal_of(request))
        except CrowdedError as error:
            headers = {"Retry-After": str(CROWDED_SECONDS)}
            raise ProblemError(429, "crowded", f"{error}: come again later", headers=headers) from error
        with state.metrics.waiting_batches.track_inprogress():
            outcomes = await asyncio.wrap_future(waiting)
    if batch.heartbeats:
        await run_in_threadpool(record_heartbeats, state.store, [beat for _, beat in batch.heartbeats])
    return outcomes


@router.get("/events")
def get_events(request: Request, query: Annotated[EntryQuery, Query()]) -> EntryPage:
    """Return entries in the log's order: those after a position, or the last ones."""
    store = state_of(request).store
    if query.after is None:
        return list_last_entries(store, limit=query.limit)
    return list_entries(store, after=query.after, limit=query.limit)
