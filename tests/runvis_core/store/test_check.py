"""What a check of a store finds does not depend on how much of the log it keeps in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from runvis_core.model.event import ContextEvent
from runvis_core.store import check, check_runs
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.testing.event_log_suite import a_life, append
from runvis_core.testing.factories import a_run_id, make

EDITS = (
    "UPDATE runs SET native_state = 'bent' WHERE rowid = (SELECT max(rowid) FROM runs)",
    "UPDATE runs SET first_position = first_position + 100 WHERE rowid = (SELECT min(rowid) FROM runs)",
    "DELETE FROM runs WHERE rowid = (SELECT min(rowid) FROM runs)",
    "UPDATE entries SET run_id = NULL WHERE position = 5",
    "UPDATE entries SET entry = x'7b7d' WHERE position = 1",
    "DELETE FROM entries WHERE position = (SELECT max(position) FROM entries WHERE run_id IS NOT NULL)",
    "DELETE FROM event_ids WHERE position = 1",
)


SIZES = ((1, 1), (3, 2), (5, 1), (7, 500))
"""Windows of the log, and chunks in which it and its runs are read."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'runvis.db'}")) as store:
        lives = [a_life(run) for run in ("one", "two", "three", "four")]
        # Side by side, and one of them told of again at the end.
        append(store, *(event for step in zip(*lives, strict=True) for event in step))
        append(store, make(ContextEvent, run_id=a_run_id("one"), seconds=9, owner="Ann"))
        yield store


def test_a_whole_store_is_whole_in_windows_of_any_size(store: Store) -> None:
    assert [_problems(store, *sizes) for sizes in SIZES] == [[]] * len(SIZES)


@pytest.mark.parametrize("edit", EDITS)
def test_whatever_was_bent_is_found_in_windows_of_any_size(store: Store, edit: str) -> None:
    with store.engine.begin() as connection:
        _lift_guards(connection)
        assert connection.execute(text(edit)).rowcount == 1
    whole = sorted(_problems(store, check_runs.WINDOW, check.CHUNK))
    assert any(not problem.startswith("guard ") for problem in whole)
    for sizes in SIZES:
        assert sorted(_problems(store, *sizes)) == whole


def _problems(store: Store, window: int, chunk: int) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_runs, "WINDOW", window)
        patch.setattr(check_runs, "CHUNK", chunk)
        patch.setattr(check, "CHUNK", chunk)
        patch.setattr(check, "MAX_PROBLEMS", 1000)
        return check_store(store)


def _lift_guards(connection: Connection) -> None:
    for name in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
        connection.execute(text(f"DROP TRIGGER {name}"))
