"""What a run is called where people read it. Pure."""

from __future__ import annotations

from typing import Protocol


class Named(Protocol):
    """A run, or what an answer says of one."""

    @property
    def definition(self) -> str | None:
        """What ran."""
        ...

    @property
    def native_id(self) -> str | None:
        """The engine's own id."""
        ...


def name_run(run: Named) -> str | None:
    """Return the name of what ran, and of one of the runs of a mapped step which of them it is: `etl.load[3]`.

    A mapped step's runs are told apart by the engine's id alone, `…/<step>/<index>/<attempt>`: no other has the step's
    name there. None for a run whose definition nobody told.
    """
    definition, native_id = run.definition, run.native_id
    if definition is None or native_id is None:
        return definition
    parts = native_id.rsplit("/", 3)
    if len(parts) < 4 or not all(part.isascii() and part.isdecimal() for part in parts[2:]):
        return definition
    step = parts[1].replace("%2F", "/").replace("%25", "%")
    return f"{definition}[{parts[2]}]" if f".{definition}".endswith(f".{step}") else definition
