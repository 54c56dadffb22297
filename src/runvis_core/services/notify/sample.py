"""A notice to try a rule's receiver and template with. Needs no store."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from runvis_core.services.answers import RunSummary
from runvis_core.services.notify.rules import Rule
from runvis_core.services.notify.webhook import Answer, send, write_message


def send_test(rule: Rule, public_url: str | None, *, run: RunSummary) -> Answer:
    """Send a rule's receiver a notice that is marked as a test; return what became of it.

    Raises `SettingsError` where the rule's template can't be filled in.
    """
    notice_id = uuid4()
    state = run.effective_state.value if run.effective_state else None
    message = write_message(
        rule, notice_id=notice_id, kind="test", state=state, made_at=datetime.now(UTC), run=run, public_url=public_url
    )
    return send(rule, message, notice_id=notice_id)
