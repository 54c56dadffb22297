from __future__ import annotations

import itertools
import sys
import threading
from types import FrameType
from typing import Any

from runvis_core.emit.bell import Bell


def test_who_waits_is_woken_from_another_thread() -> None:
    bell, woken = Bell(), Bell()

    def wait() -> None:
        if bell.wait(60):
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    bell.set()
    thread.join()
    assert woken.is_set()


def test_a_wait_ends_when_its_time_is_over_and_at_once_when_it_was_set() -> None:
    bell = Bell()
    assert not bell.wait(0.001)
    bell.set()
    assert bell.wait(0)
    assert bell.wait(), "it stays set until it is cleared"
    bell.clear()
    assert not bell.is_set()
    assert not bell.wait(0.001), "what was rung before counts no more"


def test_it_may_be_set_at_any_line_of_its_being_set() -> None:
    for line in itertools.count():
        bell, lines = Bell(), itertools.count()
        reached = False

        def trace(
            frame: FrameType,
            event: str,
            _: object,
            bell: Bell = bell,
            lines: itertools.count[int] = lines,
            at: int = line,
        ) -> Any:
            nonlocal reached
            if event == "line" and next(lines) == at:
                reached = True
                sys.settrace(None)
                bell.set()
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            bell.set()
        finally:
            sys.settrace(before)
        assert bell.wait(0)
        bell.clear()
        assert not bell.wait(0)
        if not reached:
            break
    assert line > 2
