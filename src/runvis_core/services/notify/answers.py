"""What is answered about notices. Needs no store."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from runvis_core.services.answers import Answer


class RuleStatus(Answer):
    """How a rule for notices is doing."""

    rule: str
    behind: int
    """Entries of the log that the rule has not looked at yet; none for one that tells of no ends."""
    pending: int = 0
    """Notices that wait."""
    sent: int = 0
    """Notices that were sent in the last 30 days."""
    quiet: int = 0
    """Occasions of the last 30 days that were not told of, since the definition had just been."""
    refused: int = 0
    """Notices of the last 30 days that the receiver refused for good, or that the template could not make."""
    refusal: str | None = None
    """Why, of the last one."""
    oldest_pending_at: AwareDatetime | None = None
    last_settled_at: AwareDatetime | None = None
    retry_at: AwareDatetime | None = None
    """When the receiver is tried again, while it does not take notices."""
    error: str | None = None
    """Why it does not, or why the rule can't look for what it is to tell of."""


class RuleStatuses(Answer):
    """How all rules are doing that ever began."""

    items: list[RuleStatus] = Field(default_factory=list[RuleStatus])
