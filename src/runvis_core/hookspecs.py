"""The hooks by which a plugin joins in: `@hookimpl` functions in a module that the entry-point group `runvis` names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from runvis_core.ledger.made import MadeCheckpoint
    from runvis_core.model.entry import Entry
    from runvis_core.model.event import EventBase
    from runvis_core.model.run import Run
    from runvis_core.services.lineage_answers import NewLoop
    from runvis_core.settings import Settings

PROJECT = "runvis"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def runvis_engines() -> Iterable[str]:  # pyright: ignore[reportReturnType]
    """Return the names of the engines that this plugin adapts."""


@hookspec
def runvis_redact(event: EventBase) -> EventBase | None:
    """Return the event without what must not be recorded, or None if it may be recorded as it is."""


@hookspec
def runvis_enrich(event: EventBase) -> EventBase | None:
    """Return the event with what the plugin knows besides, or None to leave it as it is."""


@hookspec
def runvis_events_recorded(entries: Sequence[Entry]) -> None:
    """Take note of new entries, after they are durable."""


@hookspec
def runvis_run_ended(run: Run) -> None:
    """Take note of a run that ended, after this is durable."""


@hookspec
def runvis_checkpoint_made(checkpoint: MadeCheckpoint, settings: Settings) -> str | None:
    """Take a new checkpoint of the log to where it can't be rewritten; return a witness's signature lines, if any."""


@hookspec
def runvis_loop_detected(loop: NewLoop) -> None:
    """Take note of a loop: a chain of causes came back to its beginning by a way that none had taken before."""


@hookspec(firstresult=True)
def runvis_store(url: str) -> Any:
    """Return the open `Store` at this address, or None if it is not this plugin's to open."""


@hookspec(firstresult=True)
def runvis_transport(url: str) -> Any:
    """Return the `Transport` to this address, or None if it is not this plugin's to serve."""


@hookspec
def runvis_followers() -> Mapping[str, Any]:  # pyright: ignore[reportReturnType]
    """Return the followers of this plugin by the name of their engine: `follow(url, *, store, settings, stop)`."""


@hookspec
def runvis_cli(group: Any) -> None:
    """Add commands to the command line, a `typer.Typer`."""
