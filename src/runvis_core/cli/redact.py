"""`runvis redact`: what is taken out of events before they are written."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from runvis_core.cli.exits import Group
from runvis_core.cli.options import OutputOption
from runvis_core.cli.output import Format, to_json
from runvis_core.cli.text import clean
from runvis_core.emit.redaction import Redactor
from runvis_core.emit.sealing import MAX_BODY_TEXT_CHARACTERS
from runvis_core.errors import SettingsError
from runvis_core.settings import load_settings

redact = typer.Typer(cls=Group, no_args_is_help=True, help="What is taken out of events before they are written.")


@redact.command("test")
def show_command(
    file: Annotated[Path, typer.Argument(help="A file of JSON or of any text; - reads standard input.")],
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what the rules make of a file: parameters, a log, a traceback. Nothing is recorded.

    The rules are those of an engine's process with the settings that are in force here (RUNVIS__EMIT__SECRET_KEYS).
    What the engine itself registers as secret is known only inside its tasks.

    Examples:

      runvis redact test parameters.json

      env | runvis redact test -
    """
    text = _read(file)
    redactor = Redactor(load_settings().emit.secret_keys)
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict | list):
        shown: Any = redactor.redact(value, max_characters=MAX_BODY_TEXT_CHARACTERS)
        places = list(_changed(value, shown, ""))
    else:
        shown = redactor.redact_text(text)
        places = _changed_lines(text, shown)
    if output is not Format.TABLE:
        typer.echo(to_json({"redacted": shown, "places": places}, indent=2 if output is Format.JSON else None))
        return
    typer.echo(clean(shown, keep_lines=True) if isinstance(shown, str) else to_json(shown, indent=2))
    for place in places:
        typer.echo(clean(f"redacted: {place}"), err=True)
    if not places:
        typer.echo("nothing was redacted", err=True)


def _read(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error}") from error
    return data.decode("utf-8", "replace")


def _changed(before: Any, after: Any, path: str) -> Iterator[str]:
    """Yield where two JSON values differ, as dotted paths."""
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for key, value in old.items():
            place = f"{path}.{key}" if path else key
            if key in new:
                yield from _changed(value, new[key], place)
            else:
                yield f"{path}.(a key)" if path else "(a key)"
    elif isinstance(before, list) and isinstance(after, list):
        old_items, new_items = cast("list[Any]", before), cast("list[Any]", after)
        for place, (one, other) in enumerate(zip(old_items, new_items, strict=False)):
            yield from _changed(one, other, f"{path}[{place}]")
        if len(old_items) != len(new_items):
            yield f"{path} (cut)"
    elif before != after:
        yield path or "the whole"


def _changed_lines(before: str, after: str) -> list[str]:
    old, new = before.splitlines(), after.splitlines()
    if len(old) != len(new):
        # A private key has several lines.
        return [f"{len(old)} lines became {len(new)}"]
    return [f"line {number}" for number, (one, other) in enumerate(zip(old, new, strict=True), 1) if one != other]
