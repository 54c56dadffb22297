"""Exit statuses, and how an error becomes one."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from runvis_core.cli.text import clean
from runvis_core.errors import (
    CursorError,
    DeliveryError,
    NotFoundError,
    PastError,
    RunVisError,
    SettingsError,
    StoreAddressError,
    UnreachableError,
    WideQuestionError,
)


class Exit(IntEnum):
    """What a command's exit status means."""

    OK = 0
    FAILED = 1
    """It failed, or found what it was to look for: a problem."""
    USAGE = 2
    """The command line or a setting is wrong."""
    NOT_FOUND = 3
    """There is no such thing, or there are several of that name."""
    UNREACHABLE = 4
    """The store or the server can't be reached."""


_STATUSES: dict[type[RunVisError], Exit] = {
    NotFoundError: Exit.NOT_FOUND,
    UnreachableError: Exit.UNREACHABLE,
    DeliveryError: Exit.UNREACHABLE,
    SettingsError: Exit.USAGE,
    StoreAddressError: Exit.USAGE,
    CursorError: Exit.USAGE,
    PastError: Exit.USAGE,
    WideQuestionError: Exit.USAGE,
}


def exit_status(error: RunVisError) -> Exit:
    """Return the exit status that an error ends the command with."""
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), Exit.FAILED)


class Group(TyperGroup):
    """A group of commands whose errors are said in one line on stderr, and become an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except RunVisError as error:
            typer.echo(f"runvis: {clean(str(error))}", err=True)
            raise typer.Exit(exit_status(error)) from error
