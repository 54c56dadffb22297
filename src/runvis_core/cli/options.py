"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from runvis_core.cli.output import Format
from runvis_core.cli.text import clean
from runvis_core.model.state import State

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO: Final = re.compile(r"(\d{1,6})([smhdw])")


def parse_moment(text: str) -> datetime:
    """Return the time that a person means: `2h` (ago), a day, or a time with its zone."""
    from runvis_core.services.calendar import check_year

    try:
        return check_year(_read_moment(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}") from None


def _read_moment(text: str) -> datetime:
    if ago := _AGO.fullmatch(text.strip().lower()):
        try:
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        except OverflowError:
            raise typer.BadParameter(f"{text!r} is longer ago than there are dates") from None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time: say 30m, 2h or 7d (ago), 2024-05-01, or 2024-05-01T12:00Z"
        ) from None
    if moment.tzinfo is None:
        if moment.time() == datetime.min.time() and len(text.strip()) == 10:
            return moment.replace(tzinfo=UTC)  # a day, in UTC as everything here
        raise typer.BadParameter(f"{text!r} has no time zone: add Z for UTC, or an offset such as +02:00")
    return moment


def parse_known_at(text: str) -> int | datetime:
    """Return the position of the log or the time that a person means."""
    return int(text) if text.strip().isdecimal() and len(text) < 19 else parse_moment(text)


Asked = TypeVar("Asked", bound=BaseModel)


def understand(model: type[Asked], **given: Any) -> Asked:
    """Return what a command's options ask for. Raises typer's `BadParameter`, which names the option at fault."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        option = "--" + str(fault["loc"][0]).replace("_", "-")
        allowed = f"one of {', '.join(State)}" if option == "--state" else fault["msg"]
        if isinstance(fault["input"], datetime):
            raise typer.BadParameter(allowed, param_hint=option) from error
        raise typer.BadParameter(
            f"{clean(repr(fault['input']))} is not allowed: {allowed}", param_hint=option
        ) from error


def check_span(since: datetime | None, until: datetime | None) -> None:
    """Raise typer's `BadParameter` for a span of time that ends before it begins."""
    from runvis_core.services.calendar import check_order

    try:
        check_order(since, until)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--until") from None


def name_next(cursor: str, **moments: int | datetime | None) -> str:
    """Return the options that lead to a next page: a time that was said as so long ago is another one by then."""
    said = [
        f"--{name.replace('_', '-')} {moment.isoformat()}"
        for name, moment in moments.items()
        if isinstance(moment, datetime)
    ]
    return " ".join([*said, f"--cursor {cursor}"])


AsOfOption = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        parser=parse_moment,
        metavar="TIME",
        help="As it was then, by all that is known now: 2h, 2024-05-01, …",
    ),
]
KnownAtOption = Annotated[
    Any | None,
    typer.Option(
        "--known-at",
        parser=parse_known_at,
        metavar="POSITION|TIME",
        help="By what had been recorded then: a position of the log, or a time.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The store or server to ask: sqlite:///FILE, postgresql://… or http(s)://…",
        show_default="RUNVIS_URL, else a SQLite file in your data folder",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The store: sqlite:///FILE or postgresql://…",
        show_default="RUNVIS_URL, else a SQLite file in your data folder",
    ),
]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How to print.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many to show.")]
CursorOption = Annotated[
    str | None,
    typer.Option(
        help="Where to go on: the cursor that the page before ended with, with the same filters; times among them as "
        "times, not as so long ago."
    ),
]
EngineOption = Annotated[str | None, typer.Option(help="Only this engine: airflow, prefect, …")]
DeploymentOption = Annotated[str | None, typer.Option(help="Only this installation of an engine.")]
KindOption = Annotated[str | None, typer.Option(help="Only this kind of definition: dag, task, flow, …")]
