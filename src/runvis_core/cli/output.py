"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from runvis_core.cli.text import clean, clean_json
from runvis_core.model.state import State, Verdict
from runvis_core.services.answers import AttemptView, RunSummary
from runvis_core.services.exports import csv_lines

_WIDTH_WITHOUT_TERMINAL: Final = 200
M = TypeVar("M", bound=BaseModel)

_STATE_STYLES: Final[dict[State, tuple[str, str]]] = {
    State.QUEUED: ("◌", "dim"),
    State.INITIALIZING: ("◔", "cyan"),
    State.RUNNING: ("◑", "cyan"),
    State.FINALIZING: ("◕", "cyan"),
    State.SUCCEEDED: ("●", "green"),
    State.FAILED: ("✖", "red"),
    State.CANCELLED: ("⊘", "yellow"),
    State.TIMED_OUT: ("⧗", "red"),
}
"""By state: its mark, so that it is not told by colour alone, and its colour."""


class Format(StrEnum):
    """How a command prints."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def console() -> Console:
    """Return a console on stdout; where that is no terminal, it is wide enough to cut nothing short."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_WIDTH_WITHOUT_TERMINAL if wide else None, highlight=False, soft_wrap=False)


@contextmanager
def progress_bar(title: str) -> Generator[Callable[[int, int], None]]:
    """Show on stderr how far a long work is; the function is given how much is done, and of how much."""
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=None)

        def note(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield note


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return a model or JSON value as JSON text, safe for a terminal."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return clean_json(json.dumps(plain, ensure_ascii=False, indent=indent))


def print_page(items: Iterable[M], output: Format, *, of: type[M], next_cursor: str | None = None) -> None:
    """Print the items of a list: as one JSON object as the server gives it, as JSON lines, or as CSV."""
    if output is Format.JSONL:
        for item in items:
            typer.echo(to_json(item))
        return
    if output is Format.CSV:
        print_csv(items, of=of)
        return
    page = {"items": [item.model_dump(mode="json") for item in items], "next_cursor": next_cursor}
    typer.echo(to_json(page, indent=2))


def print_csv(items: Iterable[M], *, of: type[M]) -> None:
    """Print items as CSV: a run in its columns, anything else by its fields."""
    for line in csv_lines(items, of=of):
        typer.echo(line, nl=False)


def print_one(item: BaseModel, output: Format) -> None:
    """Print one thing as JSON."""
    if output is Format.CSV:
        raise typer.BadParameter("only a list can be CSV: use json or jsonl", param_hint="--output")
    typer.echo(to_json(item, indent=2 if output is Format.JSON else None))


def table(*columns: str) -> Table:
    """Return an empty table with plain borders."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def print_list(
    items: Sequence[M],
    output: Format,
    columns: Mapping[str, Callable[[M], Text | str]],
    *,
    of: type[M],
    nothing: str,
) -> None:
    """Print a whole list; as a table with these columns, or `nothing` on stderr where there is none."""
    if output is not Format.TABLE:
        print_page(items, output, of=of)
        return
    if not items:
        typer.echo(nothing, err=True)
        return
    rows = table(*columns)
    for item in items:
        rows.add_row(*(show(item) for show in columns.values()))
    console().print(rows)


def cell(value: Any) -> Text:
    """Return a value of the data as text without control characters or markup."""
    return Text("–" if value is None else clean(str(value)))


def state_text(run: AttemptView | RunSummary, *, corrected: bool = False, presumed: Verdict | None = None) -> Text:
    """Return a run's effective state by mark, word and colour, with what is to be known of it."""
    state = run.effective_state
    if state is None:
        return Text("? unknown", style="dim")
    mark, style = _STATE_STYLES[state]
    text = Text(f"{mark} {state.value}", style=style)
    # The engine's word belongs to the state that the run was frozen with.
    said = clean(run.native_state or "")
    native = f" {said}" if said and run.state is not None and said.lower() != run.state.value.lower() else ""
    if corrected:
        text.append(f" corrected (was {run.state.value if run.state else '?'}{native})", style="magenta")
    elif native:
        text.append(native, style="dim")
    if presumed is not None:
        text.append(f" presumed {presumed.value}", style="magenta")
    return text
