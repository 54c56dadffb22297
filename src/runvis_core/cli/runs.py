"""`runvis runs`: what ran, and what is known about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer

from runvis_core.cli.comparison_page import print_comparison
from runvis_core.cli.exits import Group
from runvis_core.cli.options import (
    AsOfOption,
    CursorOption,
    DeploymentOption,
    EngineOption,
    KindOption,
    KnownAtOption,
    LimitOption,
    OutputOption,
    UrlOption,
    name_next,
    parse_moment,
    understand,
)
from runvis_core.cli.output import Format, cell, console, print_one, print_page, state_text, table, to_json
from runvis_core.cli.run_page import print_run, print_tree
from runvis_core.cli.source import open_source
from runvis_core.cli.text import clean, name_duration, name_moment
from runvis_core.model.state import TriggerKind
from runvis_core.services.answers import EntryPage, EntryView, Page, RunSummary
from runvis_core.services.filters import RunFilter
from runvis_core.services.labels import name_run
from runvis_core.services.past_filter import PastFilter

runs = typer.Typer(cls=Group, no_args_is_help=True, help="What ran, and what is known about it.")

POLL_SECONDS = 1.0
TAIL_BATCH = 500


@runs.command("list")
def list_command(
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    definition: Annotated[str | None, typer.Option(help="Only this definition: a DAG, a flow, a task.")] = None,
    kind: KindOption = None,
    parent: Annotated[str | None, typer.Option(help="Only what ran inside this run.")] = None,
    text: Annotated[str | None, typer.Option(help="Only runs whose error has these words in its first line.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only this state; may be given several times.")] = None,
    native_state: Annotated[str | None, typer.Option(help="Only this state in the engine's own word.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="From then on: 2h, 7d, 2024-05-01, …")
    ] = None,
    until: Annotated[datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="Before then.")] = None,
    trigger: Annotated[TriggerKind | None, typer.Option(help="Only runs that started for this reason.")] = None,
    correlation: Annotated[str | None, typer.Option(help="Only runs of this correlation id.")] = None,
    silent: Annotated[bool, typer.Option("--silent", help="Only live runs whose heartbeat is overdue.")] = False,
    conflicting: Annotated[bool, typer.Option("--conflicting", help="Only runs with corrections.")] = False,
    unnamed: Annotated[
        bool, typer.Option("--unnamed", help="Only runs of which nobody told what they are of.")
    ] = False,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, as jsonl or csv, however many.")] = False,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """List runs, newest first.

    Examples:

      runvis runs list --state Failed --state TimedOut --since 24h

      runvis runs list --engine airflow --definition etl -o jsonl

      runvis runs list --silent --url http://runvis:8642

      runvis runs list --since 30d --all -o csv

      runvis runs list --state Running --as-of 2024-05-01T06:00Z
    """
    filters = understand(
        RunFilter,
        engine=engine,
        deployment=deployment,
        definition=definition,
        kind=kind,
        parent=parent,
        text=text,
        state=state or [],
        native_state=native_state,
        tag=tag,
        since=since,
        until=until,
        trigger=trigger,
        correlation=correlation,
        silent=silent,
        conflicting=conflicting,
        unnamed=unnamed,
    )
    if every and output not in (Format.JSONL, Format.CSV):
        raise typer.BadParameter("goes with -o jsonl or -o csv", param_hint="--all")
    with open_source(url) as source:
        past = _past(as_of, known_at)
        if every:
            print_page(source.export_runs(filters, cursor=cursor, past=past), output, of=RunSummary)
            return
        page = _first_page(
            lambda place, most: source.list_runs(filters, limit=most, cursor=place, past=past), cursor, limit
        )
    for note in page.notes:
        typer.echo(f"note: {note}", err=True)
    if output is not Format.TABLE:
        print_page(page.items, output, of=RunSummary, next_cursor=page.next_cursor)
        return
    if not page.items:
        typer.echo("no runs", err=True)
        return
    _print_table(page.items)
    if page.next_cursor:
        following = name_next(page.next_cursor, since=since, until=until, as_of=as_of, known_at=known_at)
        typer.echo(f"there are more: {following}", err=True)


def _first_page(
    read: Callable[[str | None, int], Page[RunSummary]], cursor: str | None, limit: int
) -> Page[RunSummary]:
    """Return a page with `limit` runs, or all: a page of the store's may be short and have a next one."""
    page = read(cursor, limit)
    items = page.items
    while page.next_cursor is not None and len(items) < limit:
        page = read(page.next_cursor, limit - len(items))
        items = [*items, *page.items]
    return page.model_copy(update={"items": items})


def _past(as_of: datetime | None, known_at: int | datetime | None) -> PastFilter:
    return PastFilter(as_of=as_of, known_at=known_at)


def _print_table(items: list[RunSummary]) -> None:
    rows = table(
        "RUN", "STATE", "ENGINE", "DEFINITION", "KIND", "TRY", "STARTED (UTC)", "DURATION", "TRIGGER", "NATIVE ID"
    )
    for run in items:
        rows.add_row(
            str(run.run_id)[:8],
            state_text(run, corrected=run.corrected, presumed=run.presumed),
            cell(run.engine),
            cell(name_run(run)),
            cell(run.kind),
            cell(run.attempt),
            name_moment(run.started_at or run.queued_at),
            name_duration(run.duration_seconds),
            cell(run.trigger.kind if run.trigger else None),
            cell(run.native_id),
        )
    console().print(rows)


@runs.command("show")
def show_command(
    run: Annotated[str, typer.Argument(help="Its id (six characters are enough), the engine's own id, or an alias.")],
    tree: Annotated[
        bool, typer.Option("--tree", help="Only the run, what ran inside it, and what it started in any engine.")
    ] = False,
    as_of: AsOfOption = None,
    known_at: KnownAtOption = None,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Show all that is known about a run: attempts, transitions, failure, data, who said what, and its tree.

    Examples:

      runvis runs show 3f2a9c1b

      runvis runs show 3f2a9c1b --tree

      runvis runs show manual__2024-05-01T00:00:00+00:00 -o json

      runvis runs show 3f2a9c1b --known-at 120
    """
    with open_source(url) as source:
        past = _past(as_of, known_at)
        found = source.get_tree(run, past) if tree else source.get_run(run, past)
    if output is not Format.TABLE:
        print_one(found, output)
    elif tree:
        print_tree(found)
    else:
        print_run(found)


@runs.command("compare")
def compare_command(
    left: Annotated[str, typer.Argument(help="A run, named as for `show`.", metavar="RUN")],
    right: Annotated[str | None, typer.Argument(help="The run to compare it with.", metavar="OTHER")] = None,
    last_success: Annotated[
        bool, typer.Option("--last-success", help="Compare RUN with the last run before it that succeeded.")
    ] = False,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Show what differs between two runs, attempts or trees, of one engine or of two; what is equal is only counted.

    Differences are from RUN to OTHER; with `--last-success` they are from that last success to RUN.

    Examples:

      runvis runs compare 3f2a9c 81d04e

      runvis runs compare 3f2a9c --last-success
    """
    if (right is None) != last_success:
        raise typer.BadParameter("name either another run or --last-success", param_hint="OTHER")
    with open_source(url) as source:
        found = source.compare_runs(left, right) if right is not None else source.compare_with_last_success(left)
    if output is Format.TABLE:
        print_comparison(found)
    else:
        print_one(found, output)


@runs.command("tail")
def tail_command(
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, max=1000, help="How many of the last entries to begin with.")
    ] = 20,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on with what comes.")] = True,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Show what is being recorded, entry by entry, as it comes. End it with Ctrl-C.

    Examples:

      runvis runs tail

      runvis runs tail --last 100 --no-follow -o jsonl
    """
    if output is Format.CSV:
        raise typer.BadParameter("entries are no table: use json or jsonl", param_hint="--output")
    with open_source(url) as source:
        page = source.list_last_entries(limit=last)
        try:
            _print_entries(page, output)
            while follow:
                page = source.list_entries(after=page.after, limit=TAIL_BATCH)
                _print_entries(page, output)
                if len(page.items) < TAIL_BATCH:
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            return


def _print_entries(page: EntryPage, output: Format) -> None:
    for entry in page.items:
        typer.echo(_entry_line(entry) if output is Format.TABLE else to_json(entry))


def _entry_line(entry: EntryView) -> str:
    event = entry.event
    about = entry.definition or event.get("definition") or ""
    said = [
        event.get(name) for name in ("state", "native_state", "verdict", "error_type", "relation", "direction", "name")
    ]
    words = " ".join(str(word) for word in said if word)
    run = str(event.get("run_id") or "")[:8]
    engine, witness, kind = (str(event.get(name, "")) for name in ("engine", "witness", "kind"))
    recorded_at = name_moment(entry.recorded_at)
    line = f"{entry.position:>8} {recorded_at} {engine:<8} {witness:<9} {kind:<16} {run:<8} {about} {words}"
    return clean(line.rstrip())
