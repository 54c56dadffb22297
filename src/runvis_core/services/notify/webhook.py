"""A notice's text, and its way to the receiver."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import httpx
import orjson

from runvis_core.services.answers import RunSummary
from runvis_core.services.labels import name_run
from runvis_core.services.notify.rules import Rule

TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0)
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


def write_message(
    rule: Rule, *, notice_id: UUID, kind: str, made_at: datetime, run: RunSummary | None, public_url: str | None
) -> Message:
    """Return a notice as its rule wants it: by its template, else as JSON. Raises `TemplateError`."""
    link = f"{public_url}/runs/{run.run_id}" if public_url and run is not None else None
    said: dict[str, Any] = {
        "notice_id": str(notice_id),
        "rule": rule.name,
        "kind": kind,
        "made_at": made_at.isoformat(),
        "text": _text(kind, run, link),
        "link": link,
        "run": run.model_dump(mode="json") if run is not None else None,
    }
    if rule.template is None:
        return Message(orjson.dumps(said), "application/json")
    content = rule.template.render(said).encode("utf-8", "replace")
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return Message(content, "text/plain; charset=utf-8")
    return Message(content, "application/json")


def _text(kind: str, run: RunSummary | None, link: str | None) -> str:
    if run is None:
        return f"RunVis: a run {_VERBS[kind]}; it is no longer in the store"
    name = f"{run.engine} {run.deployment} {name_run(run) or run.native_id or run.run_id}"
    state = f" {run.effective_state.value}" if kind == "run_ended" and run.effective_state else ""
    return f"RunVis: {name} {_VERBS[kind]}{state}" + (f" {link}" if link else "")


def send(client: httpx.Client, rule: Rule, message: Message, *, notice_id: UUID) -> Answer:
    """Post a message. Never raises for what a receiver does; what it says is not shown, for it may hold a secret."""
    headers = {"Content-Type": message.media_type, NOTICE_ID: str(notice_id), **rule.headers}
    try:
        # A stream, so that an endless answer is never read.
        with client.stream("POST", rule.webhook, content=message.content, headers=headers) as response:
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        # Only the kind of error: its words may repeat the address.
        reason = f"{rule.public_receiver} can't be reached ({type(error).__name__})"
        return Answer(is_taken=False, is_final=False, reason=reason, is_answered=False)
    if 200 <= status < 300:
        return Answer(is_taken=True, is_final=True)
    is_final = 400 <= status < 500 and status not in _LATER
    return Answer(is_taken=False, is_final=is_final, reason=f"{rule.public_receiver} answered {status}")
