"""Is the server alive, and can it serve? Open to all, so they say nothing more."""

from __future__ import annotations

from fastapi import APIRouter, Request
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from runvis_core.api.problems import problem
from runvis_core.api.state import state_of
from runvis_core.errors import UnreachableError
from runvis_core.services.reading import reading
from runvis_core.store.tables import head

router = APIRouter(prefix="/health")


@router.get("/live")
def get_live() -> dict[str, str]:
    """Say that the process is there."""
    return {"status": "live"}


@router.get("/ready", response_model=None)
def get_ready(request: Request) -> dict[str, str] | Response:
    """Say whether the store can be read."""
    try:
        with reading(state_of(request).store) as connection:
            connection.scalar(select(head.c.position))
    except (UnreachableError, SQLAlchemyError):
        return problem(503, "store-unreachable", "the store can't be read")
    return {"status": "ready"}
