from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import pytest

from runvis_core.api.duties import Duties, Duty

Begin = Callable[..., Duties]


class Lead:
    """The lead of a store that nobody else is after, until it is taken away."""

    def __init__(self) -> None:
        self.is_free = True
        self.is_released = False

    def hold(self) -> bool:
        return self.is_free

    def release(self) -> None:
        self.is_released = True


class Work:
    """A duty that fails as often as it is told to, and then works until its end."""

    def __init__(self, *failures: str) -> None:
        self.failures = list(failures)
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    def __call__(self, stop: threading.Event) -> None:
        self.begun.release()
        if self.failures:
            raise ConnectionError(self.failures.pop(0))
        stop.wait(60)
        self.ended.release()


@pytest.fixture
def begin() -> Iterator[Begin]:
    with ExitStack() as stack:

        def start(duties: Iterable[Duty], lead: Lead, **options: object) -> Duties:
            made = Duties(duties, lead, check_seconds=0.02, longest_pause_seconds=0.01, **options)  # pyright: ignore
            made.start()
            stack.callback(made.close)
            return made

        yield start


def has_come(semaphore: threading.Semaphore) -> bool:
    return semaphore.acquire(timeout=60)


def test_a_duty_works_while_its_server_leads(begin: Begin) -> None:
    lead, work = Lead(), Work()
    lead.is_free = False
    leading: list[bool] = []
    duties = begin([Duty("a duty", work)], lead, on_lead=leading.append)
    assert not work.begun.acquire(timeout=0.1)
    assert not duties.is_leading
    lead.is_free = True
    assert has_come(work.begun)
    assert duties.is_leading
    lead.is_free = False
    assert has_come(work.ended)
    lead.is_free = True
    assert has_come(work.begun)
    duties.close()
    assert has_come(work.ended)
    assert lead.is_released
    assert leading == [True, False, True, False]


def test_a_duty_that_fails_begins_again_and_is_warned_of_once(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    failing, steady = Work("gone", "gone", "gone", "refused"), Work()
    failed: list[str] = []
    begin([Duty("failing", failing), Duty("steady", steady)], Lead(), on_failure=failed.append)
    for _ in range(5):
        assert has_come(failing.begun)
    assert has_come(steady.begun)
    assert failed == ["failing"] * 4
    assert [record.getMessage() for record in caplog.records] == [
        "failing stopped: ConnectionError: gone; it begins again by itself",
        "failing stopped: ConnectionError: refused; it begins again by itself",
    ]
