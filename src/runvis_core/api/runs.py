"""`/runs`: lists of runs, and one run with all that is known about it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from runvis_core.api.exports import note_export
from runvis_core.api.paths import RunName
from runvis_core.api.problems import ProblemError
from runvis_core.api.state import state_of
from runvis_core.services.answers import EntryPage, Page, RunDetail, RunSummary, TreeNode
from runvis_core.services.asking import get_run_at, get_tree_at, list_runs_at
from runvis_core.services.compare import compare_runs, compare_with_last_success
from runvis_core.services.comparison_answers import Comparison
from runvis_core.services.entries import list_run_entries
from runvis_core.services.exports import PAGE_SIZE, csv_lines, follow_pages, json_lines
from runvis_core.services.filters import DEFAULT_LIMIT, MAX_LIMIT, RunFilter
from runvis_core.services.past_filter import PastFilter, PastRunFilter

router = APIRouter()


class RunQuery(PastRunFilter):
    """Which runs of which past, how many, and from where on."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many at most.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before, with the same filters.")


class RunEntryQuery(BaseModel):
    """Which part of a run's entries."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(default=0, ge=0, le=2**63 - 1, description="Entries after this position.")
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many at most.")


JSON: Final = "application/json"
JSON_LINES: Final = "application/x-ndjson"
CSV: Final = "text/csv"
_OFFERED: Final = {
    **dict.fromkeys((JSON, "application/*", "*/*"), JSON),
    **dict.fromkeys((JSON_LINES, "application/jsonl", "application/json-lines"), JSON_LINES),
    **dict.fromkeys((CSV, "text/*"), CSV),
}
"""By what a caller may name: what it gets."""
_QUALITY: Final = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


@router.get(
    "/runs", response_model=Page[RunSummary], responses={200: {"content": {JSON_LINES: {}, CSV: {}}, "description": ""}}
)
def get_runs(request: Request, query: Annotated[RunQuery, Query()]) -> Page[RunSummary] | StreamingResponse:
    """Return runs, newest first: as they are, or as they were in the past that is asked about.

    With `Accept: application/x-ndjson` or `text/csv` the list comes as a file: all runs from the cursor on, or `limit`
    of them if that is given; what can't be given is a 406. That a file was taken out is an entry of the audit trail.
    """
    store, now = state_of(request).store, datetime.now(UTC)
    filters = RunFilter.model_validate(query.model_dump(exclude={"limit", "cursor", *PastFilter.model_fields}))
    past = PastFilter(as_of=query.as_of, known_at=query.known_at)

    def list_from(cursor: str | None, limit: int) -> Page[RunSummary]:
        return list_runs_at(store, filters, past, limit=limit, cursor=cursor, now=now)

    media_type = _wanted_type(request.headers.get("accept", ""))
    if media_type is None:
        return list_from(query.cursor, query.limit)
    limit = query.limit if "limit" in query.model_fields_set else None
    pages = follow_pages(lambda cursor: list_from(cursor, min(PAGE_SIZE, limit or PAGE_SIZE)), query.cursor)
    # What is wrong with the question is said before anything else is.
    first = next(pages)
    note_export(request, f"runs as {media_type}", asked=query)
    items = islice((run for page in chain([first], pages) for run in page.items), limit)
    lines = json_lines(items) if media_type == JSON_LINES else csv_lines(items, of=RunSummary)
    return StreamingResponse(lines, media_type=media_type)


def _wanted_type(accept: str) -> str | None:
    """Return which file the caller prefers to a page; None for a page. Raises `ProblemError` where it takes neither.

    Of what it likes equally the one that it names first counts.
    """
    weighed = _weighed(accept)
    refused = {_OFFERED.get(name) for name, quality in weighed if not quality}
    for name, quality in sorted(weighed, key=lambda one: -one[1]):
        if quality and name in _OFFERED and _OFFERED[name] not in refused:
            return None if _OFFERED[name] == JSON else _OFFERED[name]
    if not weighed:
        return None
    allowed = [JSON, JSON_LINES, CSV]
    raise ProblemError(406, "not-acceptable", f"Accept: runs come as {', '.join(allowed)}", allowed=allowed)


def _weighed(accept: str) -> list[tuple[str, float]]:
    """Return the types that a caller names, each with how much it likes it: nothing for one that it does not take."""
    found: list[tuple[str, float]] = []
    for part in accept.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        said = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        if name:
            found.append((name, float(said) if _QUALITY.fullmatch(said) else 0.0))
    return found


# A native id may have slashes in it that nobody encoded, so the longer paths come first. The longest of all: the
# other run may be called as a path ends.
@router.get("/runs/{name:name}/compare/{other:name}")
def get_comparison(request: Request, name: RunName, other: RunName) -> Comparison:
    """Return what differs between two runs, ranked: the first run is the left side, the other one the right side."""
    return compare_runs(state_of(request).store, name, other)


@router.get("/runs/{name:name}/events")
def get_run_events(request: Request, name: RunName, query: Annotated[RunEntryQuery, Query()]) -> EntryPage:
    """Return the entries about a run, in the log's order."""
    return list_run_entries(state_of(request).store, name, after=query.after, limit=query.limit)


@router.get("/runs/{name:name}/tree")
def get_run_tree(request: Request, name: RunName, past: Annotated[PastFilter, Query()]) -> TreeNode:
    """Return a run and what ran inside it."""
    return get_tree_at(state_of(request).store, name, past, now=datetime.now(UTC))


@router.get("/runs/{name:name}/compare")
def get_comparison_with_last_success(request: Request, name: RunName) -> Comparison:
    """Return what differs from the last run before it that went well (left) to this run (right)."""
    return compare_with_last_success(state_of(request).store, name)


@router.get("/runs/{name:name}")
def get_one_run(request: Request, name: RunName, past: Annotated[PastFilter, Query()]) -> RunDetail:
    """Return all that is known about a run, named by its id or the beginning of it, a native id or an alias."""
    return get_run_at(state_of(request).store, name, past, now=datetime.now(UTC))
