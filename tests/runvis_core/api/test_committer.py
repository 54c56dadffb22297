from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from runvis_core.api import committer as module
from runvis_core.api.committer import Committer, CrowdedError
from runvis_core.errors import LogRuleError, UnreachableError


class Store:
    """Writes one group at a time, when it is let to, and remembers what shared a transaction."""

    def __init__(self) -> None:
        self.groups: list[tuple[list[Any], str]] = []
        self.gate = threading.Semaphore(0)
        self.began = threading.Semaphore(0)

    def ingest(self, items: Sequence[Any], principal: str) -> Sequence[Any]:
        self.began.release()
        assert self.gate.acquire(timeout=10)
        self.groups.append((list(items), principal))
        if "poison" in items:
            raise LogRuleError("no")
        if "away" in items:
            raise UnreachableError("gone")
        return [f"{item}!" for item in items]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def committer(store: Store) -> Iterator[Committer]:
    made = Committer(store.ingest)
    yield made
    store.gate.release(100)
    made.close()


def test_batches_that_wait_together_share_a_transaction(store: Store, committer: Committer) -> None:
    first = committer.submit(["a"], principal="p")
    assert store.began.acquire(timeout=10)
    others = [committer.submit([name, name + name], principal="p") for name in "bcd"]
    store.gate.release(2)
    assert first.result(10) == ["a!"]
    assert [other.result(10) for other in others] == [["b!", "bb!"], ["c!", "cc!"], ["d!", "dd!"]]
    assert store.groups == [(["a"], "p"), (["b", "bb", "c", "cc", "d", "dd"], "p")]


def test_batches_of_two_principals_do_not_share_one(store: Store, committer: Committer) -> None:
    waiting = [
        committer.submit([name], principal=principal)
        for name, principal in (("a", "p"), ("b", "p"), ("c", "q"), ("d", "p"))
    ]
    store.gate.release(10)
    assert [one.result(10) for one in waiting] == [["a!"], ["b!"], ["c!"], ["d!"]]
    assert [principal for _, principal in store.groups] == ["p", "p", "q", "p"]


def test_a_batch_that_can_not_be_stored_takes_no_other_down(store: Store, committer: Committer) -> None:
    committer.submit(["first"], principal="p")
    assert store.began.acquire(timeout=10)
    good, bad, better = (committer.submit([name], principal="p") for name in ("good", "poison", "better"))
    store.gate.release(10)
    assert good.result(10) == ["good!"]
    assert better.result(10) == ["better!"]
    with pytest.raises(LogRuleError):
        bad.result(10)


def test_a_store_that_is_away_is_said_to_all_who_wait_at_once(store: Store, committer: Committer) -> None:
    committer.submit(["first"], principal="p")
    assert store.began.acquire(timeout=10)
    waiting = [committer.submit([name], principal="p") for name in ("a", "away", "b")]
    store.gate.release(10)
    for one in waiting:
        with pytest.raises(UnreachableError):
            one.result(10)
    assert len(store.groups) == 2
    assert committer.submit(["again"], principal="p").result(10) == ["again!"]


def test_a_group_ends_somewhere(store: Store, committer: Committer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GROUP", 3)
    committer.submit(["first"], principal="p")
    assert store.began.acquire(timeout=10)
    waiting = [committer.submit([name, name], principal="p") for name in "abc"]
    store.gate.release(10)
    for one in waiting:
        one.result(10)
    assert [len(items) for items, _ in store.groups] == [1, 2, 2, 2]


def test_who_finds_no_room_is_sent_away(store: Store, committer: Committer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    committer.submit(["first"], principal="p")
    assert store.began.acquire(timeout=10)
    waiting = [committer.submit([name], principal="p") for name in "ab"]
    with pytest.raises(CrowdedError):
        committer.submit(["c"], principal="p")
    store.gate.release(10)
    assert [one.result(10) for one in waiting] == [["a!"], ["b!"]]


def test_a_sender_that_went_away_is_left_out(store: Store, committer: Committer) -> None:
    committer.submit(["first"], principal="p")
    assert store.began.acquire(timeout=10)
    gone, there = committer.submit(["gone"], principal="p"), committer.submit(["there"], principal="p")
    assert gone.cancel()
    store.gate.release(10)
    assert there.result(10) == ["there!"]
    assert store.groups[-1][0] == ["there"]


def test_what_waits_is_written_before_a_committer_ends(store: Store) -> None:
    made = Committer(store.ingest)
    waiting = [made.submit([name], principal=name) for name in ("a", "poison", "b")]
    store.gate.release(10)
    made.close()
    assert [one.done() for one in waiting] == [True] * 3
    assert waiting[2].result() == ["b!"]


def test_a_closed_committer_takes_nothing(store: Store) -> None:
    made = Committer(store.ingest)
    made.close()
    with pytest.raises(UnreachableError, match="stopping"):
        made.submit(["a"], principal="p")
