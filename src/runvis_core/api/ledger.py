"""`/checkpoints`, `/proofs`, and the log's tiles at the paths of C2SP `tlog-tiles`, for others' verifiers."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from runvis_core.api.exports import note_export
from runvis_core.api.paths import RunName
from runvis_core.api.state import state_of
from runvis_core.ledger.tiles import WIDTH, find_tile
from runvis_core.services.checkpoints import get_checkpoint_note, list_checkpoints
from runvis_core.services.filters import DEFAULT_LIMIT, MAX_LIMIT
from runvis_core.services.ledger_answers import CheckpointPage
from runvis_core.services.proofs import get_tile, prove_run

router = APIRouter()
tile_router = APIRouter()

_FOR_GOOD: Final = "private, max-age=604800, immutable"


class CheckpointQuery(BaseModel):
    """Which checkpoints."""

    model_config = ConfigDict(extra="forbid")

    before: int | None = Field(default=None, ge=1, le=2**63 - 1, description="Those with smaller numbers only.")
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many at most.")


@router.get("/checkpoints")
def get_checkpoints(request: Request, query: Annotated[CheckpointQuery, Query()]) -> CheckpointPage:
    """Return the log's signed checkpoints, the newest first."""
    return list_checkpoints(state_of(request).store, limit=query.limit, before=query.before)


@router.get("/proofs/{name:name}", response_class=Response)
def get_proof(request: Request, name: RunName) -> Response:
    """Return the proof bundle of a run, byte for byte as `runvis verify-proof` wants it.

    That it was taken out is an entry of the audit trail.
    """
    proof = prove_run(state_of(request).store, name)
    note_export(request, f"proof of run {proof.run_id}", entries=proof.entries)
    return Response(proof.data, media_type="application/json")


@tile_router.get("/checkpoint", response_class=Response)
def get_latest_checkpoint(request: Request) -> Response:
    """Return the last checkpoint as a signed note."""
    note = get_checkpoint_note(state_of(request).store)
    return Response(note, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-cache"})


@tile_router.get("/tile/{path:path}", response_class=Response)
def get_one_tile(
    request: Request, path: Annotated[str, Path(description="`<level>/<number>[.p/<width>]` or `entries/…`.")]
) -> Response:
    """Return a tile of the log's tree, or a bundle of its entries."""
    data = get_tile(state_of(request).store, f"tile/{path}")
    tile = find_tile(f"tile/{path}")
    headers = {"Cache-Control": _FOR_GOOD} if tile is not None and tile.width == WIDTH else {}
    return Response(data, media_type="application/octet-stream", headers=headers)
