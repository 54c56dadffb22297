"""`/notices`: how the rules for notices are doing. Where they go is not told: such addresses hold secrets."""

from __future__ import annotations

from fastapi import APIRouter, Request

from runvis_core.api.state import state_of
from runvis_core.services.notify.answers import RuleStatuses
from runvis_core.services.notify.status import list_rules

router = APIRouter()


@router.get("/notices")
def get_notices(request: Request) -> RuleStatuses:
    """Return how each rule for notices is doing: what waits, what was sent, and why a receiver does not take them."""
    return list_rules(state_of(request).store)
