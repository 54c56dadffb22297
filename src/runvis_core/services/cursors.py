"""Opaque cursors: the place where the next page of a list begins, bound to the list and to its filters."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from pydantic import BaseModel

from runvis_core.errors import CursorError
from runvis_core.services.filters import is_storable

_CHECK_BYTES: Final = 12
_MAX_LENGTH: Final = 8192


def write_cursor(place: Sequence[str], *, of: str, filters: BaseModel) -> str:
    """Return the cursor of `place`, the key of the last item shown, in the list named `of` with these filters."""
    data = json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(_check(data, of, filters) + data).decode("ascii").rstrip("=")


def read_cursor(cursor: str, *, of: str, filters: BaseModel, kinds: Sequence[Callable[[str], Any]]) -> list[Any]:
    """Return the place that `cursor` names, each part read by its kind.

    Raises `CursorError` if this list with these filters did not make it.
    """
    if len(cursor) > _MAX_LENGTH:
        raise _foreign(of)
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _foreign(of) from None
    check, data = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    if check != _check(data, of, filters):
        raise _foreign(of)
    try:
        # Anybody can compute the check, so nothing is taken for granted of what it stands for.
        said: Any = json.loads(data)
        place = cast("list[Any]", said) if isinstance(said, list) else []
        if write_cursor(place, of=of, filters=filters) == cursor:
            return [kind(part) for kind, part in zip(kinds, place, strict=True)]
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    raise _foreign(of)


def read_moment(text: str) -> datetime:
    """Read the time of a place."""
    return datetime.fromisoformat(text).astimezone(UTC)


def read_position(text: str) -> int:
    """Read the position in the log of a place. Raises `ValueError` for one that no log has."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(text)
    return number


def read_name(text: str) -> str:
    """Read the name of a place. Raises `ValueError` for one that no store has."""
    # A forged place may hold anything that JSON can.
    if not isinstance(text, str) or not is_storable(text):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(text)
    return text


def _check(data: bytes, of: str, filters: BaseModel) -> bytes:
    # No secret is needed: a cursor opens nothing that its reader may not see, it must only not be mistaken for another.
    said = b"\x00".join((of.encode(), one_form(filters).encode("utf-8", "replace"), data))
    return hashlib.sha256(said).digest()[:_CHECK_BYTES]


def one_form(filters: BaseModel) -> str:
    """Return what the filters ask for, the same however it was written."""
    said = {name: _one_value(value) for name, value in filters.model_dump().items()}
    return json.dumps(said, ensure_ascii=False, default=str)


def _one_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    # Several mean any of them, in any order.
    return sorted({str(one) for one in cast("list[Any]", value)}) if isinstance(value, list) else value


def _foreign(of: str) -> CursorError:
    return CursorError(
        f"cursor: it was not made by this list of {of} with these filters, or was changed on the way; "
        "take next_cursor as it came, with the same filters, or leave it out to begin anew"
    )
