"""Signs of life come when they are due, each run's at its own interval, and no more when it has ended."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.emit.pulse import FIRST_SECONDS, Pulse
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.state import Witness
from runvis_core.testing.factories import a_run_id

OTHER = UUID(int=7)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_sign(run_id: UUID, interval: float) -> Heartbeat:
    return Heartbeat(
        run_id=run_id,
        engine="airflow",
        deployment="prod",
        witness=Witness.WORKER,
        occurred_at=datetime(2026, 11, 24, tzinfo=UTC),
        interval_seconds=interval,
    )


@pytest.mark.parametrize(("interval", "first"), [(2, 2), (5, 5), (30, 5)])
def test_the_first_sign_is_due_soon_and_the_next_after_an_interval(interval: int, first: int) -> None:
    clock = Clock()
    pulse = Pulse(a_sign, monotonic=clock)
    assert pulse.seconds_left() is None
    pulse.begin(a_run_id(), interval)
    assert (pulse.take_due(), pulse.seconds_left()) == ([], first)
    clock.now += first
    assert pulse.seconds_left() == 0
    assert [beat.run_id for beat in pulse.take_due()] == [a_run_id()]
    assert (pulse.take_due(), pulse.seconds_left()) == ([], interval)


def test_a_run_that_ended_is_silent() -> None:
    clock = Clock()
    pulse = Pulse(a_sign, monotonic=clock)
    pulse.begin(a_run_id(), 10)
    pulse.begin(OTHER, 20)
    pulse.end(a_run_id())
    pulse.end(a_run_id())
    clock.now += 60
    assert [beat.run_id for beat in pulse.take_due()] == [OTHER]


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan")])
def test_an_interval_that_is_no_time_is_refused(interval: float) -> None:
    pulse = Pulse(a_sign)
    with pytest.raises(ValueError, match="no time"):
        pulse.begin(a_run_id(), interval)
    assert pulse.seconds_left() is None


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 20))
def test_whoever_looks_never_waits_longer_than_the_interval_for_the_next_sign(looks: list[int], interval: int) -> None:
    clock = Clock()
    pulse = Pulse(a_sign, monotonic=clock)
    pulse.begin(a_run_id(), interval)
    # As if it had said so an interval before it does first.
    last = clock.now - max(0, interval - FIRST_SECONDS)
    for seconds in looks:
        clock.now += seconds
        is_due = clock.now - last >= interval
        assert bool(pulse.take_due()) == is_due
        last = clock.now if is_due else last
        left = pulse.seconds_left()
        assert left is not None
        assert 0 <= left <= interval
