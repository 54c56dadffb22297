from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from runvis_core.errors import LogRuleError, NotFoundError
from runvis_core.model.decision import HOLD_PLACED
from runvis_core.model.encoding import MAX_ENTRY_BYTES
from runvis_core.model.event import ContextEvent, EventBase, FailureEvent, IdentityEvent
from runvis_core.services.decision_answers import ErasureRequest, ErasureView, HoldRequest
from runvis_core.services.decisions import list_audit
from runvis_core.services.erasure import erase
from runvis_core.services.holds import list_holds, place_hold, release_hold
from runvis_core.services.run_details import get_run
from runvis_core.services.steps import STEPS
from runvis_core.store.check import check_store
from runvis_core.store.database import Store
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import bodies, failures
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.story import LOAD_1, a_story

Record = Callable[[Store, Iterable[EventBase]], None]
CANARY = "canary-7c1d2e"


def a_run(name: str = "run") -> list[EventBase]:
    run_id = a_run_id(name)
    return [
        make(
            IdentityEvent,
            run_id=run_id,
            definition="billing",
            definition_kind="task",
            native_key=name,
            native_id=name,
            trigger={"kind": "manual"},
            content={"actor": f"{CANARY} Ann"},
        ),
        make(ContextEvent, run_id=run_id, content={"parameters": {"who": CANARY}}),
        make(FailureEvent, run_id=run_id, content={"message": f"{CANARY} broke", "traceback": CANARY * 50}),
    ]


def ask(store: Store, *names: str, run: str = "run", dry_run: bool = False) -> ErasureView:
    request = ErasureRequest(run=run, bodies=frozenset(names), reason="a person's request", dry_run=dry_run)
    return erase(store, request, principal="ann")


def shown(store: Store, run: str = "run") -> str:
    return get_run(store, run, now=datetime.now(UTC)).model_dump_json()


def kept(store: Store) -> int:
    with store.engine.connect() as connection:
        return len(connection.execute(select(bodies.c.position)).all())


def test_an_erasure_takes_the_bodies_and_leaves_the_log_as_it_was(store: Store, record: Record) -> None:
    record(store, [*a_run(), *a_run("other")])
    log = list(store.log.read())
    done = ask(store)
    assert sorted(body.name for body in done.bodies) == ["actor", "message", "parameters", "traceback"]
    assert done.decisions == [len(log) + 1]
    assert kept(store) == 4
    assert list(store.log.read())[: len(log)] == log
    mark = f"[erased by decision {len(log) + 1}]"
    assert CANARY not in shown(store)
    # Once for each body, and once more for the failure's first line, which is of the message.
    assert shown(store).count(mark) == 5
    assert CANARY in shown(store, "other")
    assert check_store(store) == []
    rebuild_store(store)
    assert check_store(store) == []
    assert shown(store).count(mark) == 5
    # Nothing is left to erase, and so nothing is decided.
    assert (ask(store).bodies, ask(store).decisions) == ([], [])


def test_a_dry_run_says_what_would_be_erased_and_erases_nothing(store: Store, record: Record) -> None:
    record(store, a_run())
    would = ask(store, "traceback", dry_run=True)
    assert ([body.name for body in would.bodies], would.decisions) == (["traceback"], [])
    assert kept(store) == 4
    assert store.log.head().position == 3


def test_only_the_bodies_that_are_named_are_erased(store: Store, record: Record) -> None:
    record(store, a_run())
    ask(store, "traceback")
    run = get_run(store, "run", now=datetime.now(UTC))
    assert run.failure is not None
    assert run.failure.traceback == "[erased by decision 4]"
    assert run.failure.message == f"{CANARY} broke"
    assert run.parameters == {"who": CANARY}


@pytest.mark.parametrize(
    "held", [{"run": "run"}, {"definition": "billing"}, {"engine": "airflow", "deployment": "test"}], ids=str
)
def test_a_legal_hold_wins(store: Store, record: Record, held: dict[str, str]) -> None:
    record(store, a_run())
    hold = place_hold(store, HoldRequest.model_validate({**held, "reason": "case 1"}), principal="bea")
    with pytest.raises(LogRuleError, match=hold.hold_id):
        ask(store)
    assert ask(store, dry_run=True).held_by == [hold.hold_id]
    assert kept(store) == 4
    released = release_hold(store, hold.hold_id, principal="bea", reason="closed")
    assert released.released_at is not None
    assert [(item.hold_id, item.reason, item.placed_by) for item in list_holds(store)] == [
        (hold.hold_id, "case 1", "bea")
    ]
    assert len(ask(store).bodies) == 4
    assert [item.name for item in list_audit(store, limit=9).items] == ["erasure", "hold released", "hold placed"]


def test_a_hold_that_is_placed_at_the_last_moment_wins_too(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, a_run())
    # As if it came between the look and the erasure: only the database is asked.
    place_hold(store, HoldRequest(definition="billing", reason="case 2"), principal="bea")
    monkeypatch.setattr("runvis_core.services.erasure.find_holds", lambda *_: [])
    with pytest.raises(LogRuleError, match="legal hold"):
        ask(store)
    assert kept(store) == 4
    assert [item.name for item in list_audit(store, limit=9).items] == [HOLD_PLACED]


def test_more_bodies_than_one_entry_can_name_are_erased_by_several(store: Store, record: Record) -> None:
    names = [f"{number:03}-{'n' * 300}" for number in range(150)]
    events = [make(ContextEvent, seconds=at, content=dict.fromkeys(names[at::10], at)) for at in range(10)]
    record(store, events)
    done = ask(store, run=str(a_run_id()))
    assert (len(done.bodies), len(done.decisions)) == (150, 2)
    assert max(len(entry.entry) for entry in store.log.read()) <= MAX_ENTRY_BYTES
    assert kept(store) == 0
    assert check_store(store) == []


def test_what_was_kept_for_searching_goes_with_the_message(store: Store, record: Record) -> None:
    def lines() -> list[str]:
        catch_up(store, STEPS)
        with store.engine.connect() as connection:
            return sorted(connection.execute(select(failures.c.line)).scalars())

    record(store, [*a_run(), *a_run("other")])
    assert lines() == [f"{CANARY} broke"] * 2
    ask(store, "traceback")
    assert lines() == [f"{CANARY} broke"] * 2
    ask(store)
    assert lines() == [f"{CANARY} broke"]
    # What is told after the erasure stays, also when it is all derived anew, in parts of any size.
    record(store, [make(FailureEvent, seconds=9, content={"message": "again"})])
    assert lines() == ["again", f"{CANARY} broke"]
    rebuild_store(store)
    assert lines() == ["again", f"{CANARY} broke"]


def test_a_step_that_was_behind_the_erasure_keeps_nothing_of_it(store: Store, record: Record) -> None:
    record(store, a_run())
    ask(store)
    catch_up(store, STEPS)
    with store.engine.connect() as connection:
        assert connection.execute(select(failures.c.line)).scalars().all() == []


def test_what_is_erased_is_in_no_file_of_a_sqlite_store(sqlite_store: Store, record: Record) -> None:
    record(sqlite_store, a_run())
    file = Path(str(sqlite_store.engine.url.database))

    def held() -> bytes:
        return b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))

    assert CANARY.encode() in held()
    assert ask(sqlite_store).remaining is None
    assert CANARY.encode() not in held()


def test_a_run_that_there_is_not_is_not_erased(store: Store, record: Record) -> None:
    record(store, a_story())
    with pytest.raises(NotFoundError):
        ask(store, run="nothing-like-it")
    assert {body.name for body in ask(store, run=str(LOAD_1), dry_run=True).bodies} >= {"traceback"}
