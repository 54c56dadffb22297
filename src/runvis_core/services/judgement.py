"""Why a run's effective state is what it is: who said what, and which rule of the fold decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, select

from runvis_core.model.state import State
from runvis_core.services.answers import (
    AttestationView,
    ConflictView,
    Judgement,
    PresumptionView,
    Report,
    Rule,
    TestimonyView,
    Transition,
)
from runvis_core.services.reading import LoggedEntry, chunks
from runvis_core.store.tables import event_ids

JUDGED_KINDS: Final = ("attestation", "conflict", "presumption")


def find_judgement(
    connection: Connection,
    told: Sequence[LoggedEntry],
    state: State | None,
    *,
    frozen_position: int | None,
    testimony: Sequence[TestimonyView],
    transitions: Sequence[Transition],
) -> dict[str, Any]:
    """Return the fields of a `RunDetail` on who else said what of a run, and why its state is what it is.

    `told` are the run's entries of `JUDGED_KINDS`.
    """
    presumptions = find_presumptions(told)
    presumption = _find_latest(told, presumptions)
    return {
        "judgement": judge_state(
            state,
            frozen_position=frozen_position,
            testimony=testimony,
            presumption=presumption,
            transitions=transitions,
        ),
        "presumption": presumption,
        "presumptions": presumptions,
        "attestations": find_attestations(connection, told),
        "conflicts": find_conflicts(connection, told),
    }


def judge_state(
    state: State | None,
    *,
    frozen_position: int | None,
    testimony: Sequence[TestimonyView],
    presumption: PresumptionView | None,
    transitions: Sequence[Transition],
) -> Judgement:
    """Return by which rule a run's effective state follows from what was said; the rules are the fold's own."""
    if frozen_position is not None and testimony:
        return _judge_end(state, frozen_position, testimony)
    if presumption is not None and presumption.state is not None:
        said = f"nobody told the end, and it is presumed {presumption.verdict.value}: {presumption.reason}"
        return Judgement(rule=Rule.PRESUMPTION, reason=said, decided_by=presumption.report)
    told = [step for step in transitions if step.state is state]
    if state is None or not told:
        return Judgement(rule=Rule.NOBODY, reason="nobody has told of its state")
    latest = told[-1]
    said = f"it has not ended, and the latest state by the engine's clock is {state.value}"
    return Judgement(rule=Rule.LATEST_STATE, reason=said, decided_by=latest.reports[-1])


def _judge_end(state: State | None, frozen_position: int, testimony: Sequence[TestimonyView]) -> Judgement:
    first = next((word for word in testimony if word.position == frozen_position), testimony[0])
    # Of words with one time the state that the run was frozen with goes first, as in the fold.
    latest = max(testimony, key=lambda word: (word.occurred_at, word.state is state))
    agree = all(word.state is state for word in testimony)
    if agree:
        who = ", ".join(dict.fromkeys(word.witness.value for word in testimony))
        said = f"all who told how it ended ({who}) say {first.state.value}; the first recorded froze it"
        return Judgement(rule=Rule.ALL_AGREE, reason=said, decided_by=_report(first))
    said = (
        f"those who told how it ended disagree: it was frozen as {first.state.value}, which {first.witness.value} told "
        f"first (#{first.position}); of all words on its end the one with the latest time counts, {latest.state.value} "
        f"by {latest.witness.value} (#{latest.position})"
    )
    return Judgement(rule=Rule.LATEST_TESTIMONY, reason=said, decided_by=_report(latest))


def _report(word: TestimonyView) -> Report:
    return Report(**{name: getattr(word, name) for name in Report.model_fields})


def find_attestations(connection: Connection, told: Iterable[LoggedEntry]) -> list[AttestationView]:
    """Return who else reported what was known already, with the position at which it was."""
    said = [entry for entry in told if entry.event["kind"] == "attestation"]
    positions = _positions(connection, [UUID(entry.event["attested_event_id"]) for entry in said])
    return [
        AttestationView(
            attested_by=entry.event["attested_by"],
            attested_event_id=entry.event["attested_event_id"],
            attested_position=positions.get(UUID(entry.event["attested_event_id"])),
            report=entry.report(),
        )
        for entry in said
    ]


def find_conflicts(connection: Connection, told: Iterable[LoggedEntry]) -> list[ConflictView]:
    """Return the reports that came under the id of another one and say otherwise."""
    said = [entry for entry in told if entry.event["kind"] == "conflict"]
    positions = _positions(connection, [UUID(entry.event["conflicting_event_id"]) for entry in said])
    return [
        ConflictView(
            conflicting_event_id=entry.event["conflicting_event_id"],
            conflicting_position=positions.get(UUID(entry.event["conflicting_event_id"])),
            said=entry.event["report"],
            report=entry.report(),
        )
        for entry in said
    ]


def find_presumptions(told: Iterable[LoggedEntry]) -> list[PresumptionView]:
    """Return all verdicts on a run, in the order in which they were recorded."""
    return [
        PresumptionView(
            verdict=entry.event["verdict"],
            state=entry.event.get("state"),
            reason=entry.event["reason"],
            evidence=entry.event.get("evidence") or {},
            report=entry.report(),
        )
        for entry in told
        if entry.event["kind"] == "presumption"
    ]


def _find_latest(told: Sequence[LoggedEntry], presumptions: Sequence[PresumptionView]) -> PresumptionView | None:
    """Return the verdict that counts: the latest by time and event id, as in the fold."""
    ids = {entry.position: str(entry.event["event_id"]).replace("-", "") for entry in told}
    return max(presumptions, key=lambda one: (one.report.occurred_at, ids[one.report.position]), default=None)


def _positions(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    found: dict[UUID, int] = {}
    for chunk in chunks(ids):
        query = select(event_ids.c.event_id, event_ids.c.position).where(event_ids.c.event_id.in_(chunk))
        found.update((row.event_id, row.position) for row in connection.execute(query))
    return found
