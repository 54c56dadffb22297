"""The transport to a server: `POST /api/v1/events`. Loaded by the delivery thread when there is something to send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, cast

import orjson

from runvis_core.emit.circuit import public_address
from runvis_core.emit.posting import Answer, Poster, PostingErrors, TimeLimits
from runvis_core.emit.transport import Outcome
from runvis_core.errors import DeliveryError, RefusedError, SettingsError
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.worker_settings import WorkerSettings

EVENTS_PATH: Final = "/api/v1/events"
LIMITS: Final = TimeLimits(connect=3.0, read=10.0)
PAUSE_SECONDS: Final = 60.0
"""How long to leave a server alone that asked for a pause and didn't say how long."""

PROBLEM: Final = "application/problem+json"


class HttpTransport:
    """Posts batches to a server. Not for more than one thread."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._address = f"{(settings.url or '').rstrip('/')}{EVENTS_PATH}"
        self._public_address = public_address(self._address)
        self._token: str | None = None
        self._has_token = False
        self._paused_seconds: float | None = None
        self._poster = Poster(self._address, LIMITS)

    def deliver(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """Post items; return the server's outcome of each."""
        if self._paused_seconds is not None:
            seconds, self._paused_seconds = self._paused_seconds, None
            raise DeliveryError(f"{self._public_address} asks for a pause", retry_after_seconds=seconds)
        response = self._post(b'{"items":[' + b",".join(items) + b"]}")
        reply = _json(response)
        outcomes = _outcomes(reply, len(items))
        if _is_refusal(response):
            if response.status == HTTPStatus.UNPROCESSABLE_ENTITY and outcomes is not None:
                return outcomes  # Each item was refused, and it says why.
            raise RefusedError(f"{response.status} {_detail(response, reply)}")
        if reply.get("paused"):
            self._paused_seconds = _retry_after(response) or PAUSE_SECONDS
        if outcomes is not None:
            return outcomes
        if self._paused_seconds is not None:
            return self.deliver(items)
        raise DeliveryError(f"{self._public_address} answered without an outcome for each event: is RUNVIS_URL right?")

    def beat(self, beats: Sequence[Heartbeat]) -> None:
        """Post signs of life."""
        response = self._post(
            orjson.dumps({"items": [], "heartbeats": [beat.model_dump(mode="json") for beat in beats]})
        )
        if _is_refusal(response):
            raise RefusedError(f"{response.status} {_detail(response, _json(response))}")

    def close(self) -> None:
        """Close the connection."""
        self._poster.close()

    def _post(self, content: bytes) -> Answer:
        response = self._send(content)
        if response.status == HTTPStatus.UNAUTHORIZED and self._read_token():
            response = self._send(content)  # The token was renewed meanwhile.
        if response.is_success or _is_refusal(response):
            return response
        said = f"{response.status} {_detail(response, _json(response))}{_remedy(response)}"
        raise DeliveryError(
            f"{self._public_address} answered {said}",
            retry_after_seconds=_retry_after(response),
        )

    def _send(self, content: bytes) -> Answer:
        if not self._has_token:
            self._read_token()
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return self._poster.post(content, headers)
        except PostingErrors as error:
            raise DeliveryError(f"{self._public_address} can't be reached: {type(error).__name__}: {error}") from error

    def _read_token(self) -> bool:
        """Read the token again; return whether it is another one."""
        try:
            token = self._settings.read_token()
        except SettingsError as error:
            raise DeliveryError(str(error)) from error
        changed = token != self._token
        self._token, self._has_token = token, True
        return changed


def _is_refusal(response: Answer) -> bool:
    """Whether the batch is at fault. Everything else may pass, so it never discards anything.

    A proxy may say 413 too; a 400 or 422 must be a RunVis server's, in its own form.
    """
    if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return True
    is_problem = response.headers.get("Content-Type", "").startswith(PROBLEM)
    return is_problem and response.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}


def _json(response: Answer) -> dict[str, Any]:
    try:
        reply = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return reply if isinstance(reply, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _outcomes(reply: dict[str, Any], number: int) -> list[Outcome] | None:
    """Return what a reply says of each of `number` items, None when it doesn't."""
    outcomes = reply.get("outcomes")
    if not isinstance(outcomes, list):
        return None
    said = [cast(Outcome, outcome) for outcome in cast(list[Any], outcomes) if isinstance(outcome, dict)]
    return said if len(said) == number else None


def _detail(response: Answer, reply: dict[str, Any]) -> str:
    detail = reply.get("detail") or reply.get("title") or response.reason
    return str(detail)[:500]


def _remedy(response: Answer) -> str:
    if response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ": set RUNVIS_TOKEN or RUNVIS_TOKEN_FILE to a token that the server takes"
    if response.status == HTTPStatus.NOT_FOUND:
        return ": is RUNVIS_URL a RunVis server's?"
    return ""


def _retry_after(response: Answer) -> float | None:
    """Return the seconds that the server asks us to wait; it may say a number or a date."""
    text = response.headers.get("Retry-After")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
