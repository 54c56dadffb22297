"""PostgreSQL's own processes, killed in the middle of an append: the server ends all of them, and recovers by itself.

Calls of a backend that fail instead are not tried here: who traces it has to be allowed to trace what is no child of
its own, which most machines allow to root alone. A backend whose write or sync of the log fails ends itself likewise.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

import pytest
from tests.faults.scale import ROUNDS, found
from tests.faults.servers import own_postgresql
from tests.faults.told import assert_sound, numbered, wait_until

from runvis_core.errors import StoreError
from runvis_core.services.ingest import ingest_events
from runvis_core.services.steps import STEPS
from runvis_core.services.verification import verify_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.pipeline import Pipeline
from runvis_core.store.steps import catch_up


class Harm:
    """Kills the backend of an append, once, in front of one of the append's round trips."""

    def __init__(self, trip: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_done = False
        self._left = trip
        run = Pipeline.run

        def run_harmed(pipeline: Any, orders: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                os.kill(pipeline._connection.info.backend_pid, signal.SIGKILL)
                self.is_done = True
            return run(pipeline, orders)

        monkeypatch.setattr(Pipeline, "run", run_harmed)


def test_an_append_whose_backend_is_killed_says_so_and_is_stored_once_when_told_again() -> None:
    told: list[str] = []
    points = 0
    with own_postgresql() as (url, _stop, _start):
        store = open_store(url)
        for _ in range(ROUNDS):
            for trip in itertools.count(1):
                with pytest.MonkeyPatch.context() as patch:
                    harm = Harm(trip, patch)
                    is_taken = _is_taken(store, len(told))
                # The append has fewer round trips, and went well.
                is_harmless = not harm.is_done
                assert is_taken == is_harmless
                # Told again it is in the log once. The server comes back for it by itself.
                wait_until(lambda: _is_taken(store, len(told)))
                told.append(f"x/{len(told)}")
                if is_harmless:
                    break
                points += 1
            assert_sound(store, told)
        assert points >= 2 * ROUNDS
        catch_up(store, STEPS)
        assert verify_store(store, keys=[]).problems == []
        store.close()
    found("system-call faults", backend_points=points, lost=0)


def _is_taken(store: Store, number: int) -> bool:
    """Whether the store says that it has the event."""
    try:
        (outcome,) = ingest_events(store, [numbered("x", number)], principal="local")
    except StoreError:
        return False
    assert outcome.status in ("stored", "known")
    return True
