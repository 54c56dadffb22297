"""Ways through runs, or what they were, newest first: each an index that has some of them in the order of lists.

A list that is narrowed takes the shortest way that has all it lets through. Where none is short, so many runs of one
way are looked through and no more: whatever is asked, an answer takes about the same time, however long the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, exists, func, literal, select, tuple_, union_all

from runvis_core.model.state import State
from runvis_core.services.distinct import each, is_name
from runvis_core.services.filters import RunFilter
from runvis_core.services.reading import RUN_IDS, begins_with
from runvis_core.services.run_refs import SUMMARY_COLUMNS
from runvis_core.store.failures import find_words
from runvis_core.store.id_lists import is_among
from runvis_core.store.tables import definitions, failure_words, runs
from runvis_core.store.types import Id, Moment

MAX_WALKED: Final = 3_000
"""How many runs one page looks through."""
FEW: Final = 1_000
"""How many of them are looked through first: mostly they have a page."""
MAX_WAYS: Final = 16
"""As many ways are followed side by side."""

BY_ID: Final = "sqlite_autoindex_runs_1"
"""SQLite's name for the index over run ids."""


class Place(NamedTuple):
    """Where a run stands in the order of lists."""

    sort_at: datetime
    run_id: UUID


class Way(NamedTuple):
    """Runs that have some columns alike, as one index has them in the order of lists."""

    table: Table
    """With the place of each run: that of runs themselves, or one beside it."""
    over: str
    """The index's name."""
    conditions: tuple[ColumnElement[bool], ...]


class Bounds(NamedTuple):
    """Which part of the order of lists is meant."""

    since: datetime | None
    until: datetime | None
    """Before it."""
    after: Place | None

    def conditions(self, table: Table, last: Place | None = None) -> list[ColumnElement[bool]]:
        """Return what must hold of rows of the part, down to a place in it if one is given.

        Of each end no more than one is said: SQLite looks in the index for the first that is said, and reads from there
        to where the other would have led.
        """
        said: list[ColumnElement[bool]] = []
        if last is not None:
            said.append(_from(table, last))
        elif self.since is not None:
            said.append(table.c.sort_at >= self.since)
        if self.after is not None and (self.until is None or self.after.sort_at < self.until):
            said.append(_before(table, self.after))
        elif self.until is not None:
            said.append(table.c.sort_at < self.until)
        return said


class Walked(NamedTuple):
    """What was found on the way."""

    places: list[Place]
    """Where what was let through stands, the newest first."""
    until: Place | None
    """The last run that was looked at; None if there is none beyond."""


_DEFINITION: Final = ("engine", "deployment", "definition")


def walk(
    connection: Connection, table: Table, candidates: Iterable[list[Way]], conditions: Sequence[ColumnElement[bool]], *,
    bounds: Bounds, limit: int,
) -> Walked:  # fmt: skip
    """Return where the first runs of a part of a table stand that the conditions let through, at most `limit` of them.

    Each of the candidates is ways that have them all; the last one has all there are. The conditions say nothing of
    when: the bounds do.
    """
    known: list[list[Way]] = []
    for ways in candidates:
        if not ways:
            return Walked([], None)
        known.append(ways)
    places: list[Place] = []
    for most in (FEW, MAX_WALKED - FEW):
        wanted = limit - len(places)
        ends: list[list[Place | None]] = []
        for ways in known:
            found = _ends(connection, ways, bounds, most // len(ways))
            if not any(found):
                rest = _follow(connection, table, ways, found, bounds, conditions, wanted)
                return Walked([*places, *rest.places], rest.until)
            ends.append(found)
        walked = _follow(connection, table, known[0], ends[0], bounds, conditions, wanted)
        places += walked.places
        if len(places) == limit:
            return Walked(places, None)
        # The last one that was looked at lets the next round begin behind it.
        bounds = bounds._replace(after=walked.until)
    return Walked(places, bounds.after)


def walk_runs(
    connection: Connection, filters: RunFilter, conditions: Sequence[ColumnElement[bool]], *, after: Place | None,
    parent: UUID | None, limit: int,
) -> Walked:  # fmt: skip
    """Return where the first runs stand that filters and conditions let through, at most `limit` of them.

    `parent` is the run that `filters` name as such.
    """
    bounds = Bounds(filters.since, filters.until, after)
    return walk(connection, runs, _candidates(connection, filters, parent), conditions, bounds=bounds, limit=limit)


def name_walked(last: Place) -> str:
    """Return how far a walk came that found less than a page, in words."""
    return (
        f"{MAX_WALKED:,} runs were looked through, back to {last.sort_at:%Y-%m-%d %H:%M} UTC; the next page goes on"
        " from there"
    )


def fetch(connection: Connection, places: Iterable[Place]) -> list[Any]:
    """Return the rows of runs at places, in their order, with `SUMMARY_COLUMNS`."""
    wanted = [place.run_id for place in places]
    found = {row.run_id: row for row in connection.execute(_ROWS, {RUN_IDS.key: wanted})}
    return [found[run_id] for run_id in wanted]


# Built once: to build such a statement takes longer than to run it.
_ROWS: Final = select(*SUMMARY_COLUMNS).where(is_among(runs.c.run_id, RUN_IDS))


def gather(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], *,
    filters: RunFilter, after: Place | None, limit: int,
) -> Walked:  # fmt: skip
    """Return where the first runs stand that filters and conditions let through, these naming few runs by their ids."""
    bounds = Bounds(filters.since, filters.until, after).conditions(runs)
    query = select(runs.c.sort_at, runs.c.run_id).where(*conditions, *bounds)
    query = query.with_hint(runs, f"INDEXED BY {BY_ID}", "sqlite")
    # By itself: else PostgreSQL would go through the runs in their order until it has met enough of these few.
    found = query.cte("named").prefix_with("MATERIALIZED", dialect="postgresql")
    newest = select(found).order_by(found.c.sort_at.desc(), found.c.run_id.desc()).limit(limit)
    return Walked([Place(*row) for row in connection.execute(newest)], None)


def _candidates(connection: Connection, filters: RunFilter, parent: UUID | None) -> Iterator[list[Way]]:
    """Yield the ways that have all runs which the filters let through, those that are short as a rule before others."""
    if parent is not None:
        yield [Way(runs, "runs_parent", (runs.c.parent_run_id == parent,))]
    top = (runs.c.parent_run_id.is_(None),) if filters.top else ()
    words = _find_word_ways(connection, filters.text) if filters.text is not None else []
    if filters.definition is None:
        yield from words
    named = find_named(connection, filters)
    if named is not None:
        index = "runs_top_definition" if filters.top else "runs_definition"
        yield [Way(runs, index, (*is_of(runs, name), *top)) for name in named]
    if filters.definition is not None:
        yield from words
    if filters.trigger is not None:
        yield [Way(runs, "runs_trigger", (runs.c.trigger_kind == filters.trigger.value,))]
    states = _find_states(connection, filters)
    if states is not None:
        yield [
            Way(runs, "runs_state", tuple(_are((runs.c.effective_state, runs.c.native_state), pair))) for pair in states
        ]
    yield [Way(runs, "runs_top" if filters.top else "runs_sort", top)]


def _find_word_ways(connection: Connection, text: str) -> list[list[Way]]:
    """Return the ways that have all runs whose failures have the words of a text: one way for each whole word.

    Of a single word, which may be a beginning, one for each that begins so, if these are few.
    """
    words = find_words(text)
    if len(words) != 1:
        return [[_of_word(word)] for word in words[:-1]]
    beginning = list(islice(_find_words_beginning(connection, words[0]), MAX_WAYS + 1))
    return [[_of_word(word) for word in beginning]] if len(beginning) <= MAX_WAYS else []


def _find_words_beginning(connection: Connection, beginning: str) -> Iterator[str]:
    """Yield the words of failures that begin so, from one to the next in the index."""
    column, last = failure_words.c.word, ""
    like = begins_with(connection, column, beginning)
    while (found := connection.scalar(select(column).where(like, column > last).order_by(column).limit(1))) is not None:
        yield found
        last = found


def _of_word(word: str) -> Way:
    return Way(failure_words, "sqlite_autoindex_failure_words_1", (failure_words.c.word == word,))


def is_of(table: Table, definition: tuple[str, str, str | None]) -> Iterator[ColumnElement[bool]]:
    """Yield what must hold of rows that are of a definition."""
    return _are([table.c[name] for name in _DEFINITION], definition)


def _are(columns: Sequence[Any], values: Sequence[Any]) -> Iterator[ColumnElement[bool]]:
    for column, value in zip(columns, values, strict=True):
        yield column.is_(None) if value is None else column == value


def find_named(connection: Connection, filters: RunFilter) -> list[tuple[str, str, str | None]] | None:
    """Return the definitions, as engine, deployment and name, whose runs are meant; None if all or many are."""
    wanted = {"engine": filters.engine, "deployment": filters.deployment}
    said = {**wanted, "definition": filters.definition, "definition_kind": filters.kind}
    said = {name: value for name, value in said.items() if value is not None}
    if not said and not filters.unnamed:
        return None
    found: list[tuple[str, str, str | None]] = []
    if not filters.unnamed:
        key = (definitions.c.engine, definitions.c.deployment, definitions.c.definition)
        query = select(*key).where(*(definitions.c[name] == value for name, value in said.items())).distinct()
        rows = connection.execute(query.limit(MAX_WAYS + 1))
        found += [(row.engine, row.deployment, row.definition) for row in rows]
    if filters.definition is None and filters.kind is None and len(found) <= MAX_WAYS:
        # What has not been named yet is of an engine all the same.
        pairs, columns = _deployments()
        given = [columns[name] == value for name, value in wanted.items() if value is not None]
        rows = connection.execute(pairs.where(*given).limit(MAX_WAYS + 1))
        found += [(row.engine, row.deployment, None) for row in rows]
    return found if len(found) <= MAX_WAYS else None


@cache
def _deployments() -> tuple[Any, Any]:
    """Select the installations of engines that have runs; return their columns too."""
    engines = each(None, runs.c.engine, over="runs_definition")
    columns = each(engines, runs.c.deployment, over="runs_definition").c
    return select(columns.engine, columns.deployment).where(is_name(columns.deployment)), columns


def _find_states(connection: Connection, filters: RunFilter) -> list[tuple[str | None, str | None]] | None:
    """Return the pairs of effective and native state that are meant; None if all or many are."""
    if filters.state:
        states: list[str | None] = [*sorted({state.value for state in filters.state})]
    elif filters.native_state is not None:
        states = [None, *(state.value for state in State)]
    else:
        return None
    if filters.native_state is not None:
        return [(state, filters.native_state) for state in states]
    pairs: list[tuple[str | None, str | None]] = []
    for state in states:
        pairs.append((state, None))
        for native in _find_native_states(connection, state):
            pairs.append((state, native))
            if len(pairs) > MAX_WAYS:
                return None
    return pairs


def _find_native_states(connection: Connection, state: str | None) -> Iterator[str]:
    """Yield the engines' own words for a state, from one to the next in the index."""
    column, last = runs.c.native_state, ""
    while True:
        query = select(column).where(runs.c.effective_state == state, column > last).order_by(column).limit(1)
        found = connection.scalar(query.with_hint(runs, "INDEXED BY runs_state", "sqlite"))
        if found is None:
            return
        yield found
        last = found


def within(filters: RunFilter) -> list[ColumnElement[bool]]:
    """Return what must hold of rows of `runs` by when they were first heard of."""
    return Bounds(filters.since, filters.until, None).conditions(runs)


def _literal(place: Place) -> Any:
    return tuple_(literal(place.sort_at, Moment), literal(place.run_id, Id))


def _columns(table: Table) -> tuple[Any, Any]:
    return table.c.sort_at, table.c.run_id


def _place(table: Table) -> Any:
    return tuple_(*_columns(table))


def _before(table: Table, place: Place) -> ColumnElement[bool]:
    # Of two equal words SQLite's index takes the first alone: it is said by itself, so that it begins at the place.
    return and_(table.c.sort_at <= literal(place.sort_at, Moment), _place(table) < _literal(place))


def _from(table: Table, place: Place) -> ColumnElement[bool]:
    return and_(table.c.sort_at >= literal(place.sort_at, Moment), _place(table) >= _literal(place))


def _newest(way: Way, query: Any, conditions: Sequence[ColumnElement[bool]]) -> Any:
    query = query.where(*way.conditions, *conditions)
    query = query.order_by(*(column.desc() for column in _columns(way.table)))
    return query.with_hint(way.table, f"INDEXED BY {way.over}", "sqlite")


def _ends(connection: Connection, ways: Sequence[Way], bounds: Bounds, most: int) -> list[Place | None]:
    """Return of each way its run number `most`; None where it has no more than so many."""
    queries = [
        _newest(way, select(*_columns(way.table), literal(number).label("way")), bounds.conditions(way.table))
        .offset(most - 1)
        .limit(1)
        for number, way in enumerate(ways)
    ]
    found = {row.way: Place(row.sort_at, row.run_id) for row in connection.execute(_all_of(queries))}
    return [found.get(number) for number in range(len(ways))]


def _all_of(queries: Sequence[Any]) -> Any:
    """Return what each of the queries selects, by one statement: to send one takes longer than to look."""
    if len(queries) == 1:
        return queries[0]
    return union_all(*(select(query.subquery()) for query in queries))


def _follow(
    connection: Connection, table: Table, ways: Sequence[Way], ends: Sequence[Place | None], bounds: Bounds,
    conditions: Sequence[ColumnElement[bool]], limit: int,
) -> Walked:  # fmt: skip
    """Follow ways side by side as far as all of them were looked at."""
    until = max((end for end in ends if end is not None), default=None)
    queries: list[Any] = []
    for way in ways:
        through = conditions
        if way.table is not table:
            through = [exists().where(table.c.run_id == way.table.c.run_id, *conditions)]
        said = [*through, *bounds.conditions(way.table, until)]
        queries.append(_newest(way, select(*_columns(way.table)), said).limit(limit))
    # A run may be on several ways.
    met = {Place(*row) for row in connection.execute(_all_of(queries))}
    places = sorted(met, reverse=True)[:limit]
    return Walked(places, None if len(places) == limit else until)


def count_up_to(connection: Connection, run_ids: Select[Any], most: int) -> int:
    """Return how many runs a query names, or `most` if there are more."""
    return connection.scalar(select(func.count()).select_from(run_ids.limit(most).subquery())) or 0
