"""Opaque cursors: the place where the next page of a list begins, bound to the list and to its filters."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel

from runvis_core.errors import CursorError

_CHECK_BYTES: Final = 12
_MAX_LENGTH: Final = 8192


def write_cursor(place: Sequence[str], *, of: str, filters: BaseModel) -> str:
    """Return the cursor of `place`, the key of the last item shown, in the list named `of` with these filters."""
    data = json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(_check(data, of, filters) + data).decode("ascii").rstrip("=")


def read_cursor(cursor: str, *, of: str, filters: BaseModel) -> list[str]:
    """Return the place that `cursor` names. Raises `CursorError` if this list with these filters did not make it."""
    if len(cursor) > _MAX_LENGTH:
        raise _foreign(of)
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _foreign(of) from None
    check, data = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    if check != _check(data, of, filters) or write_cursor(json.loads(data), of=of, filters=filters) != cursor:
        raise _foreign(of)
    return json.loads(data)


def _check(data: bytes, of: str, filters: BaseModel) -> bytes:
    # No secret is needed: a cursor opens nothing that its reader may not see, it must only not be mistaken for another.
    said = b"\x00".join((of.encode(), filters.model_dump_json().encode("utf-8", "replace"), data))
    return hashlib.sha256(said).digest()[:_CHECK_BYTES]


def _foreign(of: str) -> CursorError:
    return CursorError(
        f"cursor: it was not made by this list of {of} with these filters, or was changed on the way; "
        "take next_cursor as it came, with the same filters, or leave it out to begin anew"
    )
