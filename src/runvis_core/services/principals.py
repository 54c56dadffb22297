"""Who speaks to a store: by what name, for what, and on whose behalf."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from runvis_core.errors import EventError
from runvis_core.model.decision import Binding, Scope
from runvis_core.model.event import EventBase

PERSON: Final = "person:"
"""Before the name of who a trusted proxy says it is."""
LOCAL: Final = "local"
"""Who asks on this machine without a token; with a colon and a name, who has the database itself."""
ALL_SCOPES: Final = frozenset(Scope)
UNBOUND: Final = Binding()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who speaks. The name stands in each entry that they bring."""

    name: str
    scopes: frozenset[Scope]
    binding: Binding = field(default=UNBOUND)


def is_name_of_token(name: str) -> bool:
    """Return whether a token may be called so: the trail tells people and this machine's users from tokens by name."""
    return name.isprintable() and name != LOCAL and not name.startswith((PERSON, f"{LOCAL}:"))


def check_binding(binding: Binding, event: EventBase) -> None:
    """Raise `EventError` for an event that is not the principal's to tell."""
    fault = find_binding_fault(binding, deployment=event.deployment, witness=event.witness, team=event.team)
    if fault is not None:
        raise EventError(f"event.{fault[0]}", fault[1])


def find_binding_fault(binding: Binding, *, deployment: str, witness: str, team: str | None) -> tuple[str, str] | None:
    """Return which field of a report is not the principal's to say, and why; None if all are."""
    if binding.deployments and deployment not in binding.deployments:
        return "deployment", f"the token speaks for {_named(binding.deployments)}, not for '{deployment}'"
    if binding.witnesses and witness not in binding.witnesses:
        return "witness", f"the token speaks as {_named(binding.witnesses)}, not as '{witness}'"
    if binding.team is not None and team != binding.team:
        other = "none" if team is None else f"'{team}'"
        return "team", f"the token speaks for team '{binding.team}', not for {other}"
    return None


def _named(words: Any) -> str:
    return " or ".join(f"'{word}'" for word in sorted(map(str, words)))
