"""Lists as files: as JSON lines or CSV, page by page, so that a list of any length takes the memory of one page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar, cast

import orjson
from pydantic import BaseModel

from runvis_core.services.answers import Page, RunSummary

Item = TypeVar("Item", bound=BaseModel)

PAGE_SIZE: Final = 200
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a text begins that a spreadsheet takes for a formula; full-width signs are the same to some."""

RUN_COLUMNS: Final = (
    *("run_id", "engine", "deployment", "definition", "kind", "attempt", "state", "effective_state", "native_state"),
    *("native_id", "trigger.kind", "trigger.native", "parent_run_id", "caused_by_run_id", "root_run_id", "retry_of"),
    *("correlation_id", "queued_at", "started_at", "ended_at", "duration_seconds", "failure.error_type"),
    *("failure.line", "presumed", "corrected", "clock_suspect", "event_count", "witnesses", "reads", "writes"),
    *("artifacts", "metrics", "parameters", "context.conf", "context.tags", "context.owner", "context.native_url"),
    *("context.code", "context.environment", "context.engine", "corrects", "completeness", "cut"),
)
"""The columns of a CSV of runs; a part of a field is named after a dot."""


def follow_pages(read: Callable[[str | None], Page[Item]], cursor: str | None) -> Iterator[Page[Item]]:
    """Yield a list's pages from the one after `cursor` on, each when it is asked for."""
    while True:
        page = read(cursor)
        yield page
        if (cursor := page.next_cursor) is None:
            return


def json_lines(items: Iterable[BaseModel]) -> Iterator[bytes]:
    """Yield each item as a line of JSON."""
    for item in items:
        yield orjson.dumps(item.model_dump(mode="json")) + b"\n"


def csv_lines(items: Iterable[Item], *, of: type[Item]) -> Iterator[str]:
    """Yield the header and a line per item (RFC 4180): runs in `RUN_COLUMNS`, all other items by their fields.

    What has parts is JSON in its cell; None is an empty cell.

    A text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers, negative ones
    too.
    """
    names = RUN_COLUMNS if issubclass(of, RunSummary) else tuple(of.model_fields)
    yield csv_line(names)
    for item in items:
        said = item.model_dump(mode="json")
        yield csv_line(_part(said, name) for name in names)


def csv_line(values: Iterable[Any]) -> str:
    """Return a line of such values."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow([_cell(value) for value in values])
    return text.getvalue()


def _part(said: Any, name: str) -> Any:
    for part in name.split("."):
        said = cast("dict[str, Any]", said).get(part) if isinstance(said, dict) else None
    return said


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, int | float):
        return value
    if value in ({}, []):
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    text = text.replace("\x00", "\ufffd")
    # Some leave out the blanks before it.
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text
