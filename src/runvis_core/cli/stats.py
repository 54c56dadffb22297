"""`runvis stats` and `runvis health`: how many runs, how long they took, and what is broken."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from runvis_core.cli.options import (
    AsOfOption,
    DeploymentOption,
    EngineOption,
    KnownAtOption,
    OutputOption,
    UrlOption,
    parse_moment,
    understand,
)
from runvis_core.cli.output import Format, cell, console, print_one, state_text, table
from runvis_core.cli.source import open_source
from runvis_core.cli.text import name_duration, name_moment
from runvis_core.model.state import State
from runvis_core.services.filters import Dimension, StatFilter
from runvis_core.services.labels import name_run
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.stats_answers import DefinitionHealth, Health, StatRow, StatTable

StateOption = Annotated[list[State] | None, typer.Option(help="Only this state; may be given several times.")]


def stats_command(
    by: Annotated[
        list[Dimension] | None, typer.Option("--by", help="What to tell apart; may be given several times.")
    ] = None,
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    definition: Annotated[str | None, typer.Option(help="Only this definition: a DAG, a flow, a task.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind of definition: dag, task, flow, …")] = None,
    state: StateOption = None,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="From then on: 2h, 7d, 2024-05-01, …")
    ] = None,
    until: Annotated[datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="Before then.")] = None,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Count runs by state, and say how long they ran and waited: by default all of the last 14 days.

    Times are medians and the time that 95 of 100 runs stay below, each within 1%.

    Examples:

      runvis stats --by engine --by day

      runvis stats --by definition --engine airflow --since 7d

      runvis stats --definition etl --by hour --since 24h -o json
    """
    filters = understand(
        StatFilter,
        engine=engine,
        deployment=deployment,
        definition=definition,
        kind=kind,
        state=state or [],
        since=since,
        until=until,
        by=by or [],
    )
    with open_source(url) as source:
        found = source.list_stats(filters)
    if output is not Format.TABLE:
        print_one(found, output)
        return
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if not found.items:
        typer.echo("no runs", err=True)
        return
    _print_table(found)


def _print_table(found: StatTable) -> None:
    names = [dimension for dimension in found.by if dimension is not Dimension.STATE]
    states = [state for state in State if any(state in row.states for row in found.items)]
    titles = [str(name.value).upper() + (" (UTC)" if name in _OF_TIME else "") for name in names]
    rows = table(
        *titles, "RUNS", *(state.value.upper() for state in states), "FAILED %", "TIME P50", "P95", "WAIT P50", "P95"
    )
    for row in found.items:
        rows.add_row(*(_name(row, name) for name in names), str(row.runs), *_numbers(row, states))
    console().print(rows)


_OF_TIME = (Dimension.HOUR, Dimension.DAY)


def _name(row: StatRow, name: Dimension) -> Any:
    return name_moment(row.begins_at) if name in _OF_TIME else cell(getattr(row, name.value) or None)


def _numbers(row: StatRow, states: list[State]) -> tuple[str, ...]:
    return (
        *(str(row.states.get(state, 0)) for state in states),
        "–" if row.failed_share is None else f"{100 * row.failed_share:.1f}",
        name_duration(row.duration.p50),
        name_duration(row.duration.p95),
        name_duration(row.queue.p50),
        name_duration(row.queue.p95),
    )


def health_command(
    as_of: AsOfOption = None, known_at: KnownAtOption = None, output: OutputOption = Format.TABLE, url: UrlOption = None
) -> None:
    """Say which definitions fail or are late by their schedule, and which runs are silent.

    A definition fails while its last run that succeeded, failed or timed out did not succeed.

    Examples:

      runvis health

      runvis health -o json

      runvis health --as-of 2d
    """
    with open_source(url) as source:
        found = source.get_health(PastFilter(as_of=as_of, known_at=known_at))
    if output is not Format.TABLE:
        print_one(found, output)
        return
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    _print_health(found)


def _print_health(found: Health) -> None:
    out = console()
    counts = f"{found.failing_count} definitions failing, {found.late_count} late, {found.silent_count} runs silent"
    out.print(Text(counts, style="bold"))
    if found.failing:
        rows = table("FAILING", "ENGINE", "LAST RUN", "SINCE (UTC)", "LAST GOOD (UTC)", "BLOCKS", "WHY")
        for one in found.failing:
            rows.add_row(*_failing(one))
        out.print(rows)
    if found.late:
        rows = table("LATE", "ENGINE", "SCHEDULE", "DUE (UTC)", "MISSED", "LAST BEGUN (UTC)")
        for one in found.late:
            due, begun = name_moment(one.due_at), name_moment(one.last_begun_at)
            missed = f"{one.missed} or more" if one.missed_cut else str(one.missed)
            rows.add_row(cell(one.definition), cell(one.engine), cell(one.schedule), due, missed, begun)
        out.print(rows)
    if found.silent:
        rows = table("SILENT", "ENGINE", "STATE", "STARTED (UTC)", "RUN")
        for run in found.silent:
            started = name_moment(run.started_at or run.queued_at)
            rows.add_row(cell(name_run(run)), cell(run.engine), state_text(run), started, str(run.run_id)[:8])
        out.print(rows)


def _failing(one: DefinitionHealth) -> tuple[Any, ...]:
    why = ": ".join(part for part in (one.error_type, one.failure_line) if part)
    good = one.last_good
    return (
        cell(one.definition),
        cell(one.engine),
        state_text(one.last_run, corrected=one.last_run.corrected) if one.last_run else "–",
        name_moment(one.failing_since),
        name_moment(good.started_at or good.queued_at) if good else "never",
        _blocks(one),
        cell(why or None),
    )


def _blocks(one: DefinitionHealth) -> Text:
    more = one.blocks_count - 1
    return cell(f"{one.blocks[0].name} and {more} more" if more > 0 else one.blocks[0].name if one.blocks else None)
