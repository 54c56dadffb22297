"""What decisions hold in their `details`, by name. A token, a hold and an erasure are what their decisions say."""

from __future__ import annotations

from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from runvis_core.model.event import Digest, Name, Short
from runvis_core.model.state import Witness

TOKEN_ISSUED: Final = "token issued"  # noqa: S105 - a word of the log
TOKEN_REVOKED: Final = "token revoked"  # noqa: S105
HOLD_PLACED: Final = "hold placed"
HOLD_RELEASED: Final = "hold released"
ERASURE: Final = "erasure"
DECLARATION: Final = "declaration"


class Scope(StrEnum):
    """What a token is for. None includes another."""

    INGEST = "ingest"
    """Bring events and signs of life."""
    READ = "read"
    """Ask about runs, definitions and the log."""
    ADMIN = "admin"
    """Issue and revoke tokens, place and release holds, erase, read the audit trail."""


class Binding(BaseModel):
    """For whom a principal may speak. What is empty binds nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deployments: frozenset[Short] = frozenset()
    """The installations of engines whose facts it may bring."""
    witnesses: frozenset[Witness] = frozenset()
    """As whom it may tell them."""
    team: Short | None = None
    """The engine's team whose facts it may bring: events that name it, about runs that no other team told of."""


class TokenIssued(BaseModel):
    """The details of a `token issued`. The token itself is nowhere, only its digest."""

    model_config = ConfigDict(frozen=True)

    name: Short
    """The principal that stands in each entry which comes with the token."""
    digest: Digest
    """SHA-256 of the token."""
    scopes: frozenset[Scope]
    binding: Binding = Binding()
    expires_at: AwareDatetime


class Held(BaseModel):
    """What a legal hold covers: a run, or all runs that match each field which is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: UUID | None = None
    engine: Short | None = None
    deployment: Short | None = None
    definition: Name | None = None

    @model_validator(mode="after")
    def _covers_something(self) -> Held:
        if all(value is None for value in (self.run_id, self.engine, self.deployment, self.definition)):
            raise ValueError("a hold names a run, an engine, a deployment or a definition")
        return self


class Declared(BaseModel):
    """The details of a `declaration`: what the log's keys say of themselves, so that the log testifies to it too."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    """Its place among the log's declarations."""
    note: str
    """The signed note."""


class ErasedBody(BaseModel):
    """A body that an erasure removes with its salt; the entry keeps its digest."""

    model_config = ConfigDict(frozen=True)

    position: int = Field(ge=1)
    """Of the entry that holds the digest."""
    name: str
    digest: Digest


class Erased(BaseModel):
    """The details of an `erasure`."""

    model_config = ConfigDict(frozen=True)

    bodies: tuple[ErasedBody, ...]
