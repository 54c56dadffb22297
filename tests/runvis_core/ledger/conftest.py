"""Logs of some length, a key that signs them, and the settings that say so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runvis_core.ledger.keyring import Keyring, write_keys
from runvis_core.ledger.notes import SigningKey, VerifierKey, new_key
from runvis_core.settings import Settings, load_settings
from runvis_core.store.database import Store, open_store
from runvis_core.testing.ledger import ORIGIN, lengthen


@pytest.fixture(params=["sqlite_url", "postgresql_url"], ids=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store, once on each database."""
    opened = open_store(request.getfixturevalue(request.param))
    yield opened
    opened.close()


@pytest.fixture
def key() -> SigningKey:
    return new_key(ORIGIN)


@pytest.fixture
def keys(key: SigningKey) -> list[VerifierKey]:
    return [key.verifier]


@pytest.fixture
def settings(key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the key, and nothing of this machine's user."""
    for name in [name for name in os.environ if name.startswith("RUNVIS")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "ledger.key"
    write_keys(file, Keyring([key], []))
    return load_settings(url="sqlite:///unused", ledger={"key_file": file})


@pytest.fixture
def grow(store: Store) -> Callable[..., Any]:
    """A function that lengthens the log by so many entries."""
    return lambda number: lengthen(store, number)
