"""Pieces that stand on a page by the hundred, as markup: a template takes several times as long to write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from markupsafe import Markup, escape

from runvis_core.services.answers import RunRef
from runvis_core.services.labels import name_run
from runvis_core.web.drawing.grid import Cell, Head
from runvis_core.web.drawing.looks import SILENT, HasState, Look, icon, look_at
from runvis_core.web.drawing.text import (
    LONGEST,
    exact_duration,
    exact_moment,
    name_age,
    name_duration,
    name_moment,
    safe,
    shorten,
)
from runvis_core.web.drawing.waterfall import Row

_DASH: Final = Markup('<span class="quiet">–</span>')
_NEVER: Final = Markup('<span class="quiet">never</span>')


@cache
def chip(look: Look) -> Markup:
    """Return a state's shape and word."""
    return Markup('<span class="state {0}">{1} {2}</span>').format(look.key, icon(look.key), look.word)


def state(run: HasState, *, is_silent: bool = False) -> Markup:
    """Return the shape and word of a run's effective state; see `look_at`."""
    return chip(look_at(run, is_silent=is_silent))


def duration(seconds: float | None) -> Markup:
    """Return a duration as a person reads it, the exact one in its title."""
    return Markup(_duration(seconds))  # noqa: S704 - a number


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return _DASH
    return f'<span title="{exact_duration(seconds)}">{name_duration(seconds)}</span>'


def moment(at: datetime | None, *, now: datetime) -> Markup:
    """Return a moment as a person reads it, the exact one beside it."""
    return _DASH if at is None else _time(at, name_moment(at, now=now))


def span(begin: datetime, end: datetime, *, now: datetime) -> Markup:
    """Return from when to when something is. Both ends say their day, unless all of it is today's."""
    with_day = len({at.astimezone(UTC).date() for at in (begin, end, now)}) > 1
    first, last = (_time(at, name_moment(at, now=now, with_day=with_day)) for at in (begin, end))
    return Markup("from {0} to {1}").format(first, last)


def age(at: datetime | None, *, now: datetime) -> Markup:
    """Return how long ago a moment was, the exact one beside it."""
    return _NEVER if at is None else _time(at, name_age(at, now=now))


def _time(at: datetime, words: str) -> Markup:
    exact = exact_moment(at)
    return Markup(f'<time datetime="{exact}" title="{exact}">{words}</time>')  # noqa: S704 - made of a moment alone


def text(words: str, longest: int) -> str:
    """Return text from data as markup, cut where it is too long."""
    return escape(safe(shorten(words, longest)))


def silent_rows(runs: Iterable[RunRef], then: str, *, now: datetime) -> Markup:
    """Return rows that name silent runs, their engines and begins; `then` is what the links have after a path."""
    after = escape(then)
    return Markup("".join(_silent_row(run, after, now) for run in runs))  # noqa: S704 - escaped by `_silent_row`


def _silent_row(run: RunRef, after: str, now: datetime) -> str:
    name = text(name_run(run) or run.native_id or "unnamed", 120)
    return (
        f'<tr data-run="{run.run_id}" class="row"><td>{chip(SILENT)}</td><th scope="row">'
        f'<a class="go" href="/runs/{run.run_id}{after}"><bdi>{name}</bdi></a></th>'
        f'<td><span class="tag">{text(run.engine, 30)}</span></td>'
        f'<td data-label="Started">{age(run.started_at or run.queued_at, now=now)}</td></tr>'
    )


def day_rows(days: Iterable[Mapping[str, Any]]) -> Markup:
    """Return the rows of an engine's days, each with a bar of what became of its runs; see `engine_days`."""
    return Markup("".join(map(_day_row, days)))  # noqa: S704 - escaped by `_day_row`


def _day_row(day: Mapping[str, Any]) -> str:
    href, begins, runs, bad = escape(day["href"]), day["day"], day["runs"], day["bad"]
    counted = f'<a href="{href}">{runs}</a>' if runs else "0"
    failed = f'<a class="failed" href="{escape(day["bad_href"])}">{bad}</a>' if bad else "0"
    bars = "".join(
        f'<rect class="{share.key}" x="{share.x}" width="{share.width}"><title>{share.said}</title></rect>'
        for share in day["shares"]
    )
    said = ", ".join(share.said for share in day["shares"]) or "no runs"
    unsure = '<span class="unseen"> (not heard, or not to its end)</span>' if day["is_unsure"] else ""
    cell, svg = ("axis hatch", "bars cut") if unsure else ("axis", "bars")
    return (
        f'<tr data-row class="row"><th scope="row"><a class="go" href="{href}">{begins.day} {begins:%b}</a></th>'
        f'<td class="num" data-label="Runs">{counted}</td><td class="num" data-label="Failed">{failed}</td>'
        f'<td class="{cell}"><svg class="{svg}" role="img" aria-label="{said}">{bars}</svg>{unsure}</td></tr>'
    )


def fall_row(row: Row, then: str, *, is_root: bool = False, is_first: bool = False) -> Markup:
    """Return a row of a waterfall; `then` is what its links have after a path."""
    return Markup(_fall_row(row, escape(then), is_root=is_root, is_first=is_first))  # noqa: S704 - escaped there


def fall_rows(rows: Sequence[Row], then: str) -> Markup:
    """Return the rows of a waterfall, of which the first is the whole."""
    after = escape(then)
    drawn = "\n".join(_fall_row(row, after, is_root=place == 0) for place, row in enumerate(rows))
    return Markup(drawn)  # noqa: S704 - what comes from data is escaped by `_fall_row`


def _fall_row(row: Row, after: str, *, is_root: bool = False, is_first: bool = False) -> str:
    run_id = str(row.run_id)
    href = f"/runs/{run_id}{after}"
    marks = (("critical", row.is_critical and not is_root), ("first", is_first), ("crosses", row.crosses))
    classes = "".join(f" {name}" for name, is_set in marks if is_set)
    name = '<span class="quiet">first to fail </span>' if is_first else ""
    name += '<span class="quiet">started </span>' if row.is_caused else ""
    name += f'<span class="tag">→ {text(row.engine, 20)}</span> ' if row.crosses else ""
    name += f'<a class="go" href="{href}"><bdi>{text(row.label, 100)}</bdi></a>'
    name += ' <abbr title="A clock was off">◷</abbr>' if row.clock_suspect else ""
    if row.folded:
        failed = f", {row.folded_failed} failed" if row.folded_failed else ""
        there = f"/runs?parent={row.folded_in}&amp;all=true{_and(after)}" if row.folded_in else href
        name += f' <a class="quiet" href="{there}">+{row.folded} inside{failed}</a>'
    state = _tries(row.attempts, after) if len(row.attempts) > 1 else chip(row.look)
    return (
        f'<tr data-run="{run_id}" class="d{row.depth}{classes}">\n'
        f'<th scope="row" class="c-name">{name}</th>\n'
        f'<td class="c-state">{state}</td>\n'
        f'<td class="num" data-label="Waited">{_duration(row.waited_seconds)}</td>\n'
        f'<td class="num" data-label="Ran">{_duration(row.ran_seconds)}</td>\n'
        f'<td class="axis">{_axis(row)}</td>\n'
        "</tr>\n"
    )


def _and(after: str) -> str:
    """Return what links have after a path for links that have a query already."""
    return f"&amp;{after[1:]}" if after else ""


def _tries(attempts: Iterable[tuple[int | None, UUID, Look]], after: str) -> str:
    return "".join(
        f'<a class="try {look.key}" href="/runs/{run_id}{after}" '
        f'aria-label="attempt {place if number is None else number}: {look.word}">{icon(look.key)}</a>'
        for place, (number, run_id, look) in enumerate(attempts, 1)
    )


def _axis(row: Row) -> str:
    if row.bars:
        drawn = "".join(
            f'<rect class="b-{bar.kind} {bar.key}" x="{bar.x}" width="{bar.width}"><title>{bar.title}</title></rect>'
            for bar in row.bars
        )
        return f'<svg class="bars" aria-hidden="true">{drawn}</svg>'
    if row.after_seconds is None:
        return ""
    return f'<span class="after quiet">{name_duration(row.after_seconds)} after the end of this ▸</span>'


def grid_towers(heads: Iterable[Head], then: str, *, now: datetime) -> Markup:
    """Return a bar for each column of a grid, of how long its run waited and ran; `then` is as in `grid_cells`."""
    after = escape(then)
    return Markup("".join(_tower(head, after, now) for head in heads))  # noqa: S704 - escaped by `_tower`


def _tower(head: Head, after: str, now: datetime) -> str:
    if head.run is None or head.look is None:
        was_due = f'<span class="quiet" title="was due {exact_moment(head.due_at)}">–</span>'
        return f"{_under(head)}{was_due}</td>"
    begun = name_moment(head.run.started_at or head.run.queued_at, now=now)
    queued, ran = float(head.queued.rstrip("%")), float(head.ran.rstrip("%"))
    return (
        f'{_under(head)}<a href="/runs/{head.run.run_id}{after}" aria-label="run of {begun}: {head.title}">'
        f'<svg class="tower" aria-hidden="true">'
        f'<rect class="b-queued" width="100%" y="{100 - queued - ran}%" height="{head.queued}"/>'
        f'<rect class="{head.look.key}" width="100%" y="{100 - ran}%" height="{head.ran}"/></svg></a></td>'
    )


def grid_states(heads: Iterable[Head], then: str) -> Markup:
    """Return the state of each column's run; `then` is as in `grid_cells`."""
    after = escape(then)
    return Markup("".join(_state_of(head, after) for head in heads))  # noqa: S704 - escaped by `_state_of`


def _state_of(head: Head, after: str) -> str:
    if head.run is None or head.look is None:
        return f"{_under(head)}</td>"
    version = f", version {text(head.version, 40)}" if head.version else ""
    return (
        f'{_under(head)}<a class="{head.look.key}" href="/runs/{head.run.run_id}{after}" aria-label="{head.title}" '
        f'title="{head.title}{version}">{icon(head.look.key)}</a></td>'
    )


def _under(head: Head) -> str:
    """Return the beginning of a cell under a column's head."""
    if head.is_new_version:
        return '<td class="changed">'
    return "<td>" if head.run else '<td class="absent">'


def grid_cells(cells: Iterable[Cell], heads: Iterable[Head], then: str) -> Markup:
    """Return a step's cells in a grid, one under each head; `then` is what their links have after a path."""
    after = escape(then)
    drawn = "".join(_cell(cell, head, after) for cell, head in zip(cells, heads, strict=True))
    return Markup(drawn)  # noqa: S704 - what comes from data is escaped by `_cell`


def _cell(cell: Cell, head: Head, after: str) -> str:
    if not cell.name:
        return f"{_under(head)}</td>"
    name = text(cell.name, LONGEST)
    if cell.is_absent:
        opened = f'<td class="absent" title="{name}">'
    else:
        opened = '<td class="changed">' if head.is_new_version else "<td>"
    if not cell.marks:
        return f"{opened}</td>"
    beside = f'<span class="quiet">{cell.beside}</span>' if cell.beside else ""
    shapes = "".join(icon(mark.look.key) for mark in cell.marks)
    href = f"/runs/{cell.marks[-1].run_id}{after}"
    return f'{opened}<a href="{href}" aria-label="{name}" title="{name}">{beside}{shapes}</a></td>'
