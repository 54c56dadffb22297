"""The ledger over HTTP: checkpoints, proofs, and tiles where every C2SP reader looks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from runvis_core.ledger.bundles import verify_bundle
from runvis_core.ledger.keyring import Keyring, write_keys
from runvis_core.ledger.notes import SigningKey, new_key
from runvis_core.model.event import EventBase
from runvis_core.services.checkpoints import make_checkpoint
from runvis_core.settings import Settings, load_settings
from runvis_core.store.database import Store
from runvis_core.testing.ledger import ORIGIN, lengthen
from runvis_core.testing.story import a_story

Serve = Callable[..., httpx.Client]


@pytest.fixture
def key() -> SigningKey:
    return new_key(ORIGIN)


@pytest.fixture
def settings(key: SigningKey, tmp_path: Path) -> Settings:
    file = tmp_path / "ledger.key"
    write_keys(file, Keyring([key], []))
    return load_settings(url="sqlite:///unused", ledger={"key_file": file})


def test_nothing_is_signed_at_first(client: httpx.Client) -> None:
    assert client.get("/api/v1/checkpoints").json() == {"items": []}
    assert client.get("/checkpoint").status_code == 404
    assert client.get("/tile/0/000").json()["type"] == "urn:runvis:problem:not-found"


def test_checkpoints_proofs_and_tiles_are_served(
    store: Store,
    client: httpx.Client,
    record: Callable[[Store, Iterable[EventBase]], None],
    settings: Settings,
    key: SigningKey,
) -> None:
    record(store, a_story())
    refused = client.get("/api/v1/proofs/etl/r1")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:runvis:problem:ledger")
    lengthen(store, 300)
    made = make_checkpoint(store, settings).checkpoint
    [listed] = client.get("/api/v1/checkpoints", params={"limit": 5}).json()["items"]
    assert (listed["note"], listed["size"]) == (made.note, made.size)
    assert client.get("/api/v1/checkpoints", params={"before": 1}).json() == {"items": []}
    latest = client.get("/checkpoint")
    assert (latest.text, latest.headers["content-type"]) == (made.note, "text/plain; charset=utf-8")
    bundle = verify_bundle(client.get("/api/v1/proofs/etl/r1").content, [key.verifier])
    assert len(bundle.entries) == 3
    tile = client.get("/tile/0/000")
    assert (len(tile.content), tile.headers["content-type"]) == (8192, "application/octet-stream")
    assert "immutable" in tile.headers["cache-control"]
    width = made.size - 256
    assert len(client.get(f"/tile/0/001.p/{width}").content) == 32 * width
    # That the proof was taken out is one more entry, and the next tile is not full yet.
    assert client.get(f"/tile/0/001.p/{width + 2}").status_code == 404
    assert client.get("/tile/entries/000").content.startswith(len(next(store.log.read()).entry).to_bytes(2, "big"))


@pytest.mark.parametrize("path", ["tile/0/00", "tile/0/000/", "tile/a/b", "tile/0/%2e%2e/000", "tile/"])
def test_what_is_no_tile_is_not_found(client: httpx.Client, path: str) -> None:
    assert client.get(f"/{path}").status_code == 404


def test_tiles_are_for_who_may_read(serve: Serve) -> None:
    client = serve()
    client.headers.pop("Authorization")
    for path in ("/checkpoint", "/tile/0/000", "/api/v1/checkpoints", "/api/v1/proofs/x"):
        assert client.get(path).status_code == 401


def test_an_unknown_parameter_is_named(client: httpx.Client) -> None:
    refused: dict[str, Any] = client.get("/api/v1/checkpoints", params={"after": 1}).json()
    assert refused["errors"][0]["allowed"] == ["before", "limit"]
