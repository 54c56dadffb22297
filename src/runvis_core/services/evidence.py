"""An auditor's pack: what the record holds of a definition's runs in a span of time, and how to check it.

The same log gives the same bytes: nothing in the pack says when or where it was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import BaseModel
from sqlalchemy import Connection, select

from runvis_core.errors import NotFoundError, WideQuestionError
from runvis_core.model.encoding import leaf_hash
from runvis_core.services.answers import RunDetail, TreeNode
from runvis_core.services.checkpoints import find_checkpoint
from runvis_core.services.completeness import get_completeness
from runvis_core.services.completeness_answers import By, CompletenessFilter
from runvis_core.services.evidence_pack import Pack, Subject
from runvis_core.services.evidence_readme import README
from runvis_core.services.past import Past, PastRuns, reading_past
from runvis_core.services.past_details import describe_past_run
from runvis_core.services.past_filter import PastFilter
from runvis_core.services.proofs import prove_run
from runvis_core.services.reading import chunks, reading
from runvis_core.services.run_completeness import judge_runs
from runvis_core.services.witnesses import count_entries
from runvis_core.store.database import Store
from runvis_core.store.log import parse_entry
from runvis_core.store.tables import decisions, entries, erasures, runs

MAX_RUNS: Final = 5000
"""Of how many runs a server makes a pack; with what ran inside them."""


def collect_evidence(store: Store, subject: Subject, *, now: datetime, most: int | None = None) -> Pack:
    """Return the pack of a definition's runs in a span of time, with what ran inside them.

    Raises `NotFoundError` where there are none, `WideQuestionError` where there are more than `most`.
    """
    with reading_past(store, PastFilter(), now=now) as (connection, _):
        past, recorded_at = _find_end(connection)
        wanted = _find_runs(connection, subject, past.position)
        if not wanted:
            raise NotFoundError(f"there are no runs of {subject.definition!r} in that time")
        past_runs = PastRuns(connection, past)
        details: dict[UUID, RunDetail] = {}
        level = wanted
        while level:
            if most is not None and len(details) + len(level) > most:
                raise WideQuestionError(
                    f"a server makes a pack of at most {most} runs, with what ran inside them: ask for less time, or "
                    "run `runvis evidence` at the store itself"
                )
            found = [describe_past_run(past_runs, run, str(run.row.run_id)) for run in past_runs.load(level)]
            details.update((detail.run_id, detail) for detail in found)
            level = [run_id for detail in found for run_id in _inside(detail.tree) if run_id not in details]
        logged = _find_entries(connection, list(details), past.position)
        first_positions = {run.row.run_id: run.row.first_position for run in past_runs.load(details)}
        files = {
            "runs.jsonl": _lines(details.values()),
            "entries.jsonl": _lines(logged),
            "corrections.jsonl": _lines(_corrections(details.values())),
            "completeness-of-runs.jsonl": _lines(_wholeness(connection, list(details))),
            "erasures.jsonl": _lines(_erasures(connection, [entry["position"] for entry in logged])),
        }
    account = get_completeness(
        store,
        CompletenessFilter(
            by=By.DEFINITION,
            engine=subject.engine,
            deployment=subject.deployment,
            definition=subject.definition,
            since=subject.since,
            until=subject.until,
        ),
        limit=1000,
        now=subject.until,
    )
    files["completeness.json"] = _json(account)
    proven = _prove(store, first_positions, files)
    files["README.md"] = _readme(subject, past.position, recorded_at, details, logged, proven)
    files["SHA256SUMS"] = _sums(files)
    return Pack(files)


def _find_end(connection: Connection) -> tuple[Past, datetime | None]:
    """Return the end of what a pack tells, and when its last entry was recorded.

    That somebody looked at the log, or took a pack out, is an entry too, and no part of what a pack is about: with it
    no two packs would be the same.
    """
    columns = entries.c
    query = select(columns.position, columns.entry).where(columns.kind != "access")
    last = connection.execute(query.order_by(columns.position.desc()).limit(1)).one_or_none()
    if last is None:
        return Past(None, 0), None
    return Past(None, last.position), parse_entry(last.position, bytes(last.entry)).recorded_at


def _find_runs(connection: Connection, subject: Subject, position: int) -> list[UUID]:
    columns = runs.c
    query = select(columns.run_id).where(
        columns.definition == subject.definition,
        columns.sort_at >= subject.since,
        columns.sort_at < subject.until,
        columns.first_position <= position,
        columns.became_run_id.is_(None),
    )
    for name in ("engine", "deployment"):
        if (value := getattr(subject, name)) is not None:
            query = query.where(columns[name] == value)
    return list(connection.scalars(query.order_by(columns.first_position)))


def _inside(node: TreeNode) -> Iterable[UUID]:
    for child in node.children:
        yield child.run_id
        yield from _inside(child)


def _find_entries(connection: Connection, run_ids: Sequence[UUID], position: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for chunk in chunks(run_ids):
        query = select(entries.c.position, entries.c.entry, entries.c.leaf_hash).where(
            entries.c.run_id.in_(chunk), entries.c.position <= position
        )
        for row in connection.execute(query):
            data = bytes(row.entry)
            said = {"position": row.position, "entry": data.decode(), "leaf_hash": bytes(row.leaf_hash).hex()}
            found.append({**said, "hashes_to": leaf_hash(data).hex()})
    return sorted(found, key=lambda entry: entry["position"])


def _corrections(details: Iterable[RunDetail]) -> Iterable[dict[str, Any]]:
    for detail in details:
        for correction in detail.corrections:
            yield {
                "run_id": str(detail.run_id),
                "frozen_as": detail.state,
                "effective_state": detail.effective_state,
                "judgement": detail.judgement.model_dump(mode="json") if detail.judgement else None,
                "correction": correction.model_dump(mode="json"),
            }


def _wholeness(connection: Connection, run_ids: Sequence[UUID]) -> Iterable[dict[str, Any]]:
    for chunk in chunks(sorted(run_ids)):
        rows = connection.execute(select(runs).where(runs.c.run_id.in_(chunk)).order_by(runs.c.run_id)).all()
        records = judge_runs(connection, rows, count_entries(connection, chunk))
        for run_id in chunk:
            yield {"run_id": str(run_id), "completeness": records[run_id].completeness.model_dump(mode="json")}


def _erasures(connection: Connection, positions: Sequence[int]) -> Iterable[dict[str, Any]]:
    for chunk in chunks(positions):
        query = (
            select(erasures, decisions.c.principal, decisions.c.occurred_at, decisions.c.reason)
            .outerjoin(decisions, decisions.c.position == erasures.c.decided_position)
            .where(erasures.c.position.in_(chunk))
            .order_by(erasures.c.position, erasures.c.digest)
        )
        for row in connection.execute(query):
            yield {
                "position": row.position,
                "digest": bytes(row.digest).hex(),
                "decided_position": row.decided_position,
                "decided_at": row.occurred_at,
                "decided_by": row.principal,
                "reason": row.reason,
            }


def _prove(store: Store, first_positions: Mapping[UUID, int], files: dict[str, bytes]) -> str:
    """Add the last checkpoint and a proof of each run that it covers; return in words what was proven."""
    with reading(store) as connection:
        checkpoint = find_checkpoint(connection)
    if checkpoint is None:
        return "Nothing of this log was ever signed, so nothing is proven here."
    files["checkpoint.txt"] = checkpoint.note.encode()
    covered = [run_id for run_id, position in first_positions.items() if position <= checkpoint.size]
    for run_id in covered:
        files[f"proofs/{run_id}.json"] = prove_run(store, str(run_id)).data
    newer = len(first_positions) - len(covered)
    rest = f"; the entries of {newer} runs are all newer than it" if newer else ""
    return f"The last checkpoint covers {checkpoint.size} entries, and proves {len(covered)} runs{rest}."


def _readme(
    subject: Subject,
    position: int,
    recorded_at: datetime | None,
    details: Mapping[UUID, RunDetail],
    logged: Sequence[Mapping[str, Any]],
    proven: str,
) -> bytes:
    whose = " ".join(word for word in (subject.engine, subject.deployment) if word)
    bent = sum(entry["leaf_hash"] != entry["hashes_to"] for entry in logged)
    return README.format(
        definition=subject.definition,
        whose=f" ({whose})" if whose else "",
        since=f"{subject.since:%Y-%m-%d %H:%M:%S %Z}",
        until=f"{subject.until:%Y-%m-%d %H:%M:%S %Z}",
        runs=len(details),
        entries=len(logged),
        corrected=sum(bool(detail.corrections) for detail in details.values()),
        bent=bent,
        proven=proven,
        position=position,
        recorded_at=f"{recorded_at:%Y-%m-%d %H:%M:%S UTC}" if recorded_at else "never",
        version=version("runvis"),
    ).encode()


def _sums(files: Mapping[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())).encode()


def _lines(items: Iterable[BaseModel | Mapping[str, Any]]) -> bytes:
    return b"".join(_json(item) for item in items)


def _json(item: BaseModel | Mapping[str, Any]) -> bytes:
    plain = item.model_dump(mode="json") if isinstance(item, BaseModel) else item
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
