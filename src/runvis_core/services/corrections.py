"""Corrections: the records which say that a frozen run ended otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, select

from runvis_core.services.answers import Page
from runvis_core.services.correction_answers import CorrectionFilter, CorrectionSummary
from runvis_core.services.cursors import read_cursor, read_position, write_cursor
from runvis_core.services.reading import find_entries, reading
from runvis_core.store.database import Store
from runvis_core.store.tables import corrections, runs

_LIST: Final = "corrections"


def list_corrections(
    store: Store, filters: CorrectionFilter, *, limit: int, cursor: str | None = None
) -> Page[CorrectionSummary]:
    """Return corrections, the last recorded first. Raises `CursorError` for a cursor of another list."""
    with reading(store) as connection:
        query = (
            select(
                corrections,
                runs.c.engine,
                runs.c.deployment,
                runs.c.definition,
                runs.c.native_id,
                runs.c.state.label("frozen_state"),
                runs.c.effective_state,
            )
            .join(runs, runs.c.run_id == corrections.c.run_id)
            .where(*_conditions(filters))
            .order_by(corrections.c.position.desc())
        )
        if cursor is not None:
            (before,) = read_cursor(cursor, of=_LIST, filters=filters, kinds=(read_position,))
            query = query.where(corrections.c.position < before)
        rows = connection.execute(query.limit(limit + 1)).all()
        page, more = rows[:limit], len(rows) > limit
        items = _summaries(connection, page)
    place = write_cursor([str(page[-1].position)], of=_LIST, filters=filters) if more else None
    return Page(items=items, next_cursor=place)


def _conditions(filters: CorrectionFilter) -> Iterable[ColumnElement[bool]]:
    for name in ("engine", "deployment", "definition"):
        if (value := getattr(filters, name)) is not None:
            yield runs.c[name] == value
    if filters.since is not None:
        yield runs.c.sort_at >= filters.since
    if filters.until is not None:
        yield runs.c.sort_at < filters.until


def _summaries(connection: Connection, rows: Iterable[Any]) -> list[CorrectionSummary]:
    kept = list(rows)
    logged = find_entries(connection, [row.position for row in kept])
    names = ("correction_id", "engine", "deployment", "definition", "native_id", "frozen_state", "state")
    return [
        CorrectionSummary(
            **{name: getattr(row, name) for name in (*names, "native_state", "effective_state")},
            corrects=row.run_id,
            report=logged[row.position].report(),
        )
        for row in kept
    ]
