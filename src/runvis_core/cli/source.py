"""Where a command gets its answers: a store, or a server over HTTP. Both answer alike."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer
from pydantic import BaseModel

from runvis_core.cli.text import clean
from runvis_core.client import Client
from runvis_core.errors import SettingsError, StoreError
from runvis_core.services.answers import (
    DefinitionDetail,
    DefinitionSummary,
    EntryPage,
    Page,
    RunDetail,
    RunSummary,
    TreeNode,
)
from runvis_core.services.comparison_answers import Comparison
from runvis_core.services.completeness_answers import Completeness, CompletenessFilter
from runvis_core.services.correction_answers import CorrectionFilter, CorrectionSummary
from runvis_core.services.evidence_pack import Pack, Subject
from runvis_core.services.exports import PAGE_SIZE, follow_pages
from runvis_core.services.filters import DefinitionFilter, Dimension, RunFilter, StatFilter
from runvis_core.services.ledger_answers import CheckpointPage
from runvis_core.services.lineage_answers import Lineage, LineageQuery, Loop
from runvis_core.services.notify.answers import RuleStatuses
from runvis_core.services.past_filter import PRESENT, PastFilter, PastRunFilter
from runvis_core.services.search_answers import Found
from runvis_core.services.stats_answers import Grid, Health, StatTable, Trend
from runvis_core.settings import Settings, default_store_url, load_settings

if TYPE_CHECKING:
    from runvis_core.store.database import Store


class Source(Protocol):
    """What can be asked."""

    def list_runs(
        self, filters: RunFilter, *, limit: int, cursor: str | None = None, past: PastFilter = PRESENT
    ) -> Page[RunSummary]:
        """Return a page of runs, newest first, as they are or were."""
        ...

    def export_runs(
        self, filters: RunFilter, *, cursor: str | None = None, past: PastFilter = PRESENT
    ) -> Iterator[RunSummary]:
        """Yield all runs, newest first, and let the audit trail tell of it."""
        ...

    def get_run(self, name: str, past: PastFilter = PRESENT) -> RunDetail:
        """Return all that is or was known about a run."""
        ...

    def get_tree(self, name: str, past: PastFilter = PRESENT) -> TreeNode:
        """Return the run and what ran inside it."""
        ...

    def compare_runs(self, left: str, right: str) -> Comparison:
        """Return what differs between two runs."""
        ...

    def compare_with_last_success(self, name: str) -> Comparison:
        """Return what differs from the last run before it that went well to the named run."""
        ...

    def list_entries(self, *, after: int, limit: int) -> EntryPage:
        """Return the entries after a position."""
        ...

    def list_last_entries(self, *, limit: int) -> EntryPage:
        """Return the last entries of the log."""
        ...

    def list_run_entries(self, name: str, *, after: int, limit: int) -> EntryPage:
        """Return the entries about a run after a position."""
        ...

    def list_definitions(
        self, filters: DefinitionFilter, *, limit: int, cursor: str | None = None
    ) -> Page[DefinitionSummary]:
        """Return a page of definitions."""
        ...

    def get_definition(self, name: str, filters: DefinitionFilter, past: PastFilter = PRESENT) -> DefinitionDetail:
        """Return a definition, its versions and its recent runs, as they are or were."""
        ...

    def get_trend(
        self, name: str, filters: DefinitionFilter, *, since: datetime | None, until: datetime | None, step: Dimension
    ) -> Trend:
        """Return how a definition's runs went over time."""
        ...

    def get_grid(
        self,
        name: str,
        filters: DefinitionFilter,
        *,
        limit: int,
        cursor: str | None = None,
        first_step: int = 0,
        past: PastFilter = PRESENT,
    ) -> Grid:
        """Return a definition's last runs beside one another, as they are or were."""
        ...

    def list_stats(self, filters: StatFilter) -> StatTable:
        """Return how many runs there were and how long they took."""
        ...

    def get_health(self, past: PastFilter = PRESENT) -> Health:
        """Return which definitions fail or are late, and which runs are silent; or which failed or were late."""
        ...

    def search(self, query: str) -> Found:
        """Return what a query names."""
        ...

    def list_checkpoints(self, *, limit: int) -> CheckpointPage:
        """Return the last checkpoints, the newest first."""
        ...

    def prove_run(self, name: str) -> bytes:
        """Return the proof bundle of a run."""
        ...

    def collect_evidence(self, subject: Subject) -> Pack:
        """Return an auditor's pack."""
        ...

    def get_tile(self, path: str) -> bytes:
        """Return a tile of the log's tree by its C2SP path."""
        ...

    def get_completeness(self, filters: CompletenessFilter, *, limit: int) -> Completeness:
        """Return the account of what is missing from the record."""
        ...

    def list_corrections(
        self, filters: CorrectionFilter, *, limit: int, cursor: str | None = None
    ) -> Page[CorrectionSummary]:
        """Return a page of corrections, the last recorded first."""
        ...

    def get_lineage(self, query: LineageQuery, past: PastFilter = PRESENT) -> Lineage:
        """Return what is or was around a node."""
        ...

    def list_loops(self, past: PastFilter = PRESENT, *, limit: int) -> Page[Loop]:
        """Return the loops of the whole graph, as they are or were."""
        ...

    def list_notice_rules(self) -> RuleStatuses:
        """Return how each rule for notices is doing."""
        ...


class StoreSource:
    """A store of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_runs(
        self, filters: RunFilter, *, limit: int, cursor: str | None = None, past: PastFilter = PRESENT
    ) -> Page[RunSummary]:
        """Return a page of runs, newest first, as they are or were."""
        from runvis_core.services.asking import list_runs_at

        return list_runs_at(self._store, filters, past, limit=limit, cursor=cursor, now=datetime.now(UTC))

    def export_runs(
        self, filters: RunFilter, *, cursor: str | None = None, past: PastFilter = PRESENT
    ) -> Iterator[RunSummary]:
        """Yield all runs, newest first, and let the audit trail tell of it."""
        pages = follow_pages(lambda place: self.list_runs(filters, limit=PAGE_SIZE, cursor=place, past=past), cursor)
        # What is wrong with the question is said before anything is taken out.
        first = next(pages)
        self._note_export("runs", asked=PastRunFilter(**filters.model_dump(), **past.model_dump()))
        for page in chain([first], pages):
            yield from page.items

    def get_run(self, name: str, past: PastFilter = PRESENT) -> RunDetail:
        """Return all that is or was known about a run."""
        from runvis_core.services.asking import get_run_at

        return get_run_at(self._store, name, past, now=datetime.now(UTC))

    def get_tree(self, name: str, past: PastFilter = PRESENT) -> TreeNode:
        """Return the run and what ran inside it."""
        from runvis_core.services.asking import get_tree_at

        return get_tree_at(self._store, name, past, now=datetime.now(UTC))

    def compare_runs(self, left: str, right: str) -> Comparison:
        """Return what differs between two runs."""
        from runvis_core.services.compare import compare_runs

        return compare_runs(self._store, left, right)

    def compare_with_last_success(self, name: str) -> Comparison:
        """Return what differs from the last run before it that went well to the named run."""
        from runvis_core.services.compare import compare_with_last_success

        return compare_with_last_success(self._store, name)

    def list_entries(self, *, after: int, limit: int) -> EntryPage:
        """Return the entries after a position."""
        from runvis_core.services.entries import list_entries

        return list_entries(self._store, after=after, limit=limit)

    def list_last_entries(self, *, limit: int) -> EntryPage:
        """Return the last entries of the log."""
        from runvis_core.services.entries import list_last_entries

        return list_last_entries(self._store, limit=limit)

    def list_run_entries(self, name: str, *, after: int, limit: int) -> EntryPage:
        """Return the entries about a run after a position."""
        from runvis_core.services.entries import list_run_entries

        return list_run_entries(self._store, name, after=after, limit=limit)

    def list_definitions(
        self, filters: DefinitionFilter, *, limit: int, cursor: str | None = None
    ) -> Page[DefinitionSummary]:
        """Return a page of definitions."""
        from runvis_core.services.definitions import list_definitions

        return list_definitions(self._store, filters, limit=limit, cursor=cursor)

    def get_definition(self, name: str, filters: DefinitionFilter, past: PastFilter = PRESENT) -> DefinitionDetail:
        """Return a definition, its versions and its recent runs, as they are or were."""
        from runvis_core.services.past_definitions import get_definition_at

        return get_definition_at(self._store, name, filters, past, now=datetime.now(UTC))

    def get_trend(
        self, name: str, filters: DefinitionFilter, *, since: datetime | None, until: datetime | None, step: Dimension
    ) -> Trend:
        """Return how a definition's runs went over time."""
        from runvis_core.services.stats import get_trend

        return get_trend(self._store, name, filters, since=since, until=until, step=step, now=datetime.now(UTC))

    def get_grid(
        self,
        name: str,
        filters: DefinitionFilter,
        *,
        limit: int,
        cursor: str | None = None,
        first_step: int = 0,
        past: PastFilter = PRESENT,
    ) -> Grid:
        """Return a definition's last runs beside one another, as they are or were."""
        from runvis_core.services.past_grids import get_grid_at

        now = datetime.now(UTC)
        return get_grid_at(self._store, name, filters, past, limit=limit, cursor=cursor, first_step=first_step, now=now)

    def list_stats(self, filters: StatFilter) -> StatTable:
        """Return how many runs there were and how long they took."""
        from runvis_core.services.stats import list_stats

        return list_stats(self._store, filters, now=datetime.now(UTC))

    def get_health(self, past: PastFilter = PRESENT) -> Health:
        """Return which definitions fail or are late, and which runs are silent; or which failed or were late."""
        from runvis_core.services.past_health import get_health_at

        return get_health_at(self._store, past, now=datetime.now(UTC))

    def search(self, query: str) -> Found:
        """Return what a query names."""
        from runvis_core.services.search import search

        return search(self._store, query)

    def list_checkpoints(self, *, limit: int) -> CheckpointPage:
        """Return the last checkpoints, the newest first."""
        from runvis_core.services.checkpoints import list_checkpoints

        return list_checkpoints(self._store, limit=limit)

    def prove_run(self, name: str) -> bytes:
        """Return the proof bundle of a run."""
        from runvis_core.services.proofs import prove_run

        proof = prove_run(self._store, name)
        self._note_export(f"proof of run {proof.run_id}", entries=proof.entries)
        return proof.data

    def collect_evidence(self, subject: Subject) -> Pack:
        """Return an auditor's pack."""
        from runvis_core.services.evidence import collect_evidence

        pack = collect_evidence(self._store, subject, now=datetime.now(UTC))
        self._note_export(f"evidence of {subject.definition}", asked=subject, runs=pack.runs)
        return pack

    def get_tile(self, path: str) -> bytes:
        """Return a tile of the log's tree by its C2SP path."""
        from runvis_core.services.proofs import get_tile

        return get_tile(self._store, path)

    def get_completeness(self, filters: CompletenessFilter, *, limit: int) -> Completeness:
        """Return the account of what is missing from the record."""
        from runvis_core.services.completeness import get_completeness

        return get_completeness(self._store, filters, limit=limit, now=datetime.now(UTC))

    def list_corrections(
        self, filters: CorrectionFilter, *, limit: int, cursor: str | None = None
    ) -> Page[CorrectionSummary]:
        """Return a page of corrections, the last recorded first."""
        from runvis_core.services.corrections import list_corrections

        return list_corrections(self._store, filters, limit=limit, cursor=cursor)

    def get_lineage(self, query: LineageQuery, past: PastFilter = PRESENT) -> Lineage:
        """Return what is or was around a node."""
        from runvis_core.services.lineage import get_lineage

        return get_lineage(self._store, query, past, now=datetime.now(UTC))

    def list_loops(self, past: PastFilter = PRESENT, *, limit: int) -> Page[Loop]:
        """Return the loops of the whole graph, as they are or were."""
        from runvis_core.services.lineage import list_loops

        return list_loops(self._store, past, limit=limit, now=datetime.now(UTC))

    def list_notice_rules(self) -> RuleStatuses:
        """Return how each rule for notices is doing."""
        from runvis_core.services.notify.status import list_rules

        return list_rules(self._store)

    def _note_export(self, what: str, *, asked: BaseModel | None = None, **details: int) -> None:
        """Let the audit trail tell of an export, where this user may write to the store."""
        from runvis_core.services.decisions import local_principal, record_export

        try:
            record_export(self._store, what, principal=local_principal(), asked=asked, **details)
        except StoreError as error:
            # Who has the database itself and may only read it can take out what they like: it is said, not forbidden.
            typer.echo(f"note: the audit trail does not tell of this: {clean(str(error))}", err=True)


def settings_for(url: str | None, **overrides: object) -> Settings:
    """Return a command's settings: what it was told, else the variables and runvis.toml, else the user's own store."""
    settings = load_settings(url=url, **overrides)
    return settings if settings.url is not None else load_settings(**{**overrides, "url": default_store_url()})


def is_server(url: str) -> bool:
    """Return whether an address is a server's."""
    return url.lower().startswith(("http://", "https://"))


@contextmanager
def open_source(url: str | None) -> Generator[Source]:
    """Open what the address names, for reading: a file that is not there is not made."""
    settings = settings_for(url)
    assert settings.url is not None
    if is_server(settings.url):
        with Client(settings) as client:
            yield client
        return
    with open_store_at(settings, must_exist=True) as store:
        yield StoreSource(store)


@contextmanager
def open_store_at(settings: Settings, *, must_exist: bool = False, upgrade: bool | None = None) -> Generator[Store]:
    """Open the store that the settings name. Raises `SettingsError` for an address that is a server's."""
    assert settings.url is not None
    if is_server(settings.url):
        raise SettingsError(
            f"RUNVIS_URL={settings.url} is a server's; this needs a store: --url sqlite:///FILE or postgresql://…"
        )
    _prepare_file(settings.url, must_exist=must_exist)
    try:
        from runvis_core.store.database import open_store
    except ImportError as error:
        raise SettingsError(
            f"a store needs more than is installed here ({error.name}): pip install 'runvis[store]', or "
            "'runvis[postgres]', or ask a server: --url http://…"
        ) from error
    store = open_store(settings.url, upgrade=upgrade)
    try:
        yield store
    finally:
        store.close()


def _prepare_file(url: str, *, must_exist: bool) -> None:
    scheme, _, path = url.partition("///")
    if not scheme.startswith("sqlite") or not path:
        return
    file = Path(path.partition("?")[0])
    if must_exist and not file.exists():
        raise SettingsError(
            f"there is no store at {file} yet: record into it, or name another one with --url or RUNVIS_URL"
        )
    if url == default_store_url():
        # Nobody named it, so nobody made its folder.
        file.parent.mkdir(parents=True, exist_ok=True)
