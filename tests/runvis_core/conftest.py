"""Stores with a history in them, for whoever asks one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runvis_core.model.event import EventBase
    from runvis_core.store.database import Store


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store, once on each database."""
    from runvis_core.store.database import open_store

    opened = open_store(request.getfixturevalue(request.param))
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """An empty store in a SQLite file."""
    from runvis_core.store.database import open_store

    opened = open_store(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def record() -> Callable[[Store, Iterable[EventBase]], None]:
    """A function that takes events into a store, all of which must be stored."""
    from runvis_core.services.ingest import ingest_events

    def take(store: Store, events: Iterable[EventBase]) -> None:
        outcomes = ingest_events(store, events, principal="test")
        assert {outcome.status for outcome in outcomes} <= {"stored"}, outcomes

    return take


@pytest.fixture
def move_schema() -> Callable[[Store, str, str], None]:
    """A function that does `upgrade` or `downgrade` of a store's schema to a revision."""
    from alembic import command
    from alembic.config import Config

    from runvis_core.store.roles import ddl_allowed
    from runvis_core.store.schema import SCRIPTS

    def move(store: Store, direction: str, revision: str) -> None:
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
        with store.engine.connect().execution_options(**options) as connection, connection.begin():
            config.attributes["connection"] = connection
            with ddl_allowed(connection):
                getattr(command, direction)(config, revision)

    return move
