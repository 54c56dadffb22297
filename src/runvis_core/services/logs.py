"""What a process that serves or follows logs: lines for a person, or one JSON object a line for a collector."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

REQUESTS: Final = "runvis.requests"
"""The logger of requests. What it says besides its message are the names in `REQUEST_FIELDS`."""
REQUEST_FIELDS: Final = ("method", "path", "status", "seconds", "principal")
_TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"

request_id: ContextVar[str | None] = ContextVar("runvis_request_id", default=None)
"""The id of the request that is being served here."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: time, level, logger, message, the request's id, and what it says besides."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (known := request_id.get()) is not None:
            said["request_id"] = known
        said |= {name: value for name in REQUEST_FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(_storable(said), default=str).decode()


def _storable(said: dict[str, Any]) -> dict[str, Any]:
    # A lone surrogate, as in a path's undecodable byte, has no place in UTF-8.
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in said.items()
    }


def set_up_logs(log_format: Literal["text", "json"]) -> None:
    """Let this process log to stderr. A collector is also told of each request, a terminal of failed ones only."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger(REQUESTS).setLevel(logging.INFO if log_format == "json" else logging.WARNING)
    # They say each request of ours and each step of an upgrade.
    for name in ("httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
