"""A client of a server's REST API. It answers with the same models as the services do from a store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from runvis_core.errors import NotFoundError, PastError, RunVisError, SettingsError, UnreachableError
from runvis_core.services.answers import (
    Check,
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
from runvis_core.services.decision_answers import (
    AuditPage,
    ErasureRequest,
    ErasureView,
    HoldRequest,
    HoldView,
    IssuedToken,
    RevokeRequest,
    TokenRequest,
    TokenView,
)
from runvis_core.services.evidence_pack import Pack, Subject, read_pack
from runvis_core.services.exports import follow_pages
from runvis_core.services.filters import DefinitionFilter, Dimension, RunFilter, StatFilter, is_storable
from runvis_core.services.ledger_answers import CheckpointPage
from runvis_core.services.lineage_answers import EdgeProofs, Lineage, LineageQuery, Loop, LoopTurn, PastEdgeQuery
from runvis_core.services.notify.answers import RuleStatuses
from runvis_core.services.past_filter import PRESENT, PastFilter
from runvis_core.services.problems import ERRORS
from runvis_core.services.search_answers import Found, can_name
from runvis_core.services.stats_answers import Grid, Health, StatTable, Trend
from runvis_core.settings import Settings, load_settings

TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
PREFIX: Final = "/api/v1/"
IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
"""How much of an answer lies in memory before it goes to a temporary file."""
M = TypeVar("M", bound=BaseModel)


def iterate(read: Callable[[str | None], Page[M]]) -> Iterator[M]:
    """Yield the items of all pages of a list, each page when it is asked for; `read` is given the cursor of each.

    `iterate(lambda cursor: client.list_runs(filters, limit=200, cursor=cursor))`
    """
    for page in follow_pages(read, None):
        yield from page.items


class Client:
    """Asks the server at `settings.url`. A context manager, which closes the connections."""

    def __init__(self, settings: Settings | str, *, timeout: httpx.Timeout = TIMEOUT) -> None:
        """`settings` may be the server's address alone; the token and the rest are then read as everywhere."""
        if isinstance(settings, str):
            settings = load_settings(url=settings)
        self.url = (settings.url or "").rstrip("/")
        self._settings = settings
        try:
            self._client = httpx.Client(base_url=self.url, timeout=timeout, headers=self._headers())
        except (httpx.InvalidURL, ValueError) as error:
            raise SettingsError(f"RUNVIS_URL={self.url} is no address of a server: {error}") from error

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def list_runs(
        self, filters: RunFilter, *, limit: int, cursor: str | None = None, past: PastFilter = PRESENT
    ) -> Page[RunSummary]:
        """Return a page of the runs that the filters let through, newest first, as they are or were."""
        return self._read(Page[RunSummary], "runs", filters, limit=limit, cursor=cursor, **past.as_query())

    def export_runs(
        self, filters: RunFilter, *, cursor: str | None = None, past: PastFilter = PRESENT
    ) -> Iterator[RunSummary]:
        """Yield all runs that the filters let through, newest first. The server's audit trail tells of it."""
        asked = {**_asked(filters), **past.as_query(), **({"cursor": cursor} if cursor else {})}
        with self._stream("runs", asked, accept="application/x-ndjson") as parts:
            rest = b""
            for part in parts:
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield self._check(RunSummary, line)

    def get_run(self, name: str, past: PastFilter = PRESENT) -> RunDetail:
        """Return all that is or was known about a run. Raises `NotFoundError`."""
        return self._read(RunDetail, f"runs/{_segment(name)}", past)

    def get_tree(self, name: str, past: PastFilter = PRESENT) -> TreeNode:
        """Return the run and what ran inside it. Raises `NotFoundError`."""
        return self._read(TreeNode, f"runs/{_segment(name)}/tree", past)

    def compare_runs(self, left: str, right: str) -> Comparison:
        """Return what differs between two runs. Raises `NotFoundError`."""
        return self._read(Comparison, f"runs/{_segment(left)}/compare/{_segment(right)}")

    def compare_with_last_success(self, name: str) -> Comparison:
        """Return what differs from the last run before it that went well to the named run. Raises `NotFoundError`."""
        return self._read(Comparison, f"runs/{_segment(name)}/compare")

    def list_entries(self, *, after: int, limit: int) -> EntryPage:
        """Return the entries after a position, in the log's order."""
        return self._read(EntryPage, "events", after=after, limit=limit)

    def list_last_entries(self, *, limit: int) -> EntryPage:
        """Return the last entries of the log, in its order."""
        return self._read(EntryPage, "events", limit=limit)

    def list_run_entries(self, name: str, *, after: int, limit: int) -> EntryPage:
        """Return the entries about a run after a position. Raises `NotFoundError`."""
        return self._read(EntryPage, f"runs/{_segment(name)}/events", after=after, limit=limit)

    def list_definitions(
        self, filters: DefinitionFilter, *, limit: int, cursor: str | None = None
    ) -> Page[DefinitionSummary]:
        """Return a page of the definitions, by engine, deployment and name."""
        return self._read(Page[DefinitionSummary], "definitions", filters, limit=limit, cursor=cursor)

    def get_definition(self, name: str, filters: DefinitionFilter, past: PastFilter = PRESENT) -> DefinitionDetail:
        """Return a definition, its versions and its recent runs, as they are or were. Raises `NotFoundError`."""
        return self._read(DefinitionDetail, f"definitions/{_segment(name)}", filters, **past.as_query())

    def get_trend(
        self, name: str, filters: DefinitionFilter, *, since: datetime | None, until: datetime | None, step: Dimension
    ) -> Trend:
        """Return how a definition's runs went over time. Raises `NotFoundError`."""
        bounds = {"since": since and since.isoformat(), "until": until and until.isoformat()}
        return self._read(Trend, f"definitions/{_segment(name)}/trend", filters, step=step.value, **bounds)

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
        """Return a definition's last runs beside one another, as they are or were. Raises `NotFoundError`."""
        part = {"limit": limit, "cursor": cursor, "first_step": first_step}
        return self._read(Grid, f"definitions/{_segment(name)}/grid", filters, **part, **past.as_query())

    def list_stats(self, filters: StatFilter) -> StatTable:
        """Return how many runs there were and how long they took."""
        return self._read(StatTable, "stats", filters)

    def get_health(self, past: PastFilter = PRESENT) -> Health:
        """Return which definitions fail or are late, and which runs are silent; or which failed or were late."""
        return self._read(Health, "health", past)

    def search(self, query: str) -> Found:
        """Return what a query names."""
        if not can_name(query):
            return Found(query=query)
        return self._read(Found, "search", q=query)

    def list_checkpoints(self, *, limit: int, before: int | None = None) -> CheckpointPage:
        """Return the last checkpoints, or the last before a number, the newest first."""
        return self._read(CheckpointPage, "checkpoints", limit=limit, before=before)

    def prove_run(self, name: str) -> bytes:
        """Return the proof bundle of a run. Raises `NotFoundError`, or `LedgerError` if none was signed."""
        return self._get(f"proofs/{_segment(name)}", {}).content

    def collect_evidence(self, subject: Subject) -> Pack:
        """Return the pack of a definition's runs. Raises `NotFoundError`, and `WideQuestionError` for too many."""
        with (
            self._stream("evidence", _asked(subject), accept="application/zip") as parts,
            tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file,
        ):
            for part in parts:
                file.write(part)
            return read_pack(file)

    def get_tile(self, path: str) -> bytes:
        """Return a tile of the log's tree by its C2SP path. Raises `NotFoundError`."""
        return self._get(path, {}, prefix="/").content

    def get_completeness(self, filters: CompletenessFilter, *, limit: int) -> Completeness:
        """Return the account of what is missing from the record."""
        return self._read(Completeness, "completeness", filters, limit=limit)

    def list_corrections(
        self, filters: CorrectionFilter, *, limit: int, cursor: str | None = None
    ) -> Page[CorrectionSummary]:
        """Return a page of corrections, the last recorded first."""
        return self._read(Page[CorrectionSummary], "corrections", filters, limit=limit, cursor=cursor)

    def get_lineage(self, query: LineageQuery, past: PastFilter = PRESENT) -> Lineage:
        """Return what is around a node. Raises `NotFoundError`."""
        return self._read(Lineage, "lineage", query, **past.as_query())

    def list_loops(self, past: PastFilter = PRESENT, *, limit: int) -> Page[Loop]:
        """Return the loops of the whole graph, those that turned last first."""
        return self._read(Page[Loop], "loops", past, limit=limit)

    def get_proofs(self, edge: PastEdgeQuery, *, limit: int, cursor: str | None = None) -> EdgeProofs:
        """Return the runs that show an edge, the last one to become known first. Raises `NotFoundError`."""
        return self._read(EdgeProofs, "lineage/proofs", edge, limit=limit, cursor=cursor)

    def list_turns(self, node_id: UUID, past: PastFilter = PRESENT) -> Page[LoopTurn]:
        """Return the last turns that came back to a definition, the latest first. Raises `NotFoundError`."""
        return self._read(Page[LoopTurn], f"loops/{node_id}/turns", past)

    def list_audit(self, *, limit: int, before: int | None = None, name: str | None = None) -> AuditPage:
        """Return what was decided and done, newest first."""
        return self._read(AuditPage, "audit", limit=limit, before=before, name=name)

    def list_tokens(self) -> list[TokenView]:
        """Return all tokens, newest first."""
        return self._read(Page[TokenView], "tokens").items

    def issue_token(self, request: TokenRequest) -> IssuedToken:
        """Issue a token. Only this answer shows it."""
        return self._order(IssuedToken, "tokens", request)

    def revoke_token(self, token_id: str, *, reason: str | None = None) -> TokenView:
        """Revoke a token. Raises `NotFoundError`."""
        return self._order(TokenView, f"tokens/{_segment(token_id)}/revocation", RevokeRequest(reason=reason))

    def list_holds(self) -> list[HoldView]:
        """Return all legal holds, newest first."""
        return self._read(Page[HoldView], "holds").items

    def place_hold(self, request: HoldRequest) -> HoldView:
        """Place a legal hold. Raises `NotFoundError` if it names a run that there is not."""
        return self._order(HoldView, "holds", request)

    def release_hold(self, hold_id: str, *, reason: str | None = None) -> HoldView:
        """Release a legal hold. Raises `NotFoundError`."""
        return self._order(HoldView, f"holds/{_segment(hold_id)}/release", RevokeRequest(reason=reason))

    def erase(self, request: ErasureRequest) -> ErasureView:
        """Erase bodies of a run. Raises `NotFoundError`, and `LogRuleError` where a hold covers it."""
        return self._order(ErasureView, "erasures", request)

    def list_notice_rules(self) -> RuleStatuses:
        """Return how each rule for notices is doing."""
        return self._read(RuleStatuses, "notices")

    def examine(self) -> tuple[list[Check], httpx.Headers]:
        """Return what the server's own doctor finds, and the reply's headers."""
        response = self._get("doctor", {})
        return TypeAdapter(list[Check]).validate_json(response.content), response.headers

    def _read(self, model: type[M], path: str, filters: BaseModel | None = None, **options: Any) -> M:
        asked = _asked(filters) if filters is not None else {}
        asked |= {name: value for name, value in options.items() if value is not None}
        return self._parse(model, self._get(path, asked))

    def _order(self, model: type[M], path: str, request: BaseModel) -> M:
        """Post what is asked for; return what came of it."""
        return self._parse(model, self._send("POST", path, json=request.model_dump(mode="json")))

    def _parse(self, model: type[M], response: httpx.Response) -> M:
        return self._check(model, response.content)

    def _check(self, model: type[M], said: bytes) -> M:
        try:
            return model.model_validate_json(said)
        except ValidationError as error:
            raise RunVisError(
                f"{self.url} did not answer as a RunVis server of this version does: is RUNVIS_URL right, and is the "
                f"server as new as this client? ({error.error_count()} faults, first: {error.errors()[0]['msg']})"
            ) from error

    def _get(self, path: str, asked: dict[str, Any], *, prefix: str = PREFIX) -> httpx.Response:
        return self._send("GET", path, prefix=prefix, params=asked)

    @contextmanager
    def _stream(self, path: str, asked: dict[str, Any], *, accept: str) -> Generator[Iterator[bytes]]:
        """Open an answer of any length, to be read in parts."""
        response = self._send("GET", path, stream=True, params=asked, headers={"Accept": accept})
        try:
            with self._reaching():
                yield response.iter_bytes()
        finally:
            response.close()

    def _send(
        self, method: str, path: str, *, prefix: str = PREFIX, stream: bool = False, **said: Any
    ) -> httpx.Response:
        with self._reaching():
            response = self._client.send(self._client.build_request(method, f"{prefix}{path}", **said), stream=stream)
            if response.status_code == 401 and self._settings.token_file is not None:
                response.close()
                # The token may have been renewed since it was read.
                self._client.headers.update(self._headers())
                again = self._client.build_request(method, f"{prefix}{path}", **said)
                response = self._client.send(again, stream=stream)
            if not response.is_success:
                response.read()
                response.close()
        if not response.is_success:
            raise _error(self.url, response)
        return response

    @contextmanager
    def _reaching(self) -> Generator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"the server {self.url} can't be reached: {type(error).__name__}: {error}"
            ) from error

    def _headers(self) -> dict[str, str]:
        token = self._settings.read_token()
        return {"Authorization": f"Bearer {token}"} if token else {}


def _segment(name: str) -> str:
    """Return the segment of a path that says a name. Raises `NotFoundError` for one that no path can say.

    A client takes `.` and `..` out of a path, unless encoded.
    """
    if not name or not is_storable(name):
        raise NotFoundError(f"nothing is called {name!r}: no store can hold it")
    return name.replace(".", "%2E") if name in (".", "..") else quote(name, safe="")


def _asked(filters: BaseModel) -> dict[str, Any]:
    return filters.model_dump(mode="json", exclude_defaults=True)


def _error(url: str, response: httpx.Response) -> RunVisError:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    detail = str(problem.get("detail") or response.reason_phrase)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    error = ERRORS.get(str(problem.get("type")))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    if error is not None and issubclass(error, NotFoundError):
        near: Any = problem.get("near")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return error(detail, near=[str(name) for name in near] if isinstance(near, list) else ())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if error is PastError:
        parameter, _, reason = detail.partition(": ")
        return PastError(parameter, reason)
    if error is not None:
        return error(detail)
    if response.status_code in (401, 403):
        return SettingsError(f"{url} refused the token: {detail}; set RUNVIS_TOKEN or RUNVIS_TOKEN_FILE")
    if response.status_code >= 500:
        return UnreachableError(f"{url} answered {response.status_code}: {detail}")
    return RunVisError(f"{url} answered {response.status_code}: {detail}")
