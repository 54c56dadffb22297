"""The commands that show the log to be what it was, over a store and over a server of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from runvis_core.ledger.notes import new_key
from runvis_core.store.database import open_store
from runvis_core.testing.ledger import ORIGIN, lengthen

Run = Callable[..., Result]


def test_a_run_is_proved_and_the_proof_holds_where_there_is_no_store(
    runvis: Run, told: str, address: str, key: str, tmp_path: Path
) -> None:
    assert runvis("checkpoint", url=told).exit_code == 0
    said = runvis("prove", "etl/r1", url=address)
    assert said.exit_code == 0, said.output
    bundle = tmp_path / "proof.json"
    assert runvis("prove", "etl/r1", "-o", str(bundle), url=address).exit_code == 0
    assert bundle.read_text() == said.stdout
    held = runvis("verify-proof", str(bundle), "--key", key)
    assert held.exit_code == 0, held.output
    assert f"stand in the log {ORIGIN}" in held.stdout
    stranger = runvis("verify-proof", str(bundle), "--key", new_key(ORIGIN).verifier.encode())
    assert stranger.exit_code == 1
    bundle.write_text(said.stdout.replace("nightly", "Nightly"))
    assert runvis("verify-proof", str(bundle), "--key", key).exit_code == 1


def test_a_proof_is_verified_without_the_store_s_libraries(runvis: Run, told: str, key: str, tmp_path: Path) -> None:
    bundle = tmp_path / "proof.json"
    assert runvis("checkpoint", url=told).exit_code == 0
    assert runvis("prove", "etl/r1", "-o", str(bundle), url=told).exit_code == 0
    program = (
        "import sys\n"
        "from runvis_core.cli.app import app\n"
        f"sys.argv = ['runvis', 'verify-proof', {str(bundle)!r}, '--key', {key!r}]\n"
        "try:\n    app()\n"
        "except SystemExit as ended:\n    assert not ended.code, ended\n"
        "absent = {'sqlalchemy', 'alembic', 'networkx', 'fastapi', 'psycopg'} & set(sys.modules)\n"
        "assert not absent, absent\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "stand in the log" in ended.stdout


def test_a_run_that_nobody_signed_for_has_no_proof(runvis: Run, address: str) -> None:
    said = runvis("prove", "etl/r1", url=address)
    assert said.exit_code == 1
    assert "runvis checkpoint" in said.stderr
    assert runvis("prove", "nobody", url=address).exit_code == 3
    assert runvis("checkpoint", url=address).exit_code == 3


def test_the_log_goes_on_from_a_checkpoint_that_was_kept(
    runvis: Run, told: str, address: str, key: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    first = runvis("checkpoint", url=told)
    kept.write_text(first.stdout)
    store = open_store(told)
    lengthen(store, 300)
    store.close()
    assert runvis("checkpoint", url=told).exit_code == 0
    shown = runvis("checkpoint", "--against", str(kept), "--key", key, url=address)
    assert shown.exit_code == 0, shown.output
    assert "the log goes on from" in shown.stdout
    size = first.stdout.splitlines()[1]
    kept.write_text(first.stdout.replace(f"\n{size}\n", f"\n{int(size) - 1}\n"))
    assert runvis("checkpoint", "--against", str(kept), "--key", key, url=address).exit_code == 1


def test_a_store_is_verified_and_what_was_changed_is_named(runvis: Run, told: str, key: str, tmp_path: Path) -> None:
    store = open_store(told)
    lengthen(store, 600)
    assert runvis("checkpoint", url=told).exit_code == 0
    whole = runvis("verify", "--key", key, url=told)
    assert whole.exit_code == 0, whole.output
    assert "entries and 1 checkpoints agree" in whole.stdout
    assert runvis("verify", "--from", "10", "--to", "400", url=told).exit_code == 0
    from tests.runvis_core.ledger.tampering import unguarded

    with unguarded(store) as connection:
        connection.exec_driver_sql("UPDATE entries SET kind = 'note' WHERE position = 300")
        connection.exec_driver_sql("DELETE FROM entries WHERE position = 301")
    store.close()
    found = runvis("verify", "--key", key, url=told)
    assert found.exit_code == 1
    assert "entry 301: removed" in found.stdout
    assert "entry 300: its columns say otherwise" in found.stdout
    assert "entry 301: removed" in runvis("verify", "--from", "257", "--to", "400", url=told).stdout
    assert runvis("verify", "--to", "256", url=told).exit_code == 0


def test_a_verification_goes_on_where_it_was_interrupted(runvis: Run, told: str, key: str, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    store = open_store(told)
    lengthen(store, 256 * 17)
    store.close()
    assert runvis("checkpoint", url=told).exit_code == 0
    assert runvis("verify", "--state", str(state), url=told).exit_code == 0
    said = json.loads(state.read_bytes())
    assert said["tree"]["tiles"] == 16
    again = runvis("verify", "--state", str(state), url=told)
    assert again.exit_code == 0, again.output
    assert f"the first {16 * 256} entries were verified before" in again.stderr
    state.write_text(json.dumps(said | {"store": "sqlite:///other"}))
    assert runvis("verify", "--state", str(state), url=told).exit_code == 2
    state.write_text("{}")
    assert runvis("verify", "--state", str(state), url=told).exit_code == 2


def test_keys_are_rotated_with_both_signing_for_a_while(runvis: Run, told: str, key: str) -> None:
    first = runvis("checkpoint", url=told).stdout
    added = runvis("keys", "add", "--reason", "the yearly rotation", url=told)
    assert added.exit_code == 0, added.output
    second_key = added.stdout.strip()
    both = runvis("checkpoint", url=told).stdout
    assert [note.count(f"— {ORIGIN} ") for note in (first, both)] == [1, 2]
    old_id = key.split("+")[1]
    revoked = runvis("keys", "revoke", old_id, "--reason", "retired", url=told)
    assert revoked.exit_code == 0, revoked.output
    store = open_store(told)
    lengthen(store, 1)
    store.close()
    last = runvis("checkpoint", url=told).stdout
    assert last.count(f"— {ORIGIN} ") == 1
    assert second_key in runvis("keys", "list").stdout
    assert f"retired  {key}" in runvis("keys", "list").stdout
    # Who pinned the first key follows the declarations to the second; who pinned only the second can't judge the first.
    followed = runvis("verify", "--key", key, url=told)
    assert followed.exit_code == 0, followed.output
    assert "a key was revoked" in followed.stderr
    assert runvis("verify", "--key", second_key, url=told).exit_code == 1
    assert runvis("verify", url=told).exit_code == 0
    assert runvis("keys", "revoke", second_key.split("+")[1], "--reason", "no", url=told).exit_code == 2
    assert runvis("keys", "revoke", "00000000", "--reason", "no", url=told).exit_code == 3


def test_a_key_file_is_never_written_over(runvis: Run, key: str, tmp_path: Path) -> None:
    again = runvis("keys", "new", ORIGIN, "--file", str(tmp_path / "ledger.key"))
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert runvis("keys", "new", "no name", "--file", str(tmp_path / "other.key")).exit_code == 1
    assert os.environ["RUNVIS__LEDGER__KEY_FILE"] == str(tmp_path / "ledger.key")
    assert key in runvis("keys", "list").stdout


def test_a_new_epoch_is_declared_in_so_many_words(runvis: Run, told: str, key: str) -> None:
    assert runvis("checkpoint", url=told).exit_code == 0
    declared = runvis("db", "new-epoch", "--reason", "restored from a copy", url=told)
    assert declared.exit_code == 0, declared.output
    assert "restored from a copy" in declared.stdout
    later = runvis("checkpoint", url=told).stdout
    assert later.startswith(f"{ORIGIN}/epoch-")
    shown = runvis("verify", "--key", key, url=told)
    assert shown.exit_code == 0, shown.output
    assert "a new epoch was declared" in shown.stderr
