"""What is answered about the ledger: the same models from a store and over HTTP. Needs no store."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from runvis_core.services.answers import Answer


class CheckpointView(Answer):
    """A checkpoint of the log."""

    number: int
    origin: str
    size: int
    """How many entries it covers, from the first."""
    root: str
    """Of the tree over them, hexadecimal."""
    made_at: AwareDatetime
    witnesses: list[str] = Field(default_factory=list[str])
    """Who cosigned it."""
    note: str
    """The signed note itself, with the cosignatures: what a verifier reads."""


class CheckpointPage(Answer):
    """Checkpoints, the newest first."""

    items: list[CheckpointView]
