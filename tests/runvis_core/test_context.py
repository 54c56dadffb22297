from __future__ import annotations

from uuid import UUID

import pytest

from runvis_core.context import carry_in_conf, carry_in_labels
from runvis_core.emit.current import clear_current, set_current
from runvis_core.model.cause import Cause, read_labels, read_object

RUN = UUID(int=7)
TRACE = "0af7651916cd43dd8448eb211c80319c"


class NoRecorder:
    failures = 0

    def count_failure(self) -> None:
        self.failures += 1


@pytest.fixture(autouse=True)
def outside_afterwards() -> object:
    yield
    clear_current()


def test_the_current_run_is_handed_on_beside_what_the_caller_gives() -> None:
    set_current(RUN, NoRecorder(), find_correlation=lambda: TRACE)  # type: ignore[arg-type]
    assert read_labels(carry_in_labels({"team": "sales"})) == Cause(RUN, TRACE)
    assert read_object(carry_in_conf({"day": 1})) == Cause(RUN, TRACE)
    assert carry_in_conf({"day": 1})["day"] == 1
    assert carry_in_labels({"team": "sales"})["team"] == "sales"


def test_outside_a_recorded_run_nothing_is_added() -> None:
    assert carry_in_labels() == {}
    assert carry_in_labels({"team": "sales"}) == {"team": "sales"}
    assert carry_in_conf({"day": 1}) == {"day": 1}


def test_what_fails_is_counted_and_hurts_nobody() -> None:
    recorder = NoRecorder()

    def fail() -> str:
        raise OSError("no trace today")

    set_current(RUN, recorder, find_correlation=fail)  # type: ignore[arg-type]
    assert carry_in_conf({"day": 1}) == {"day": 1}
    assert recorder.failures == 1
