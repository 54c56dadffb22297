"""Checkpoints of a store's log: made, kept, handed on; and what the log's keys declare about themselves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import DBAPIError

from runvis_core.errors import LedgerError, NotFoundError, RunVisError, SettingsError, UnreachableError
from runvis_core.ledger.checkpoints import Checkpoint, parse_checkpoint, sign_checkpoint
from runvis_core.ledger.claims import find_declared
from runvis_core.ledger.declarations import EPOCH, Declaration, parse_declaration, sign_declaration
from runvis_core.ledger.keyring import read_keys
from runvis_core.ledger.made import MadeCheckpoint
from runvis_core.ledger.notes import SigningKey, parse_note, parse_signatures
from runvis_core.ledger.stored_tiles import LedgerStep, tail_of, tree_of
from runvis_core.ledger.tree import prove_consistency, range_hash
from runvis_core.model.decision import DECLARATION, Declared
from runvis_core.plugins import Plugins, plugin_manager
from runvis_core.services.checkpoint_file import find_last_checkpoint
from runvis_core.services.decisions import CHECKPOINT, record_access, record_decision
from runvis_core.services.ledger_answers import CheckpointPage, CheckpointView
from runvis_core.services.reading import reading
from runvis_core.settings import Settings
from runvis_core.store import tables as t
from runvis_core.store.database import Store
from runvis_core.store.steps import catch_up

_log = logging.getLogger(__name__)

_LOCK: Final = 0x52756E56697374
"""The PostgreSQL advisory lock under which one process at a time signs."""
REMEDY: Final = "run `runvis verify`; if an older copy of the store was restored, declare it: `runvis db new-epoch`"


class Made(NamedTuple):
    """What came of making a checkpoint."""

    checkpoint: CheckpointView
    is_new: bool
    """Whether the log had grown since the one before."""
    troubles: list[str]
    """Where it could not be handed on, in words."""


def make_checkpoint(store: Store, settings: Settings, *, plugins: Plugins | None = None) -> Made:
    """Sign what the log is now, keep that, and hand it on; if the log has not grown, return the last one.

    Raises `LedgerError`, and signs nothing, where the log does not go on from what was signed before: a log has no
    second history. Raises `SettingsError` without a key.
    """
    keys = signing_keys(settings)
    catch_up(store, [LedgerStep()])
    held = _find_held(settings)
    with _writing(store) as connection:
        origins = _origins(connection, keys[0].name)
        origin = origins[-1]
        keys = [key._replace(name=origin) for key in keys]
        size = connection.execute(select(t.head.c.position)).scalar_one()
        last = _last(connection)
        checkpoint = Checkpoint(origin, size, root_at(connection, size))
        if held is not None and held.origin not in origins:
            raise LedgerError(f"checkpoints of {held.origin} were signed, of which this store knows nothing; {REMEDY}")
        _require_growth(connection, checkpoint, [said for said in (_said(last) if last else None, held) if said])
        if last is not None and _said(last) == checkpoint and _is_signed_by(last.note, keys):
            return Made(_view(connection, last), False, [])
        note = sign_checkpoint(checkpoint, keys)
        number = (last.number if last else 0) + 1
        row = {"number": number, "origin": origin, "size": size, "root": checkpoint.root, "note": note}
        connection.execute(insert(t.checkpoints), [row | {"made_at": store.clock(), "tail": tail_of(connection, size)}])
    goes_on = last is not None and last.origin == origin
    made = MadeCheckpoint(checkpoint, note, last.size if last and goes_on else 0, _prover(store, size))
    troubles = _hand_on(store, settings, made, number, plugins or plugin_manager())
    with reading(store) as connection:
        return Made(_view(connection, _last(connection, number=number)), True, troubles)


def order_checkpoint(store: Store, settings: Settings, *, principal: str) -> Made:
    """Make a checkpoint as `make_checkpoint` does, because somebody wants it now: the audit trail tells who did.

    Those that are made at intervals are no entries, or the log would never rest.
    """
    made = make_checkpoint(store, settings)
    if made.is_new:
        said: dict[str, Any] = {"number": made.checkpoint.number, "size": made.checkpoint.size}
        record_access(store, CHECKPOINT, made.checkpoint.origin, principal=principal, details=said)
    return made


def signing_keys(settings: Settings) -> list[SigningKey]:
    """Return the keys that sign. Raises `SettingsError` where there are none."""
    if settings.ledger.key_file is None:
        raise SettingsError(
            "there is no key to sign with: make one with `runvis keys new`, and set RUNVIS__LEDGER__KEY_FILE"
        )
    return read_keys(settings.ledger.key_file).signing


def root_at(connection: Connection, size: int) -> bytes:
    """Return the root of the first `size` entries, from the tiles."""
    return range_hash(tree_of(connection, size).get_node, 0, size)


def current_origin(connection: Connection, keys: Sequence[SigningKey]) -> str:
    """Return the name under which the log goes on: that of its keys, or of the epoch declared last."""
    return _origins(connection, keys[0].name)[-1]


def _origins(connection: Connection, first: str) -> list[str]:
    """Return the names under which the log went, in order."""
    declared = [parse_declaration(_text_of(row.note)) for row in _declarations(connection)]
    return [first, *(one.subject for one in declared if one.verb == EPOCH)]


def current_name(store: Store, keys: Sequence[SigningKey]) -> str:
    """Return the name under which a store's log goes on."""
    with reading(store) as connection:
        return current_origin(connection, keys)


def find_checkpoint(connection: Connection) -> CheckpointView | None:
    """Return the last checkpoint; None before the first."""
    last = _last(connection)
    return _view(connection, last) if last is not None else None


def get_checkpoint_note(store: Store) -> str:
    """Return the last checkpoint as C2SP readers ask for it. Raises `NotFoundError` before the first."""
    with reading(store) as connection:
        found = find_checkpoint(connection)
    if found is None:
        raise NotFoundError("this log has no checkpoint yet: `runvis checkpoint` makes one")
    return found.note


def list_checkpoints(store: Store, *, limit: int, before: int | None = None) -> CheckpointPage:
    """Return checkpoints, the newest first; `before` is the number of the oldest one of the page before."""
    with reading(store) as connection:
        query = select(t.checkpoints).order_by(t.checkpoints.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(t.checkpoints.c.number < before)
        return CheckpointPage(items=[_view(connection, row) for row in connection.execute(query).all()])


def declare(store: Store, keys: Sequence[SigningKey], verb: str, subject: str, *, reason: str, principal: str) -> str:
    """Sign and keep a declaration at the log's present size; return its note. Raises `NoteError`, `LedgerError`.

    It becomes an entry, too: the next checkpoint covers it, and it can't be taken away without being missed.
    """
    catch_up(store, [LedgerStep()])
    with _writing(store) as connection:
        size = connection.execute(select(t.head.c.position)).scalar_one()
        origin = current_origin(connection, keys)
        at = Checkpoint(origin, size, root_at(connection, size))
        named = [key._replace(name=origin) for key in keys]
        note = sign_declaration(Declaration(at, verb, subject, reason), named)
        number = max((row.number for row in _declarations(connection)), default=0) + 1
        connection.execute(insert(t.declarations), [{"number": number, "made_at": store.clock(), "note": note}])
    _tell_of_declarations(store, principal=principal)
    return note


def _tell_of_declarations(store: Store, *, principal: str) -> None:
    """Make each declaration an entry that is none yet: the last one, and one after which a process was killed."""
    with reading(store) as connection:
        told = find_declared(connection)
        untold = [row for row in _declarations(connection) if row.number not in told]
    for row in untold:
        said = parse_declaration(_text_of(row.note))
        details = Declared(number=row.number, note=row.note).model_dump(mode="json")
        subject = f"{said.verb} {said.subject}"[:1000]
        record_decision(store, DECLARATION, subject, details, principal=principal, reason=said.reason or None)


def declare_epoch(store: Store, settings: Settings, *, reason: str, principal: str, now: datetime) -> str:
    """Declare that the log goes on from here under a new name, since what it was before can't be gone on from.

    For a store that was restored from an older copy. Returns the declaration.
    """
    keys = signing_keys(settings)
    return declare(store, keys, EPOCH, f"{keys[0].name}/epoch-{now:%Y%m%dT%H%M%SZ}", reason=reason, principal=principal)


def keep_checkpointing(
    store: Store, settings: Settings, stop: threading.Event, *, wait: Callable[[float], object] | None = None
) -> None:
    """Make a checkpoint at each interval until `stop` is set. What goes wrong is said, and tried again."""
    wait = wait or stop.wait
    said: str | None = None
    while not stop.is_set():
        try:
            made = make_checkpoint(store, settings)
            trouble = "; ".join(made.troubles) or None
        except RunVisError as error:
            trouble = str(error)
        if trouble is not None and trouble != said:
            _log.error("checkpoint: %s", trouble)
        said = trouble
        wait(settings.ledger.interval_seconds)


def _find_held(settings: Settings) -> Checkpoint | None:
    """Return what the checkpoint file says was signed last: a store that was set back does not know it."""
    file = settings.ledger.checkpoint_file
    note = find_last_checkpoint(file) if file is not None else None
    return parse_checkpoint(_text_of(note)) if note is not None else None


def _require_growth(connection: Connection, now: Checkpoint, known: Sequence[Checkpoint]) -> None:
    for before in known:
        if before.origin != now.origin:
            continue
        if before.size > now.size:
            raise LedgerError(
                f"{before.size} entries were signed, and the log has {now.size}: it was set back; {REMEDY}"
            )
        if root_at(connection, before.size) != before.root:
            raise LedgerError(f"the log is not the one that was signed at {before.size} entries; {REMEDY}")


def _hand_on(store: Store, settings: Settings, made: MadeCheckpoint, number: int, plugins: Plugins) -> list[str]:
    troubles: list[str] = []
    for answer in plugins.ask("runvis_checkpoint_made", checkpoint=made, settings=settings):
        if answer.error is not None:
            troubles.append(f"{answer.plugin}: {answer.error}")
        elif answer.value:
            _keep_cosignatures(store, number, made, answer.value)
    return troubles


def _keep_cosignatures(store: Store, number: int, made: MadeCheckpoint, lines: str) -> None:
    rows = {
        (one.name, one.key_id): {"number": number, "name": one.name, "key_id": one.key_id, "line": one.line}
        for one in parse_signatures(lines)
        if one.name != made.checkpoint.origin
    }
    if rows:
        with _writing(store) as connection:
            connection.execute(insert(t.cosignatures), list(rows.values()))


def _prover(store: Store, size: int) -> Callable[[int], list[bytes]]:
    def prove(old_size: int) -> list[bytes]:
        with reading(store) as connection:
            return prove_consistency(tree_of(connection, size).get_node, old_size, size)

    return prove


def _last(connection: Connection, *, number: int | None = None) -> Any:
    query = select(t.checkpoints).order_by(t.checkpoints.c.number.desc()).limit(1)
    if number is not None:
        query = query.where(t.checkpoints.c.number == number)
    return connection.execute(query).one_or_none()


def _said(row: Any) -> Checkpoint:
    return Checkpoint(row.origin, row.size, bytes(row.root))


def _view(connection: Connection, row: Any) -> CheckpointView:
    columns = t.cosignatures.c
    query = select(columns.name, columns.line).where(columns.number == row.number).order_by(columns.name)
    cosigned = connection.execute(query).all()
    return CheckpointView(
        number=row.number,
        origin=row.origin,
        size=row.size,
        root=bytes(row.root).hex(),
        made_at=row.made_at,
        witnesses=[one.name for one in cosigned],
        note=row.note + "".join(one.line for one in cosigned),
    )


def _declarations(connection: Connection) -> Sequence[Any]:
    return connection.execute(select(t.declarations).order_by(t.declarations.c.number)).all()


def _text_of(note: str) -> str:
    return parse_note(note).text


def _is_signed_by(note: str, keys: Sequence[SigningKey]) -> bool:
    signed = {signature.key_id for signature in parse_note(note).signatures}
    return signed == {key.verifier.key_id for key in keys}


@contextmanager
def _writing(store: Store) -> Generator[Connection]:
    """Begin one writer's transaction over the ledger's own tables; another one waits."""
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    try:
        with store.engine.connect().execution_options(**options) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield connection
    except DBAPIError as error:
        raise UnreachableError(f"the ledger can't be written to now: {error.orig}") from error
