"""Why a run ended this way, in one sentence."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from runvis_core.model.state import State, Verdict, is_going_on
from runvis_core.services.answers import FailureView, RunDetail
from runvis_core.services.feed import FAILED, InsideFailure, says_why
from runvis_core.services.labels import name_run
from runvis_core.web.drawing.looks import look_at, look_of
from runvis_core.web.drawing.spans import Span, count_not_run, is_all_told
from runvis_core.web.drawing.text import count_of, first_line, name_duration, name_moment, shorten

_LONGEST_REASON: Final = 200


class Sentence(NamedTuple):
    """A verdict: `head`, then the step at fault as a link, then the rest."""

    head: str
    step: str | None = None
    step_run_id: UUID | None = None
    rest: str = ""


def reason_of(failure: FailureView | None) -> str:
    """Return the first line of a failure: its type and what it says."""
    if failure is None:
        return ""
    words = (failure.error_type, first_line(failure.message))
    return shorten(": ".join(word for word in words if word), _LONGEST_REASON)


def judge_run(run: RunDetail, root: Span, failed_inside: InsideFailure | None, *, now: datetime) -> Sentence:
    """Return what became of a run, and of what inside it."""
    if run.presumption is not None and run.presumed in (Verdict.LOST, Verdict.SILENT):
        word = "Presumed lost" if run.presumed is Verdict.LOST else "Silent"
        return Sentence(f"{word}: {shorten(run.presumption.reason)}.")
    state = run.effective_state
    if is_silent(run):
        return Sentence(_silent(run, now))
    if state is None:
        return Sentence("Nobody has said yet how it goes.")
    if not state.is_terminal:
        return Sentence(_live(run, state, now))
    if state.value in FAILED:
        return _failed(run, root, failed_inside, state)
    word = look_at(run).word
    if run.started_at is None:
        never = "no start was recorded" if state is State.SUCCEEDED else "it never began"
        return Sentence(f"{word}; {never}.")
    attempts = f" at attempt {run.attempt}" if run.attempt and run.attempt > 1 else ""
    ran = f" in {name_duration(run.duration_seconds)}" if run.duration_seconds is not None else ""
    return Sentence(f"{word}{attempts}{ran}{_not_run(root)}.")


def is_silent(run: RunDetail) -> bool:
    """Return whether a run is going on and its heartbeat is overdue."""
    return run.liveness is not None and run.liveness.silent and is_going_on(run.effective_state)


def _silent(run: RunDetail, now: datetime) -> str:
    assert run.liveness is not None, "it has beaten"
    last, interval = run.liveness.last_heartbeat_at, run.liveness.interval_seconds
    return (
        f"Silent since {name_moment(last, now=now)}: no heartbeat for {name_duration((now - last).total_seconds())}, "
        f"expected every {name_duration(interval)}."
    )


def _live(run: RunDetail, state: State, now: datetime) -> str:
    since = run.started_at if state is not State.QUEUED else run.queued_at
    word = "Waits for a worker" if state is State.QUEUED else state.value
    return f"{word} for {name_duration(max(0.0, (now - since).total_seconds()))}." if since else f"{word}."


def _failed(run: RunDetail, root: Span, failed_inside: InsideFailure | None, state: State) -> Sentence:
    head = look_of(state).word
    own = reason_of(run.failure)
    if failed_inside is None or says_why(run.failure):
        return Sentence(
            f"{head}: {own}{_not_run(root)}." if own else f"{head}{_not_run(root)}; no reason was recorded."
        )
    step = name_run(failed_inside) or str(failed_inside.run_id)[:8]
    attempt = f" attempt {failed_inside.attempt}" if failed_inside.attempt and failed_inside.attempt > 1 else ""
    reason = reason_of(failed_inside.failure)
    return Sentence(
        f"{head}: ", shorten(step), failed_inside.run_id, f"{attempt}{', ' + reason if reason else ''}{_not_run(root)}."
    )


def _not_run(root: Span) -> str:
    count = count_not_run(root)
    at_least = "" if is_all_told(root) else "at least "
    return f"; {at_least}{count_of(count, 'step')} not run" if count else ""
