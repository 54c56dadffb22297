"""Whom nobody may tell any more is told no more, whatever becomes of the question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from runvis_core.api import watch as watch_module
from runvis_core.api.watch import Watch


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "CHECK_SECONDS", 0.01)


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    return run


async def may() -> bool:
    return True


async def may_not() -> bool:
    return False


@in_a_loop
async def test_only_what_may_not_be_told_any_more_ends() -> None:
    watch = Watch()
    with watch.follow(may) as goes_on, watch.follow(may_not) as ends:
        await asyncio.wait_for(ends, 60)
        assert not goes_on.done()


@in_a_loop
async def test_all_end_when_it_cannot_be_asked() -> None:
    async def fails() -> bool:
        raise RuntimeError("a defect of the door")

    watch = Watch()
    with watch.follow(may) as beside, watch.follow(fails) as failed:
        await asyncio.wait_for(asyncio.gather(beside, failed), 60)
    # Another one is asked for again.
    with watch.follow(may_not) as over:
        await asyncio.wait_for(over, 60)


def test_that_it_cannot_be_asked_is_said(caplog: pytest.LogCaptureFixture) -> None:
    test_all_end_when_it_cannot_be_asked()
    assert "all of them end" in caplog.text
    assert "a defect of the door" in caplog.text


@in_a_loop
async def test_nobody_is_asked_for_who_is_gone() -> None:
    asked: list[str] = []

    async def note() -> bool:
        asked.append("gone")
        return True

    watch = Watch()
    with watch.follow(note):
        pass
    with watch.follow(may_not) as over:
        await asyncio.wait_for(over, 60)
    assert not asked
