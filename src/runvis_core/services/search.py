"""From what a person pasted or typed to what it names: runs, definitions, datasets, commits, errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from sqlalchemy import Connection, select, tuple_

from runvis_core.emit.current import dataset_name
from runvis_core.services.answers import DatasetRef, RunRef
from runvis_core.services.names import find_runs_named
from runvis_core.services.reading import begins_with, reading
from runvis_core.services.run_refs import find_refs
from runvis_core.services.search_answers import Found, FoundDefinition, Hit, Match, can_name
from runvis_core.services.steps import FAILURES
from runvis_core.store.database import Store
from runvis_core.store.failures import find_words
from runvis_core.store.steps import catch_up
from runvis_core.store.tables import (
    corrections,
    datasets,
    definition_versions,
    definitions,
    failure_words,
    failures,
    runs,
)

EACH: Final = 10
"""How many hits of each sort an answer has."""
_MAX_LOOKED_THROUGH: Final = 500
_MAX_DATASETS: Final = 50
"""How many datasets are looked through for each way in which words may be an address."""
_MAX_SPLITS: Final = 20
_HEX: Final = re.compile(r"[0-9a-f-]{6,40}")
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def search(store: Store, query: str) -> Found:
    """Return what a query names: ids of any engine or their beginnings, a correlation id, the address of an engine's
    page, a definition, a commit, a dataset, or words of an error's first line.

    Whatever it names, all other sorts are looked for too, each by an index and at most `EACH` of them.
    """
    if not can_name(query):
        return Found(query=query)
    words = query.strip()
    catch_up(store, [FAILURES])
    with reading(store) as connection:
        exact = _exact(connection, words)
        hits = list(_unique(hit for find in _FINDERS for hit in find(connection, words)))
    if exact is not None:
        hits = [hit for hit in hits if hit.run is None or hit.run.run_id != exact.run_id]
    return Found(query=query, exact=exact, items=hits)


def _unique(hits: Iterable[Hit]) -> Iterator[Hit]:
    seen: set[Any] = set()
    for hit in hits:
        key = (hit.run and hit.run.run_id, hit.definition, hit.dataset)
        if key not in seen:
            seen.add(key)
            yield hit


def _exact(connection: Connection, words: str) -> RunRef | None:
    """Return the run that the words name in full, if it is one."""
    named = find_runs_named(connection, words, abbreviated=False) or find_runs_named(
        connection, words.lower(), abbreviated=False
    )
    refs = find_refs(connection, named)
    return refs[0] if len(refs) == 1 else None


def _hits(connection: Connection, match: Match, run_ids: Iterable[UUID]) -> Iterator[Hit]:
    for ref in find_refs(connection, list(run_ids)[:EACH]):
        yield Hit(match=match, run=ref)


def _by_id(connection: Connection, words: str) -> Iterator[Hit]:
    if _HEX.fullmatch(words.lower()):
        digits = words.lower().replace("-", "")
        if 6 <= len(digits) <= 32:
            bounds = (UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f")))
            query = select(runs.c.run_id).where(runs.c.run_id.between(*bounds)).order_by(runs.c.run_id)
            yield from _hits(connection, Match.ID, connection.scalars(query.limit(EACH)))
            corrected = select(corrections.c.run_id).where(corrections.c.correction_id.between(*bounds))
            yield from _hits(connection, Match.ID, connection.scalars(corrected.limit(EACH)))
    yield from _hits(connection, Match.ID, find_runs_named(connection, words, abbreviated=True))
    yield from _hits(connection, Match.ID, _by_native_id(connection, words))


def _by_native_id(connection: Connection, words: str) -> list[UUID]:
    """Return the runs whose native id begins so. It is looked for from its place on in the index's own order."""
    query = select(runs.c.native_id, runs.c.run_id).where(runs.c.native_id >= words, runs.c.became_run_id.is_(None))
    rows = connection.execute(query.order_by(runs.c.native_id).limit(_MAX_LOOKED_THROUGH))
    return [row.run_id for row in rows if row.native_id.startswith(words)][:EACH]


def _by_correlation(connection: Connection, words: str) -> Iterator[Hit]:
    query = select(runs.c.run_id).where(runs.c.correlation_id == words.lower().replace("-", "")).limit(EACH)
    yield from _hits(connection, Match.CORRELATION, connection.scalars(query))


def _by_url(connection: Connection, words: str) -> Iterator[Hit]:
    """Look for what an address of an engine's page names: an id in its path, or names at every other place of it."""
    try:
        parts = urlsplit(words)
    except ValueError:
        # A bracket that is not closed, as of an address that was cut.
        return
    if parts.scheme not in ("http", "https"):
        return
    path = [unquote(part) for part in parts.path.split("/") if part]
    for part in path:
        if _UUID.fullmatch(part.lower()):
            yield from _hits(connection, Match.URL, find_runs_named(connection, part.lower(), abbreviated=False))
    for first in (0, 1, 2):
        names = path[first::2]
        # The deepest page is the one that was open.
        for count in range(len(names), 1, -1):
            native_id = "/".join(names[:count])
            found = find_runs_named(connection, native_id, abbreviated=False) or _by_native_id(
                connection, native_id + "/"
            )
            if found:
                yield from _hits(connection, Match.URL, found)
                return
    for name in path:
        yield from _named_definitions(connection, Match.URL, definitions.c.definition == name)


def _named_definitions(connection: Connection, match: Match, condition: Any) -> Iterator[Hit]:
    query = select(definitions).where(condition).order_by(definitions.c.definition).limit(EACH)
    for row in connection.execute(query):
        found = FoundDefinition(
            engine=row.engine, deployment=row.deployment, definition=row.definition, kind=row.definition_kind
        )
        yield Hit(match=match, definition=found)


def _by_definition(connection: Connection, words: str) -> Iterator[Hit]:
    condition = begins_with(connection, definitions.c.definition, words)
    yield from _named_definitions(connection, Match.DEFINITION, condition)


def _by_code(connection: Connection, words: str) -> Iterator[Hit]:
    if len(words) < 4:
        return
    version = definition_versions.c
    query = (
        select(version.engine, version.deployment, version.definition, version.definition_kind, version.code_version)
        .where(version.code_version.is_not(None), begins_with(connection, version.code_version, words))
        .limit(EACH)
    )
    for row in connection.execute(query):
        engine, deployment, definition, kind, code_version = row
        found = FoundDefinition(
            engine=engine, deployment=deployment, definition=definition, kind=kind, code_version=code_version
        )
        yield Hit(match=Match.CODE, definition=found)


def _by_dataset(connection: Connection, words: str) -> Iterator[Hit]:
    """Look for datasets by their addresses, and by the beginnings of their names."""
    addressed = list(_possible_datasets(words))
    found = [ref for ref in addressed if _is_dataset(connection, ref)]
    for ref in addressed:
        beside = islice(_datasets_from(connection, ref.name), _MAX_DATASETS)
        found += [other for other in beside if f"/{other.namespace}".endswith(f"/{ref.namespace}")]
    found += islice(_datasets_from(connection, words), EACH)
    for ref in found[:EACH]:
        yield Hit(match=Match.DATASET, dataset=ref)


def _possible_datasets(words: str) -> Iterator[DatasetRef]:
    """Yield what the words may say as an address: namespace and name, and either may have slashes of its own."""
    pairs = [(words[:place], words[place + 1 :]) for place, char in enumerate(words) if char == "/"]
    with suppress(ValueError):
        pairs.insert(0, dataset_name(words))
    for namespace, name in dict.fromkeys(pairs[:_MAX_SPLITS]):
        if namespace and name:
            yield DatasetRef(namespace=namespace, name=name)


def _is_dataset(connection: Connection, ref: DatasetRef) -> bool:
    query = select(datasets.c.run_id).where(datasets.c.name == ref.name, datasets.c.namespace == ref.namespace)
    return connection.execute(query.limit(1)).one_or_none() is not None


def _datasets_from(connection: Connection, beginning: str) -> Iterator[DatasetRef]:
    """Yield the datasets whose names begin so: from one to the next, not through all who touched them."""
    place = tuple_(datasets.c.name, datasets.c.namespace)
    query = select(datasets.c.name, datasets.c.namespace).order_by(datasets.c.name, datasets.c.namespace).limit(1)
    row = connection.execute(query.where(datasets.c.name >= beginning)).one_or_none()
    while row is not None and row.name.startswith(beginning):
        yield DatasetRef(namespace=row.namespace, name=row.name)
        row = connection.execute(query.where(place > tuple_(row.name, row.namespace))).one_or_none()


def _by_error(connection: Connection, words: str) -> Iterator[Hit]:
    """Look for failures whose first line has all the words; the last word may be the beginning of one."""
    wanted = find_words(words)
    if not wanted:
        return
    word = failure_words.c
    query = select(word.run_id, word.sort_at)
    for place, text in enumerate(wanted):
        is_last = place == len(wanted) - 1
        if place == 0:
            query = query.where(begins_with(connection, word.word, text) if is_last else word.word == text)
            continue
        other = failure_words.alias()
        is_there = begins_with(connection, other.c.word, text) if is_last else other.c.word == text
        query = query.where(select(other.c.run_id).where(other.c.run_id == word.run_id, is_there).exists())
    found = connection.execute(query.order_by(word.sort_at.desc()).limit(_MAX_LOOKED_THROUGH)).all()
    newest = list(dict.fromkeys(row.run_id for row in found))[:EACH]
    lines = connection.execute(select(failures).where(failures.c.run_id.in_(newest))).all()
    said = {row.run_id: f"{row.error_type}: {row.line}" if row.error_type else row.line for row in lines}
    for ref in find_refs(connection, newest):
        yield Hit(match=Match.ERROR, run=ref, error=said.get(ref.run_id))


_FINDERS: Final[tuple[Callable[[Connection, str], Iterator[Hit]], ...]] = (
    _by_id,
    _by_correlation,
    _by_url,
    _by_definition,
    _by_code,
    _by_dataset,
    _by_error,
)
