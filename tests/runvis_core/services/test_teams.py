"""A run that two of an engine's teams claim is of the first one, and says that another claimed it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from runvis_core.model.decision import Binding
from runvis_core.model.event import EventBase, NoteEvent, StateEvent
from runvis_core.model.state import State, Witness
from runvis_core.services.answers import ConflictView
from runvis_core.services.ingest import ingest_items
from runvis_core.services.run_details import get_run
from runvis_core.services.teams import find_claims
from runvis_core.store.check import check_store
from runvis_core.store.database import Store
from runvis_core.store.rebuild import rebuild_store
from runvis_core.testing.factories import MORNING, a_run_id, make

RUN = a_run_id("claimed")


def bring(store: Store, team: str, *events: EventBase, is_bound: bool = True) -> list[str]:
    items = [{"event": event.model_copy(update={"team": team}).model_dump(mode="json")} for event in events]
    binding = Binding(team=team) if is_bound else Binding()
    return [one.status for one in ingest_items(store, items, principal=f"worker of {team}", binding=binding)]


def conflicts_of_run(store: Store) -> list[ConflictView]:
    return get_run(store, str(RUN), now=MORNING + timedelta(hours=1)).conflicts


@pytest.mark.parametrize("is_bound", [True, False], ids=["tokens of teams", "tokens of no team"])
def test_a_run_that_two_teams_claim_is_the_first_one_s_and_says_so(store: Store, is_bound: bool) -> None:
    scheduled = make(StateEvent, witness=Witness.SCHEDULER, state=State.QUEUED, run_id=RUN)
    ingest_items(store, [{"event": scheduled.model_dump(mode="json")}], principal="scheduler")
    assert bring(store, "pay", make(StateEvent, state=State.RUNNING, run_id=RUN), is_bound=is_bound) == ["stored"]
    first = find_claims(store, [RUN])[RUN]
    assert first.team == "pay"
    # The other team's worker speaks later, of two things, and each comes twice.
    said = [make(StateEvent, seconds=1, state=State.RUNNING, run_id=RUN), make(NoteEvent, run_id=RUN, seconds=2)]
    for _ in range(2):
        outcomes = bring(store, "ads", *said, is_bound=is_bound)
        assert ("refused" in outcomes) == is_bound
    conflicts = conflicts_of_run(store)
    assert [(one.conflicting_event_id, one.said) for one in conflicts] == [(first.event_id, {"team": "ads"})]
    assert conflicts[0].report.principal == "worker of ads"
    assert conflicts[0].conflicting_position is not None
    # Whose it is stays as it was, whatever was said in between.
    ended = make(StateEvent, seconds=9, state=State.SUCCEEDED, run_id=RUN)
    assert bring(store, "pay", ended, is_bound=is_bound) == ["stored"]
    assert find_claims(store, [RUN])[RUN] == first
    assert conflicts_of_run(store) == conflicts
    assert check_store(store) == []


def test_two_teams_that_claim_a_run_at_once_leave_one_that_has_it_and_a_conflict(store: Store) -> None:
    gate = threading.Barrier(2, timeout=120)

    def claim(team: str, second: int) -> None:
        event = make(NoteEvent, seconds=second, run_id=RUN, content={"text": team})
        gate.wait()
        bring(store, team, event)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(claim, ["pay", "ads"], [1, 2]))
    has_it = find_claims(store, [RUN])[RUN].team
    assert [one.said for one in conflicts_of_run(store)] == [{"team": "ads" if has_it == "pay" else "pay"}]


def test_a_run_that_one_team_alone_tells_of_is_in_no_conflict(store: Store) -> None:
    bring(store, "pay", make(StateEvent, state=State.RUNNING, run_id=RUN))
    bring(store, "ads", make(StateEvent, state=State.RUNNING, run_id=a_run_id("another")))
    assert conflicts_of_run(store) == []


def test_an_older_store_learns_of_the_first_claims_from_its_entries(
    store: Store, move_schema: Callable[[Store, str, str], None]
) -> None:
    bring(store, "pay", make(StateEvent, state=State.RUNNING, run_id=RUN), is_bound=False)
    bring(store, "ads", make(NoteEvent, run_id=RUN, seconds=1), is_bound=False)
    bring(store, "a\0d", *(make(NoteEvent, run_id=a_run_id(f"{number}"), seconds=2) for number in range(3)))
    ingest_items(
        store,
        [{"event": make(NoteEvent, run_id=a_run_id("nobody's"), native_id='"team":').model_dump(mode="json")}],
        principal="any",
    )
    claimed = [RUN, *(a_run_id(f"{number}") for number in range(3))]
    before = find_claims(store, [*claimed, a_run_id("nobody's")])
    assert before.keys() == {*claimed}
    move_schema(store, "downgrade", "0015")
    move_schema(store, "upgrade", "head")
    assert find_claims(store, claimed) == before
    assert check_store(store) == []
    # Its guards stand, and it goes on where it was.
    bring(store, "a\0d", make(NoteEvent, run_id=a_run_id("0"), seconds=3))
    assert find_claims(store, claimed) == before
    rebuild_store(store)
    assert find_claims(store, claimed) == before
    assert check_store(store) == []
