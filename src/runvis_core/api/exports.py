"""What is taken out of the store over HTTP, in the audit trail."""

from __future__ import annotations

from pydantic import BaseModel, JsonValue
from starlette.requests import Request

from runvis_core.api.heads import is_head
from runvis_core.api.state import principal_of, state_of
from runvis_core.services.decisions import record_export


def note_export(request: Request, what: str, *, asked: BaseModel | None = None, **details: JsonValue) -> None:
    """Record that who asks takes something out, as `record_export` says; of a HEAD nothing is taken."""
    if not is_head(request):
        record_export(state_of(request).store, what, principal=principal_of(request).name, asked=asked, **details)
