"""What a run hands on to a run that it starts in another engine: its own id, and the correlation id that they share.

It travels with the started run as that engine lets it: under the key `runvis` of a JSON object (Airflow's conf), or as
labels that begin with `runvis.` (Prefect). Whoever reads it takes it for a claim: what is not as it should be is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

KEY: Final = "runvis"
"""The key of an object that is ours; what a person or a program puts there comes to nothing if it is no cause."""
LABEL: Final = "runvis."
"""How our labels begin."""

_TRACE_ID: Final = re.compile("[0-9a-f]{32}")
_NO_TRACE: Final = "0" * 32


class Cause(NamedTuple):
    """The run that starts another one, and the correlation id of both."""

    run_id: UUID
    correlation_id: str | None = None

    def as_object(self) -> dict[str, str]:
        """Return what lies under the key of an object."""
        said = {"caused_by": str(self.run_id), "correlation_id": self.correlation_id}
        return {name: value for name, value in said.items() if value is not None}

    def as_labels(self) -> dict[str, str]:
        """Return the labels that say the same."""
        return {f"{LABEL}{name}": value for name, value in self.as_object().items()}


def read_object(carrier: object) -> Cause | None:
    """Return the cause that an object carries under its key; None where there is none, or it is not as it should be."""
    if not isinstance(carrier, Mapping):
        return None
    said = cast("Mapping[str, Any]", carrier).get(KEY)
    return _read(cast("Mapping[str, Any]", said)) if isinstance(said, Mapping) else None


def read_labels(labels: object) -> Cause | None:
    """The same for labels."""
    if not isinstance(labels, Mapping):
        return None
    known = cast("Mapping[str, Any]", labels)
    return _read({name: known.get(f"{LABEL}{name}") for name in ("caused_by", "correlation_id")})


def read_traceparent(value: object) -> str | None:
    """Return the trace id of a W3C `traceparent`; None where it has none."""
    parts = str(value).split("-")
    return _trace_id(parts[1]) if len(parts) == 4 else None


def _read(said: Mapping[str, Any]) -> Cause | None:
    try:
        run_id = UUID(str(said.get("caused_by")))
    except ValueError:
        return None
    return Cause(run_id, _trace_id(said.get("correlation_id")))


def _trace_id(value: object) -> str | None:
    # All zeros is how W3C says that there is none.
    is_one = isinstance(value, str) and _TRACE_ID.fullmatch(value) and value != _NO_TRACE
    return cast("str", value) if is_one else None
