"""Stores for the store's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runvis_core.store.database import Store, open_store


@pytest.fixture(params=["sqlite_url", "postgresql_url"], ids=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty store of each kind."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store of each kind."""
    opened = open_store(store_url)
    yield opened
    opened.close()
