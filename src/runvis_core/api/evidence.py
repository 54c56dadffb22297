"""`/evidence`: an auditor's pack as a zip file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from runvis_core.api.exports import note_export
from runvis_core.api.state import state_of
from runvis_core.services.evidence import MAX_RUNS, collect_evidence
from runvis_core.services.evidence_pack import Subject, zip_pack

router = APIRouter()

ZIP: Final = "application/zip"
_CHUNK: Final = 64 * 1024
_IN_MEMORY: Final = 8 * 1024 * 1024


@router.get("/evidence", response_class=StreamingResponse, responses={200: {"content": {ZIP: {}}, "description": ""}})
def get_evidence(request: Request, subject: Annotated[Subject, Query()]) -> StreamingResponse:
    """Return the pack of a definition's runs in a span of time, as `runvis evidence` writes it.

    It says who erased what and why, as the entries of the log do. That it was taken out is an entry of the audit trail.
    """
    pack = collect_evidence(state_of(request).store, subject, now=datetime.now(UTC), most=MAX_RUNS)
    note_export(request, f"evidence of {subject.definition}", asked=subject, runs=pack.runs)
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed once it is sent
    zip_pack(pack, file)
    headers = {"Content-Disposition": 'attachment; filename="evidence.zip"', "Content-Length": str(file.tell())}
    file.seek(0)
    return StreamingResponse(_read(file), media_type=ZIP, headers=headers)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while data := file.read(_CHUNK):
            yield data
