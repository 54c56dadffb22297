"""A comparison of two runs on a terminal: the differences, then the steps that differ, then what is equal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from runvis_core.cli.output import cell, console, state_text, table, to_json
from runvis_core.cli.text import clean, name_duration, name_moment
from runvis_core.services.answers import RunRef
from runvis_core.services.comparison_answers import Comparison, Difference, Theme
from runvis_core.services.labels import name_run

MAX_TEXT = 120
"""Characters of a value that a row shows; `-o json` shows all."""


def print_comparison(found: Comparison) -> None:
    """Print a comparison."""
    out = console()
    sides = table("", "RUN", "STATE", "ENGINE", "DEFINITION", "TRY", "STARTED (UTC)", "DURATION")
    for name, run in (("left", found.left), ("right", found.right)):
        sides.add_row(name, *_side(run))
    out.print(sides)
    out.print()
    if found.first_divergence is not None:
        out.print(Text("They part at: ", style="bold").append(_sentence(found.first_divergence), style="not bold"))
    if not found.differences:
        is_whole = not found.cut_steps and not found.cut_fields
        out.print(Text("Nothing differs." if is_whole else "Nothing differs of what was compared."))
    else:
        _print_differences(out, found)
    if found.equal:
        said = ", ".join(f"{group.theme.value} {group.count}" for group in found.equal)
        out.print(Text(f"equal: {said}", style="dim"))
    if found.cut_steps:
        out.print(Text(f"{found.cut_steps} steps were too many to compare", style="dim"))
    if found.cut_fields:
        out.print(Text(f"{found.cut_fields} fields of steps were too large to compare", style="dim"))


def _side(run: RunRef) -> tuple[Any, ...]:
    return (
        str(run.run_id)[:8],
        state_text(run, corrected=run.corrected),
        cell(f"{run.engine} ({run.deployment})"),
        cell(name_run(run)),
        cell(run.attempt),
        name_moment(run.started_at or run.queued_at),
        name_duration(run.duration_seconds),
    )


def _sentence(difference: Difference) -> str:
    where = f"{difference.steps[0]}: " if difference.steps else ""
    return clean(f"{where}{difference.field} {_value(difference, 'left')} → {_value(difference, 'right')}")


def _print_differences(out: Console, found: Comparison) -> None:
    rows = table("ABOUT", "WHAT", "LEFT", "RIGHT", "CHANGE", "STEPS")
    for difference in found.differences:
        rows.add_row(
            difference.theme.value,
            cell(difference.field),
            cell(_value(difference, "left")),
            cell(_value(difference, "right")),
            _change(difference),
            cell(_steps(difference)),
        )
    out.print(rows)
    if found.cut_differences:
        out.print(Text(f"… {found.cut_differences} more differences", style="dim"))


def _value(difference: Difference, side: str) -> str:
    if difference.change == ("added" if side == "left" else "removed"):
        return "–"
    value = getattr(difference, side)
    if difference.theme in (Theme.QUEUE, Theme.DURATION):
        return name_duration(value)
    text = value if isinstance(value, str) else to_json(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _change(difference: Difference) -> str:
    if difference.delta is None:
        return difference.change
    if difference.theme in (Theme.QUEUE, Theme.DURATION):
        return ("+" if difference.delta > 0 else "") + name_duration(difference.delta)
    return f"{difference.delta:+g}"


def _steps(difference: Difference) -> str:
    more = f" and {difference.cut_steps} more" if difference.cut_steps else ""
    return ", ".join(difference.steps) + more if difference.steps else "the run itself"
