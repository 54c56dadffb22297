"""A notice's text, and its way to the receiver."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import httpx
import orjson
from jinja2 import Template

from runvis_core.errors import SettingsError
from runvis_core.services.answers import RunSummary
from runvis_core.services.labels import name_run
from runvis_core.services.notify.rules import Rule

DEADLINE_SECONDS: Final = 15.0
"""How long a message may take in all: a receiver that answers a byte at a time must not hold up its rule."""
_TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0)
NOTICE_ID: Final = "X-RunVis-Notice"
"""The header that names a notice, so that a receiver who gets one twice can tell."""
_LATER: Final = frozenset({401, 403, 404, 408, 421, 425, 429})
"""Refusals that somebody can mend at the receiver or in the settings: the notice waits for that."""
_VERBS: Final = {
    "run_ended": "ended",
    "silence": "fell silent",
    "loop_detected": "closed a loop of causes",
    "test": "is a test",
}


class Message(NamedTuple):
    """What a receiver gets."""

    content: bytes
    media_type: str


class Answer(NamedTuple):
    """What became of a message: it was taken, refused for good, or is to be sent again later."""

    is_taken: bool
    is_final: bool
    reason: str = ""
    """Why it was not taken, without anything secret in it."""
    is_answered: bool = True
    """Whether the receiver said anything."""
    retry_after: timedelta = timedelta(0)
    """How long the receiver asks to be left alone."""


def write_message(
    rule: Rule,
    *,
    notice_id: UUID,
    kind: str,
    made_at: datetime,
    run: RunSummary | None,
    public_url: str | None,
    state: str | None = None,
) -> Message:
    """Return a notice as its rule wants it: by its template, else as JSON.

    `state` is the one in which the run ended that the notice tells of; it may have another one by now. Raises
    `SettingsError` where the template can't be filled in.
    """
    link = f"{public_url}/runs/{run.run_id}" if public_url and run is not None else None
    said: dict[str, Any] = {
        "notice_id": str(notice_id),
        "rule": rule.name,
        "kind": kind,
        "state": state,
        "made_at": made_at.isoformat(),
        "text": _text(kind, run, link, state),
        "link": link,
        "run": run.model_dump(mode="json") if run is not None else None,
    }
    if rule.template is None:
        return Message(orjson.dumps(said), "application/json")
    content = _fill(rule.name, rule.template, said)
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return Message(content, "text/plain; charset=utf-8")
    return Message(content, "application/json")


def _fill(name: str, template: Template, said: dict[str, Any]) -> bytes:
    try:
        return template.render(said).encode("utf-8", "replace")
    except Exception as error:
        # Filters raise whatever they like for a value that they were not made for.
        raise SettingsError(
            f"the template of the rule {name!r} can't be filled in: {type(error).__name__}: {error}"
        ) from error


def _text(kind: str, run: RunSummary | None, link: str | None, state: str | None) -> str:
    if run is None:
        return f"RunVis: a run {_VERBS[kind]}; it is no longer in the store"
    name = f"{run.engine} {run.deployment} {name_run(run) or run.native_id or run.run_id}"
    return f"RunVis: {name} {_VERBS[kind]}" + (f" {state}" if state else "") + (f" {link}" if link else "")


def send(rule: Rule, message: Message, *, notice_id: UUID) -> Answer:
    """Post a message. Never raises for what a receiver does; what it says is not shown, for it may hold a secret."""
    headers = httpx.Headers({"Content-Type": message.media_type, NOTICE_ID: str(notice_id)})
    # Over the other's, however the rule spells the name.
    headers.update(rule.headers)
    try:
        status, retry_after = asyncio.run(_post(rule.webhook, message.content, headers))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        # Only the kind of error: its words may repeat the address.
        reason = f"{rule.public_receiver} can't be reached ({type(error).__name__})"
        return Answer(is_taken=False, is_final=False, reason=reason, is_answered=False)
    if 200 <= status < 300:
        return Answer(is_taken=True, is_final=True)
    is_final = 400 <= status < 500 and status not in _LATER
    reason = f"{rule.public_receiver} answered {status}"
    return Answer(is_taken=False, is_final=is_final, reason=reason, retry_after=_read_pause(retry_after))


async def _post(address: str, content: bytes, headers: httpx.Headers) -> tuple[int, str]:
    """Return the status of the answer, and when the receiver wants to be asked again."""
    # A stream, so that an endless answer is never read. Redirects are not followed: where notices go is for the
    # settings to say.
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        httpx.AsyncClient(timeout=_TIMEOUT, verify=_trusted()) as client,
        client.stream("POST", address, content=content, headers=headers) as response,
    ):
        return response.status_code, response.headers.get("Retry-After", "")


@cache
def _trusted() -> ssl.SSLContext:
    # Reading the certificates takes longer than a notice.
    return httpx.create_ssl_context()


def _read_pause(said: str) -> timedelta:
    """Return how long a Retry-After asks to wait, in seconds or until a moment; nothing where it is neither."""
    try:
        if said.strip().isdecimal():
            return timedelta(seconds=int(said))
        until = parsedate_to_datetime(said)
        return max(until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC), timedelta(0))
    except (ValueError, OverflowError):
        return timedelta(0)
