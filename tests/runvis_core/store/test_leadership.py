from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from runvis_core.store.database import Store, open_store
from runvis_core.store.leadership import leadership_of

LEAD = """
import sys
from runvis_core.store.database import open_store
from runvis_core.store.leadership import leadership_of
store = open_store(sys.argv[1])
share = leadership_of(store)
print(share.hold(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(store_url: str, store: Store) -> Iterator[Store]:
    """The same store, opened again as another process does."""
    opened = open_store(store_url)
    yield opened
    opened.close()


def test_one_leads_until_it_leaves_the_lead(store: Store, other: Store) -> None:
    ours, theirs = leadership_of(store), leadership_of(other)
    with ExitStack() as stack:
        stack.callback(ours.release)
        stack.callback(theirs.release)
        assert [ours.hold(), theirs.hold(), ours.hold(), theirs.hold()] == [True, False, True, False]
        ours.release()
        assert [theirs.hold(), ours.hold()] == [True, False]
        theirs.release()
        assert ours.hold()


def test_the_lead_of_a_killed_process_is_free(store_url: str, store: Store) -> None:
    ours = leadership_of(store)
    with subprocess.Popen(
        [sys.executable, "-c", LEAD, store_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "True\n"
        assert not ours.hold()
        os.kill(leader.pid, signal.SIGKILL)
        leader.wait(60)
    # PostgreSQL takes a moment to see that a client is gone.
    while not ours.hold():
        pass
    ours.release()


def test_a_leader_whose_session_was_ended_knows_it(postgresql_url: str) -> None:
    store, other = open_store(postgresql_url), open_store(postgresql_url)
    ours, theirs = leadership_of(store), leadership_of(other)
    assert ours.hold()
    with other.engine.connect() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        )
    while not theirs.hold():
        pass
    assert not ours.hold()
    theirs.release()
    store.close()
    other.close()
