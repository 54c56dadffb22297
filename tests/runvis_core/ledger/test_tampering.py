"""Whatever is changed in a store behind its back is found by `verify`, and named.

`RUNVIS_TAMPERINGS` says how many ways are tried on SQLite; each follows from its number, which a failure tells.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid5

import orjson
import pytest
from sqlalchemy import delete, insert, select, update
from tests.faults.scale import ROUNDS, found
from tests.runvis_core.ledger.tampering import (
    WAYS,
    Tampering,
    add,
    alter,
    remove,
    rewrite_entry,
    tamper,
    tampered_columns,
    unguarded,
)

from runvis_core.hookspecs import hookimpl
from runvis_core.ledger.declarations import ADD_KEY, REVOKE_KEY
from runvis_core.ledger.keyring import Keyring, read_keys, write_keys
from runvis_core.ledger.made import MadeCheckpoint
from runvis_core.ledger.notes import VerifierKey, cosign, cosigner_key, new_key
from runvis_core.model.decision import ERASURE, HOLD_PLACED
from runvis_core.model.encoding import leaf_hash
from runvis_core.model.event import EventBase, NoteEvent, ProducerClosedEvent, ProducerOpenedEvent
from runvis_core.plugins import Plugins
from runvis_core.services.checkpoints import declare, make_checkpoint
from runvis_core.services.ingest import ingest_events
from runvis_core.services.steps import STEPS
from runvis_core.services.verification import verify_store
from runvis_core.settings import Settings, load_settings
from runvis_core.store import tables as t
from runvis_core.store.database import Store, open_store
from runvis_core.store.rebuild import rebuild_store
from runvis_core.store.steps import catch_up
from runvis_core.testing.event_log_suite import fill
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.ledger import ORIGIN, lengthen
from runvis_core.testing.story import LOAD_1, a_story

TAMPERINGS = int(os.environ.get("RUNVIS_TAMPERINGS", 300 * ROUNDS))
PARTS = 10
WITNESS = bytes(range(32))


class Bent(NamedTuple):
    """A store with a history, signed several times, and what of it was kept elsewhere."""

    keys: list[VerifierKey]
    settings: Settings
    held: dict[str, list[str]]


class Witness:
    """Signs whatever it is given."""

    @hookimpl
    def runvis_checkpoint_made(self, checkpoint: MadeCheckpoint) -> str:
        return cosign("witness.example", WITNESS, checkpoint.checkpoint.encode(), 1_700_000_000).line


def build(store: Store, folder: Path) -> Bent:
    """Give a store two full tiles and a tail, every kind of row, three checkpoints with a witness, a second key."""
    key, second = new_key(ORIGIN), new_key(ORIGIN)
    file = folder / "ledger.key"
    write_keys(file, Keyring([key], []))
    settings = load_settings(url="sqlite:///unused", ledger={"key_file": file})
    plugins = Plugins(group=None)

    plugins.register(Witness(), name="witness")
    held: list[str] = []
    fill(store)
    ingest_events(store, [*a_story(), *a_process()], principal="test")
    for number in (200, 220, 150):
        lengthen(store, number)
        held.append(make_checkpoint(store, settings, plugins=plugins).checkpoint.note)
        if number == 200:
            write_keys(file, Keyring([key, second], []), replace=True)
            declare(store, [key, second], ADD_KEY, second.verifier.encode(), reason="a rotation", principal="ann")
    catch_up(store, STEPS)
    return Bent([key.verifier, cosigner_key("witness.example", WITNESS)], settings, {"held": held})


def a_process() -> list[EventBase]:
    producer = uuid5(a_run_id(), "process")
    return [
        make(
            ProducerOpenedEvent,
            producer=producer,
            sequence=0,
            component="task",
            host="worker-1",
            pid=7,
            versions={"runvis": "0.1.0"},
        ),
        make(NoteEvent, run_id=LOAD_1, producer=producer, sequence=1, seconds=8, content={"text": "seen"}),
        make(ProducerClosedEvent, producer=producer, sequence=2, refused=0, seconds=9),
    ]


def problems(store: Store, bent: Bent, *, with_held: bool = False) -> list[str]:
    return verify_store(store, keys=bent.keys, held=bent.held if with_held else {}).problems


def require_named(found: list[str], done: Tampering) -> None:
    assert any(word in said for said in found for word in done.named_by), f"{done}\nfound {len(found)}: {found[:20]}"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bent]:
    """A whole store in a SQLite file, of which each test bends a copy."""
    folder = tmp_path_factory.mktemp("original")
    store = open_store(f"sqlite:///{folder / 'runvis.db'}")
    bent = build(store, folder)
    assert problems(store, bent, with_held=True) == []
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return folder / "runvis.db", bent


@pytest.fixture
def copied(original: tuple[Path, Bent], tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """A function that opens a fresh copy."""
    opened: list[Store] = []

    def copy() -> Store:
        while opened:
            opened.pop().close()
        file = tmp_path / "copy.db"
        for left in tmp_path.glob("copy.db*"):
            left.unlink()
        shutil.copy(original[0], file)
        opened.append(open_store(f"sqlite:///{file}"))
        return opened[-1]

    yield copy
    for store in opened:
        store.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_every_tampering_is_found_and_named(
    original: tuple[Path, Bent], copied: Callable[[], Store], part: int
) -> None:
    unnamed: list[str] = []
    for seed in range(part, TAMPERINGS, PARTS):
        store = copied()
        done = tamper(store, seed)
        said = problems(store, original[1])
        if not any(word in problem for problem in said for word in done.named_by):
            unnamed.append(f"seed {seed}: {done}\n  found {len(said)}: {said[:8]}")
    found("tampering", edits=len(range(part, TAMPERINGS, PARTS)), undetected=len(unnamed))
    assert unnamed == [], "\n".join(unnamed)


def test_every_column_is_among_the_tamperings() -> None:
    columns = tampered_columns()
    assert len(columns) < TAMPERINGS
    assert {("entries", "entry"), ("runs", "state"), ("bodies", "salt"), ("tiles", "root"), ("head", "position")} <= {
        *columns
    }


def test_what_an_honest_log_takes_in_is_no_tampering(original: tuple[Path, Bent], copied: Callable[[], Store]) -> None:
    store, bent = copied(), original[1]
    lengthen(store, 300)
    assert problems(store, bent, with_held=True) == []
    make_checkpoint(store, bent.settings)
    rebuild_store(store)
    catch_up(store, STEPS)
    assert problems(store, bent, with_held=True) == []


def test_an_older_copy_is_seen_by_a_checkpoint_that_was_kept_elsewhere(
    original: tuple[Path, Bent], tmp_path: Path
) -> None:
    bent = original[1]
    older = open_store(f"sqlite:///{tmp_path / 'older.db'}")
    fill(older)
    ingest_events(older, [*a_story(), *a_process()], principal="test")
    # By itself it is a whole log, and nothing in it is wrong.
    assert problems(older, bent) == []
    found = problems(older, bent, with_held=True)
    older.close()
    assert len(found) >= 3
    assert all("held" in said for said in found)


def test_a_rewrite_by_who_has_the_key_is_seen_by_a_checkpoint_that_was_kept_elsewhere(
    original: tuple[Path, Bent], copied: Callable[[], Store]
) -> None:
    store, bent = copied(), original[1]
    with unguarded(store) as connection:
        query = select(t.entries.c.position, t.entries.c.entry).where(t.entries.c.kind == "metric")
        position, entry = connection.execute(query.where(t.entries.c.position > 100).limit(1)).one()
        changed = bytes(entry).replace(b'"name":"rows"', b'"name":"cows"')
        assert changed != bytes(entry)
        connection.execute(
            update(t.entries)
            .where(t.entries.c.position == position)
            .values(entry=changed, leaf_hash=leaf_hash(changed))
        )
        for table in (t.tiles, t.checkpoints, t.cosignatures, t.steps):
            connection.execute(delete(table))
    rebuild_store(store)
    catch_up(store, STEPS)
    make_checkpoint(store, bent.settings)
    # The new history is signed with the genuine key, and agrees with itself.
    assert problems(store, bent) == []
    found = problems(store, bent, with_held=True)
    assert len(found) == 3
    assert all("in held: is not what the log is at" in said for said in found)


def test_a_revocation_that_was_taken_away_is_missed_and_still_counts(
    original: tuple[Path, Bent], copied: Callable[[], Store], tmp_path: Path
) -> None:
    store, bent = copied(), original[1]
    key_file = bent.settings.ledger.key_file
    assert key_file is not None
    first, second = read_keys(key_file).signing
    declare(store, [second], REVOKE_KEY, first.verifier.key_id.hex(), reason="it leaked", principal="ann")
    position = store.log.head().position
    assert problems(store, bent) == []
    with unguarded(store) as connection:
        connection.execute(delete(t.declarations).where(t.declarations.c.number == 2))
    # Who has the key that leaked goes on with it.
    lengthen(store, 10)
    leaked = tmp_path / "leaked.key"
    write_keys(leaked, Keyring([first], []))
    made = make_checkpoint(store, load_settings(url="sqlite:///unused", ledger={"key_file": leaked})).checkpoint
    assert problems(store, bent) == [
        f"declaration 2: removed, and entry {position} has it",
        f"checkpoint {made.number}: no signature is by a key that was given",
    ]


@pytest.mark.parametrize("decision", [ERASURE, HOLD_PLACED])
def test_a_decision_whose_details_cannot_be_read_is_named(
    original: tuple[Path, Bent], copied: Callable[[], Store], decision: str
) -> None:
    store, bent = copied(), original[1]
    with unguarded(store) as connection:
        query = select(t.decisions.c.position).where(t.decisions.c.name == decision)
        position = connection.execute(query.limit(1)).scalar_one()
        place = t.entries.c.position == position
        entry = orjson.loads(connection.execute(select(t.entries.c.entry).where(place)).scalar_one())
        entry["event"]["details"] = {"run_id": 1, "bodies": [{"digest": "0"}]}
        changed = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
        connection.execute(update(t.entries).where(place).values(entry=changed, leaf_hash=leaf_hash(changed)))
    assert any(said.startswith(f"entry {position}: can't be read: ") for said in problems(store, bent))


def test_a_declaration_that_was_copied_is_named(original: tuple[Path, Bent], copied: Callable[[], Store]) -> None:
    store, bent = copied(), original[1]
    with unguarded(store) as connection:
        row = dict(connection.execute(select(t.declarations)).mappings().one())
        connection.execute(insert(t.declarations).values(row | {"number": row["number"] + 1}))
    assert problems(store, bent) == ["declaration 2: added: it repeats declaration 1"]


def test_a_checkpoint_that_was_copied_is_named(original: tuple[Path, Bent], copied: Callable[[], Store]) -> None:
    store, bent = copied(), original[1]
    with unguarded(store) as connection:
        row = dict(
            connection.execute(select(t.checkpoints).order_by(t.checkpoints.c.number.desc())).mappings().all()[0]
        )
        connection.execute(insert(t.checkpoints).values(row | {"number": row["number"] + 1}))
    assert problems(store, bent) == [f"checkpoint {row['number'] + 1}: added: it repeats checkpoint {row['number']}"]


def test_checkpoints_signed_by_somebody_else_are_refused(
    original: tuple[Path, Bent], copied: Callable[[], Store]
) -> None:
    store, bent = copied(), original[1]
    stranger = original[1]._replace(keys=[new_key(ORIGIN).verifier])
    assert problems(store, bent) == []
    found = problems(store, stranger)
    assert {said.partition(":")[0] for said in found} >= {"checkpoint 1", "checkpoint 2", "checkpoint 3"}


@pytest.fixture
def postgresql_store(postgresql_url: str) -> Iterator[Store]:
    store = open_store(postgresql_url)
    yield store
    store.close()


def test_tamperings_on_postgresql_are_found_and_named(postgresql_store: Store, tmp_path: Path) -> None:
    store = postgresql_store
    bent = build(store, tmp_path)
    assert problems(store, bent, with_held=True) == []
    chance = random.Random(5)
    ways: list[Callable[[], Tampering]] = [
        lambda: alter(store, chance, "runs", "record"),
        lambda: alter(store, chance, "bodies", "content"),
        lambda: alter(store, chance, "definition_versions", "schedule"),
        lambda: alter(store, chance, "checkpoints", "root"),
        lambda: alter(store, chance, "tiles", "hashes"),
        lambda: remove(store, chance, "event_ids"),
        lambda: add(store, chance, "metrics"),
        lambda: remove(store, chance, "definitions"),
        lambda: rewrite_entry(store, chance),
        lambda: WAYS["cut off"](store, chance),
    ]
    # One after the other: what was found once goes on being found beside what comes.
    for way in ways:
        done = way()
        require_named(problems(store, bent), done)
