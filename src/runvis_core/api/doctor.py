"""`/doctor`: what the server finds about its store."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request

from runvis_core.api.state import state_of
from runvis_core.services.answers import Check
from runvis_core.services.doctor import examine_store

router = APIRouter()


@router.get("/doctor")
def get_doctor(request: Request) -> list[Check]:
    """Return what was looked at in the store, and what was found."""
    return examine_store(state_of(request).store, now=datetime.now(UTC))
