"""An auditor's pack says what the record holds, the same each time, and can be checked without a store."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from runvis_core.errors import NotFoundError, RunVisError, SettingsError, WideQuestionError
from runvis_core.ledger.bundles import verify_bundle
from runvis_core.ledger.keyring import Keyring, write_keys
from runvis_core.ledger.notes import new_key
from runvis_core.model.event import EventBase, StateEvent
from runvis_core.services.checkpoints import make_checkpoint
from runvis_core.services.decisions import record_export
from runvis_core.services.evidence import collect_evidence
from runvis_core.services.evidence_pack import Pack, Subject, read_pack, write_pack, zip_pack
from runvis_core.settings import load_settings
from runvis_core.store.database import Store
from runvis_core.testing.factories import at, make
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, a_story

Record = Callable[[Store, Iterable[EventBase]], None]
NOW = at(86400)


def subject_of(definition: str, since: int = -100, **narrowed: Any) -> Subject:
    return Subject(definition=definition, since=at(since), until=at(1000), **narrowed)


def pack_of(store: Store, definition: str = "etl", **narrowed: Any) -> Pack:
    return collect_evidence(store, subject_of(definition, **narrowed), now=NOW)


def lines(pack: Pack, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pack.files[name].splitlines()]


def test_a_pack_holds_the_runs_and_what_ran_inside_them(store: Store, record: Record) -> None:
    record(store, a_story())
    pack = pack_of(store)
    assert {run["run_id"] for run in lines(pack, "runs.jsonl")} == {str(one) for one in (ETL, LOAD_1, LOAD_2)}
    (correction,) = lines(pack, "corrections.jsonl")
    assert (correction["run_id"], correction["frozen_as"], correction["effective_state"]) == (
        str(LOAD_1),
        "Failed",
        "Succeeded",
    )
    assert correction["judgement"]["rule"] == "latest_testimony"
    whole = {one["run_id"]: one["completeness"]["outcome"] for one in lines(pack, "completeness-of-runs.jsonl")}
    assert whole[str(LOAD_1)] == "whole"
    assert json.loads(pack.files["completeness.json"])["items"][0]["definition"] == "etl"
    readme = pack.files["README.md"].decode()
    for words in ("runs of etl", f"{pack.entries} entries", "1 ended otherwise", "Of the entries 0 do not"):
        assert words in " ".join(readme.split())


def test_every_entry_of_a_pack_has_the_hash_that_the_readme_computes(store: Store, record: Record) -> None:
    record(store, a_story())
    pack = pack_of(store)
    found = lines(pack, "entries.jsonl")
    assert len(found) == pack.entries > 10
    for entry in found:
        digest = hashlib.sha256(b"\0" + entry["entry"].encode()).hexdigest()
        assert digest == entry["leaf_hash"] == entry["hashes_to"]
    sums = dict(reversed(line.split("  ")) for line in pack.files["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in pack.files.items() if name != "SHA256SUMS"}


def test_the_same_log_gives_the_same_bytes(store: Store, record: Record, tmp_path: Path) -> None:
    record(store, a_story())
    for name in ("one.zip", "two.zip", "folder"):
        write_pack(pack_of(store), tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        zipped = {name: archive.read(name) for name in archive.namelist()}
    assert zipped == {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}


def test_that_a_pack_was_taken_out_does_not_change_the_next_one(store: Store, record: Record) -> None:
    record(store, a_story())
    first = pack_of(store)
    record_export(store, "evidence of etl", principal="ann", asked=subject_of("etl"))
    assert store.log.head().position > 0
    assert pack_of(store) == first


def test_a_server_makes_no_pack_of_any_size(store: Store, record: Record) -> None:
    record(store, a_story())
    assert collect_evidence(store, subject_of("etl"), now=NOW, most=3).runs == 3
    with pytest.raises(WideQuestionError, match="at most 2 runs"):
        collect_evidence(store, subject_of("etl"), now=NOW, most=2)


def a_zip(*names: str, kind: int = zipfile.ZIP_STORED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name in names:
            archive.writestr(name, b"x\n")
    return file


WHOLE = ("README.md", "runs.jsonl", "entries.jsonl")


def test_a_pack_is_read_from_what_it_was_zipped_to(store: Store, record: Record) -> None:
    record(store, a_story())
    file = io.BytesIO()
    zip_pack(pack_of(store), file)
    assert read_pack(file) == pack_of(store)
    assert read_pack(a_zip(*WHOLE)).runs == 1


@pytest.mark.parametrize(
    "strange",
    [
        a_zip(*WHOLE, "../../etc/passwd"),
        a_zip(*WHOLE, "/etc/passwd"),
        a_zip(*WHOLE, "proofs/../../x"),
        a_zip(*WHOLE, "proofs/.."),
        a_zip(*WHOLE, "c:\\x"),
        a_zip(*WHOLE, kind=zipfile.ZIP_DEFLATED),
        a_zip("README.md"),
        io.BytesIO(b""),
        io.BytesIO(b"PK\x03\x04 and no more"),
        io.BytesIO(b"<html>"),
    ],
    ids=["up", "root", "up again", "folder", "drive", "packed", "part", "nothing", "torn", "page"],
)
def test_what_is_no_pack_is_written_nowhere(strange: io.BytesIO) -> None:
    with pytest.raises(RunVisError, match="no pack of evidence"):
        read_pack(strange)


def test_an_entry_that_was_altered_is_counted(store: Store, record: Record) -> None:
    record(store, a_story())
    position = lines(pack_of(store), "entries.jsonl")[3]["position"]
    with store.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            names = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entries'")
            for name in list(connection.scalars(names)):
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("ALTER TABLE entries_000000 DISABLE TRIGGER USER"))
        changed = text("UPDATE entries SET leaf_hash = :hash WHERE position = :position")
        connection.execute(changed, {"hash": b"\1" * 32, "position": position})
    pack = pack_of(store)
    assert "Of the entries 1 do not" in " ".join(pack.files["README.md"].decode().split())


def test_a_pack_is_narrowed_and_of_nothing_there_is_none(store: Store, record: Record) -> None:
    record(store, a_story())
    assert {run["run_id"] for run in lines(pack_of(store, "child", engine="airflow"), "runs.jsonl")} == {str(CHILD)}
    for wanted in (
        subject_of("nothing"),
        subject_of("etl", 500),
        subject_of("etl", deployment="elsewhere"),
    ):
        with pytest.raises(NotFoundError):
            collect_evidence(store, wanted, now=NOW)


def test_runs_are_proven_where_the_log_was_signed(
    store: Store, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record(store, a_story())
    assert "Nothing of this log was ever signed" in pack_of(store).files["README.md"].decode()
    key, file = new_key("test.example/log"), tmp_path / "ledger.key"
    write_keys(file, Keyring([key], []))
    make_checkpoint(store, load_settings(url="sqlite:///unused", ledger={"key_file": file}))
    record(store, [make(StateEvent, run_id=CHILD, seconds=300, state="Succeeded")])
    pack = pack_of(store)
    proofs = [name for name in pack.files if name.startswith("proofs/")]
    assert proofs == [f"proofs/{run_id}.json" for run_id in (ETL, LOAD_1, LOAD_2)]
    for name in proofs:
        bundle = verify_bundle(pack.files[name], [key.verifier])
        assert bundle.checkpoint.size == len(a_story())
    assert "proves 3 runs." in pack.files["README.md"].decode()
    write_pack(pack, tmp_path / "pack")
    assert (tmp_path / "pack" / proofs[0]).read_bytes() == pack.files[proofs[0]]


def test_nothing_is_written_over(store: Store, record: Record, tmp_path: Path) -> None:
    record(store, a_story())
    (tmp_path / "kept.zip").write_text("kept")
    with pytest.raises(SettingsError, match="there already"):
        write_pack(pack_of(store), tmp_path / "kept.zip")
    assert (tmp_path / "kept.zip").read_text() == "kept"
