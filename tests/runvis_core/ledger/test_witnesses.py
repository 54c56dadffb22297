"""Witnesses over HTTP, as C2SP `tlog-witness` says: what they are sent, what they answer, what is made of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runvis_core.errors import LedgerError
from runvis_core.ledger.checkpoints import open_checkpoint
from runvis_core.ledger.notes import (
    SigningKey,
    VerifierKey,
    cosign,
    cosigner_key,
    decode_base64,
    open_note,
    parse_note,
)
from runvis_core.ledger.tree import EMPTY_ROOT, verify_consistency
from runvis_core.services.checkpoints import make_checkpoint
from runvis_core.services.verification import verify_store
from runvis_core.settings import Settings
from runvis_core.store.database import Store
from runvis_core.testing.ledger import lengthen

SECRET = bytes(range(32))
NAME = "witness.example/w1"


class Witness:
    """A witness that holds to the specification: it cosigns what goes on from what it cosigned before."""

    def __init__(self, trusted: list[VerifierKey]) -> None:
        self.trusted = trusted
        self.size, self.root = 0, EMPTY_ROOT
        self.asked: list[int] = []
        self.answer: Callable[[str], str] = lambda text: cosign(NAME, SECRET, text, 1_700_000_000).line

    def add_checkpoint(self, body: str) -> tuple[int, str]:
        head, _, note = body.partition("\n\n")
        old, *lines = head.split("\n")
        old_size = int(old.removeprefix("old "))
        self.asked.append(old_size)
        checkpoint = open_checkpoint(note, self.trusted)
        if old_size != self.size:
            return 409, f"{self.size}\n"
        proof = [decode_base64(line, "a proof") for line in lines]
        try:
            verify_consistency(
                old_size=old_size, old_root=self.root, new_size=checkpoint.size, new_root=checkpoint.root, proof=proof
            )
        except LedgerError as error:
            return 422, str(error)
        self.size, self.root = checkpoint.size, checkpoint.root
        return 200, self.answer(parse_note(note).text)


@pytest.fixture
def witness(keys: list[VerifierKey]) -> Witness:
    return Witness(keys)


@pytest.fixture
def address(witness: Witness) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/w1/add-checkpoint"
            status, said = witness.add_checkpoint(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(status)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/w1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def watched(settings: Settings, address: str) -> Settings:
    """Settings with the witness."""
    ledger = settings.ledger.model_copy(update={"witnesses": {address: cosigner_key(NAME, SECRET).encode()}})
    return settings.model_copy(update={"ledger": ledger})


def test_a_witness_cosigns_each_checkpoint_and_its_word_is_kept(
    store: Store, grow: Callable[[int], None], watched: Settings, keys: list[VerifierKey], witness: Witness
) -> None:
    for number in (3, 300, 1):
        grow(number)
        made = make_checkpoint(store, watched)
        assert made.troubles == []
        assert made.checkpoint.witnesses == [NAME]
        everybody = [*keys, cosigner_key(NAME, SECRET)]
        assert {one.name for one in open_note(made.checkpoint.note, everybody)[1]} == {NAME, keys[0].name}
    assert witness.asked == [0, 3, 303]
    assert verify_store(store, keys=[*keys, cosigner_key(NAME, SECRET)]).problems == []


def test_a_witness_that_is_behind_says_so_and_is_brought_up(
    store: Store, grow: Callable[[int], None], settings: Settings, watched: Settings, witness: Witness
) -> None:
    grow(3)
    make_checkpoint(store, watched)
    grow(10)
    make_checkpoint(store, settings)
    grow(10)
    assert make_checkpoint(store, watched).troubles == []
    assert witness.asked == [0, 13, 3]
    assert witness.size == 23


def test_a_witness_that_has_seen_more_tells_that_the_log_was_set_back(
    store: Store, grow: Callable[[int], None], watched: Settings, witness: Witness
) -> None:
    grow(5)
    witness.size = 9
    made = make_checkpoint(store, watched)
    assert "has seen 9 entries, and the log has 5: it was set back" in made.troubles[0]
    assert made.checkpoint.witnesses == []


def test_a_witness_that_saw_another_history_does_not_cosign(
    store: Store, grow: Callable[[int], None], watched: Settings, witness: Witness
) -> None:
    grow(5)
    witness.size, witness.root = 3, bytes(32)
    made = make_checkpoint(store, watched)
    assert "it answered 422" in made.troubles[0]


@pytest.mark.parametrize("said", ["", "nonsense\n", "— somebody.else AAAAAAAAAAA=\n"])
def test_what_is_no_signature_of_the_witness_is_not_kept(
    store: Store, grow: Callable[[int], None], watched: Settings, witness: Witness, said: str
) -> None:
    grow(2)
    witness.answer = lambda _text: said
    made = make_checkpoint(store, watched)
    assert len(made.troubles) == 1
    assert made.checkpoint.witnesses == []


def test_a_signature_over_something_else_is_not_kept(
    store: Store, grow: Callable[[int], None], watched: Settings, witness: Witness
) -> None:
    grow(2)
    witness.answer = lambda text: cosign(NAME, SECRET, text.replace("\n2\n", "\n3\n"), 1).line
    assert "does not hold" in make_checkpoint(store, watched).troubles[0]


def test_a_witness_that_is_away_hinders_nobody(store: Store, settings: Settings, key: SigningKey) -> None:
    lengthen(store, 1)
    # A port that was free a moment ago, and that nobody listens on.
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    address = f"http://127.0.0.1:{server.server_port}"
    server.server_close()
    ledger = settings.ledger.model_copy(update={"witnesses": {address: cosigner_key(NAME, SECRET).encode()}})
    made = make_checkpoint(store, settings.model_copy(update={"ledger": ledger}))
    assert "can't be reached" in made.troubles[0]
    assert open_checkpoint(made.checkpoint.note, [key.verifier]).size == 1
