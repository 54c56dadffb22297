"""Values of user code as JSON: bounded in size and depth, and never by running the user's own `__repr__`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from itertools import count, islice
from math import isfinite
from pathlib import PurePath
from typing import Any, Final, cast
from uuid import UUID

from pydantic import BaseModel, JsonValue

MAX_ITEMS: Final = 100
"""How many items of one container are kept; a line says how many are not."""
MAX_DEPTH: Final = 8
MAX_VALUES: Final = 2_000
"""How many values are looked at in all: wide containers of wide containers grow by powers."""
MAX_INTEGER_BITS: Final = 63


def json_object(values: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Return values by name as JSON can hold them. What JSON has no form for is named by its type alone.

    A task can be called with a data frame of any size: to print one would take the flow's own time.
    """
    return _object(values, 0, count())


def type_name(value: Any) -> str:
    """Return the name of a value's type, as it stands for the value."""
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _shown(value: Any, depth: int, seen: Iterator[int]) -> JsonValue:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= MAX_INTEGER_BITS else str(value)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Enum):
        return _shown(value.value, depth, seen)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID | PurePath | Decimal | timedelta):
        return str(value)
    if depth >= MAX_DEPTH or next(seen) >= MAX_VALUES:
        return type_name(value)
    return _container(value, depth, seen)


def _container(value: Any, depth: int, seen: Iterator[int]) -> JsonValue:
    if isinstance(value, BaseModel):
        return _object({name: getattr(value, name) for name in type(value).model_fields}, depth, seen)
    if is_dataclass(value) and not isinstance(value, type):
        return _object({item.name: getattr(value, item.name) for item in fields(value)}, depth, seen)
    if isinstance(value, Mapping):
        return _object(cast(Mapping[Any, Any], value), depth, seen)
    if isinstance(value, list | tuple | set | frozenset):
        return _array(cast("Sequence[Any] | Set[Any]", value), depth, seen)
    return type_name(value)


def _object(value: Mapping[Any, Any], depth: int, seen: Iterator[int]) -> dict[str, JsonValue]:
    kept = {str(key): _shown(item, depth + 1, seen) for key, item in islice(value.items(), MAX_ITEMS)}
    if len(value) > MAX_ITEMS:
        kept["…"] = f"{len(value) - MAX_ITEMS} more"
    return kept


def _array(value: Sequence[Any] | Set[Any], depth: int, seen: Iterator[int]) -> JsonValue:
    kept = [_shown(item, depth + 1, seen) for item in islice(value, MAX_ITEMS)]
    return [*kept, f"… {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else kept
