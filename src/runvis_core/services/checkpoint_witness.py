"""The built-in that asks witnesses to cosign each checkpoint (C2SP `tlog-witness`). Light to import."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from runvis_core.errors import LedgerError
from runvis_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from runvis_core.ledger.made import MadeCheckpoint
    from runvis_core.settings import Settings

_log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 10.0
MAX_REPLY_BYTES: Final = 64 * 1024
_STALE: Final = 409


@hookimpl
def runvis_checkpoint_made(checkpoint: MadeCheckpoint, settings: Settings) -> str | None:
    """Return the signatures of all witnesses that the settings name and that could be reached."""
    lines: list[str] = []
    failed: list[str] = []
    for address, key in settings.ledger.witnesses.items():
        try:
            lines.append(ask_witness(address, key, checkpoint))
        except LedgerError as error:
            failed.append(str(error))
    if failed and not lines:
        raise LedgerError("; ".join(failed))
    for said in failed:
        _log.warning("%s", said)
    return "".join(lines) or None


def ask_witness(address: str, key: str, made: MadeCheckpoint) -> str:
    """Return a witness's signature line of a checkpoint. Raises `LedgerError` if it gives none that holds.

    A witness that has seen more than this log has knows that the log was set back, or has a second history.
    """
    import httpx

    from runvis_core.ledger.notes import open_note, parse_verifier_key

    witness = parse_verifier_key(key)
    url = f"{address.rstrip('/')}/add-checkpoint"
    old_size = made.previous_size
    try:
        with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
            reply = client.post(url, content=_request(made, old_size))
            if reply.status_code == _STALE:
                # It says how far it got; between the two replies another server may have told it more.
                old_size = _size_of(address, reply.text, made)
                reply = client.post(url, content=_request(made, old_size))
    except httpx.HTTPError as error:
        raise LedgerError(f"the witness {address} can't be reached: {type(error).__name__}: {error}") from error
    if reply.status_code != 200:
        raise LedgerError(
            f"the witness {address} did not cosign size {made.checkpoint.size} from {old_size}: it answered "
            f"{reply.status_code} {reply.text[:200].strip()}"
        )
    _, signatures = open_note(made.note + reply.text[:MAX_REPLY_BYTES], [witness])
    return "".join(signature.line for signature in signatures)


def _request(made: MadeCheckpoint, old_size: int) -> bytes:
    from runvis_core.ledger.notes import encode_base64

    proof = "".join(f"{encode_base64(value)}\n" for value in made.prove_since(old_size))
    return f"old {old_size}\n{proof}\n{made.note}".encode()


def _size_of(address: str, said: str, made: MadeCheckpoint) -> int:
    text = said.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise LedgerError(f"the witness {address} knows this log otherwise: it answered 409 {said[:200].strip()}")
    size = int(text)
    if size > made.checkpoint.size:
        raise LedgerError(
            f"the witness {address} has seen {size} entries, and the log has {made.checkpoint.size}: it was set back. "
            "If that was a restore, declare it: `runvis db new-epoch`"
        )
    return size
