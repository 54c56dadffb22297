"""What is answered about decisions: tokens, legal holds, erasures and the audit trail. Needs no store."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, field_validator

from runvis_core.model.decision import ErasedBody, Scope
from runvis_core.model.event import Name, Short
from runvis_core.model.state import Witness
from runvis_core.services.answers import Answer
from runvis_core.services.filters import DEFAULT_LIMIT, MAX_LIMIT, Word
from runvis_core.services.principals import LOCAL, PERSON, is_name_of_token

DEFAULT_DAYS = 90
MAX_DAYS = 3650


class TokenRequest(BaseModel):
    """A token that is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Short
    """The principal that is to stand in each entry which comes with the token."""
    scopes: frozenset[Scope] = Field(min_length=1)
    """What it is for."""
    deployments: frozenset[Short] = frozenset()
    """The installations for which it may bring events: needed to ingest."""
    witnesses: frozenset[Witness] = frozenset()
    """As whom it may tell them: needed to ingest."""
    team: Short | None = None
    """The engine's team for which alone it may bring events: each must name it."""
    days: int = Field(default=DEFAULT_DAYS, ge=1, le=MAX_DAYS)
    """In how many days it expires."""

    @field_validator("name")
    @classmethod
    def _name_is_a_token_s(cls, value: str) -> str:
        if not is_name_of_token(value):
            raise ValueError(
                f"is no name of a token: {PERSON!r} and {LOCAL!r} are how people are named, and a name is printable"
            )
        return value


class TokenView(Answer):
    """A token, without the token."""

    token_id: str
    name: str
    """The principal that stands in each entry which comes with the token."""
    scopes: list[Scope]
    """What it is for."""
    deployments: list[str]
    """For which installations it may bring events; empty for all."""
    witnesses: list[Witness]
    """As whom it may tell them; empty for all."""
    team: str | None = None
    """For which team of the engine alone; none for all."""
    issued_at: AwareDatetime
    issued_by: str
    expires_at: AwareDatetime
    revoked_at: AwareDatetime | None = None
    valid: bool
    """Whether the server takes it now."""


class IssuedToken(TokenView):
    """A new token. It is shown this once: only its digest is kept."""

    token: str


class RevokeRequest(BaseModel):
    """Why a token or a hold ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str | None = Field(default=None, max_length=1000)


class HoldRequest(BaseModel):
    """A legal hold that is asked for: on a run, or on all runs that match each field which is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Name | None = None
    """A run, by any of its names."""
    engine: Short | None = None
    deployment: Short | None = None
    definition: Name | None = None
    reason: str = Field(min_length=1, max_length=1000)


class HoldView(Answer):
    """A legal hold: nothing that it covers is erased until it is released."""

    hold_id: str
    run_id: UUID | None = None
    """The run that it covers; else all runs that match each of the fields below that is set."""
    engine: str | None = None
    deployment: str | None = None
    definition: str | None = None
    reason: str | None = None
    placed_at: AwareDatetime
    placed_by: str
    released_at: AwareDatetime | None = None


class ErasureRequest(BaseModel):
    """What is to be erased of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Name
    """The run, by any of its names."""
    bodies: frozenset[str] = frozenset()
    """Only bodies of these names: `parameters`, `traceback`, …; all if there are none."""
    reason: str = Field(min_length=1, max_length=1000)
    """Why: it stays in the log for good, so it says nothing of what is erased."""
    dry_run: bool = False
    """Say what would be erased, and erase nothing."""


class ErasureView(Answer):
    """What was erased, or would be."""

    run_id: UUID
    bodies: list[ErasedBody]
    """The bodies, each by its entry, name and digest."""
    decisions: list[int]
    """The positions of the decisions; none for a dry run, or if there was nothing to erase."""
    held_by: list[str]
    """The legal holds that forbid it."""
    remaining: str | None = None
    """What the database may still keep of it, and who can remove that."""


class AuditQuery(BaseModel):
    """Which part of the trail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: int | None = Field(default=None, ge=1, le=2**63 - 1, description="What came before this entry.")
    name: Word | None = Field(default=None, description="Only decisions or accesses of this name, e.g. `erasure`.")
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many at most.")


class AuditItem(Answer):
    """One thing that somebody decided or did."""

    position: int
    kind: str
    """`decision` or `access`."""
    name: str
    subject: str
    run_id: UUID | None = None
    principal: str
    occurred_at: AwareDatetime
    reason: str | None = None
    details: dict[str, JsonValue]


class AuditPage(Answer):
    """The audit trail, newest first."""

    items: list[AuditItem]
    before: int | None = None
    """Ask again with `before` to go on; None at the end."""


def shown_details(details: dict[str, Any]) -> dict[str, Any]:
    """Return a decision's details as the trail shows them: of a token no digest."""
    return {name: value for name, value in details.items() if name != "digest"}
