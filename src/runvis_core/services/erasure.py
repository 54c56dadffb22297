"""Erasure: bodies and their salts leave by a decision that is itself an entry; the log and its tree stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from runvis_core.errors import LogRuleError
from runvis_core.model.decision import ERASURE, Erased, ErasedBody
from runvis_core.model.encoding import encode
from runvis_core.services.decision_answers import ErasureRequest, ErasureView
from runvis_core.services.decisions import record_decision
from runvis_core.services.holds import find_holds
from runvis_core.services.names import resolve_run
from runvis_core.services.reading import reading
from runvis_core.store.database import Store
from runvis_core.store.failures import MESSAGE, forget_failures
from runvis_core.store.tables import bodies, entries

PART_BYTES: Final = 40_000
"""What one decision names at most, so that it fits into an entry with all else."""
NAME_CHARACTERS: Final = 200


def erase(store: Store, request: ErasureRequest, *, principal: str) -> ErasureView:
    """Erase bodies of a run, or say with `dry_run` what would be erased. The log keeps their digests.

    Raises `NotFoundError` if there is no such run, and `LogRuleError` where a legal hold covers it: then nothing is
    erased.
    """
    with reading(store) as connection:
        run_id = resolve_run(connection, request.run)
        query = select(entries.c.position, entries.c.entry).where(entries.c.run_id == run_id)
        found = list(_find_bodies(connection, connection.execute(query.order_by(entries.c.position)).all(), request))
        held_by = find_holds(connection, [body.position for body in found[:1]])
    decisions: list[int] = []
    remaining: str | None = None
    if not request.dry_run and found:
        if held_by:
            raise LogRuleError(
                f"a legal hold covers the run, so nothing of it is erased: {', '.join(held_by)} (`runvis holds list`)"
            )
        for part in _parts(found):
            details = Erased(bodies=tuple(part)).model_dump(mode="json")
            # The database itself looks for a hold once more: one may have been placed meanwhile.
            decisions.append(
                record_decision(
                    store,
                    ERASURE,
                    str(run_id),
                    details,
                    principal=principal,
                    run_id=run_id,
                    reason=request.reason,
                )
            )
        if any(body.name == MESSAGE for body in found):
            _forget_failures(store, run_id)
        remaining = _wipe(store)
    return ErasureView(run_id=run_id, bodies=found, decisions=decisions, held_by=held_by, remaining=remaining)


def _find_bodies(connection: Connection, rows: Sequence[Any], request: ErasureRequest) -> Iterator[ErasedBody]:
    for position, entry in rows:
        refs: dict[str, dict[str, Any]] = orjson.loads(entry)["event"].get("bodies") or {}
        wanted: dict[str, str] = {
            name: ref["digest"] for name, ref in refs.items() if not request.bodies or name in request.bodies
        }
        if not wanted:
            continue
        query = select(bodies.c.digest).where(bodies.c.position == position)
        there = {bytes(digest).hex() for digest in connection.execute(query).scalars()}
        for digest, name in {digest: name for name, digest in wanted.items() if digest in there}.items():
            yield ErasedBody(position=position, name=name[:NAME_CHARACTERS], digest=digest)


def _forget_failures(store: Store, run_id: UUID) -> None:
    """Remove what was kept for searching now; the step that keeps it does so too, when it comes to the decision."""
    options: dict[str, Any] = {"sqlite_begin": "BEGIN IMMEDIATE"}
    with store.engine.connect().execution_options(**options) as connection, connection.begin():
        forget_failures(connection, [run_id])


def _parts(items: Iterable[ErasedBody]) -> Iterator[list[ErasedBody]]:
    part: list[ErasedBody] = []
    size = 0
    for item in items:
        more = len(encode(item.model_dump()))
        if part and size + more > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield part


def _wipe(store: Store) -> str | None:
    """Take what was erased out of the database's own files, as far as may be; return what is left, and who can."""
    if store.engine.dialect.name == "sqlite":
        # The pages are overwritten; the write-ahead log still has them as they were.
        with store.engine.connect() as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        return "the file's write-ahead log, until the next checkpoint: others are reading" if busy else None
    try:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            is_owner = connection.scalar(
                text("SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = 'bodies'::regclass")
            )
            if is_owner:
                connection.exec_driver_sql("VACUUM bodies")
    except DBAPIError as error:
        return f"dead rows of `bodies`: VACUUM failed ({error.orig}); run `VACUUM bodies`"
    kept = "the database's write-ahead log until it is recycled, and backups"
    return kept if is_owner else f"dead rows of `bodies` until the owner's or the automatic VACUUM; {kept}"
