"""One pass over what has changed on a Prefect server: it finds all that the websocket dropped or never had.

The events come first: what they tell needs no more questions. Then the rows: flow runs that the scheduler made, for
which there is no event; runs that are under way; runs that ended; and of a flow run that ended all its tasks, whatever
their clocks say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from runvis_core.model.event import EventBase
from runvis_core.model.identity import timestamp
from runvis_prefect import history
from runvis_prefect.books import Books
from runvis_prefect.history import Source
from runvis_prefect.journal import FILTERS, Journal, Record
from runvis_prefect.memory import RecentIds
from runvis_prefect.reader import Reader
from runvis_prefect.rest import PAGE_SIZE, PrefectApi
from runvis_prefect.rows import Artifact, Deployment, FlowRun, TaskRun

OVERLAP: Final = timedelta(seconds=60)
"""What is read again: a transaction may last, and clocks don't agree to the second."""
LOOK_AHEAD: Final = timedelta(minutes=10)
"""How long before it is due a scheduled run is told: Prefect makes many, and drops them when the schedule changes."""
CLOCKS_AHEAD: Final = timedelta(days=1)
"""How far the clock of a process may be ahead for its events to be read in time."""
UNDER_WAY: Final = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
KEPT: Final = 20_000

Tell = Callable[[Iterable[EventBase]], None]
FindKnown = Callable[[Iterable[UUID]], set[UUID]]
"""Returns which of these ids of events the store knows."""


class Sweeper:
    """Sweeps again and again; for one thread."""

    def __init__(
        self,
        api: PrefectApi,
        source: Source,
        reader: Reader,
        journal: Journal,
        books: Books,
        *,
        tell: Tell,
        find_known: FindKnown,
        record: Record,
    ) -> None:
        self._api = api
        self._source = source
        self._reader = reader
        self._journal = journal
        self._books = books
        self._tell = tell
        self._find_known = find_known
        self._record = record
        self._settled = RecentIds(KEPT)

    def run(self, since: datetime, begun: datetime) -> bool:
        """Tell what changed since a moment before now, by the server's clock; return whether all could be read."""
        self._reader.has_passed_over = False
        for page in self._api.events(FILTERS, since=since, until=begun + CLOCKS_AHEAD):
            self._tell(self._journal.read_events(page))
        flow_runs: dict[UUID, FlowRun] = {}
        for filters in _flow_run_filters(since, begun):
            for page in self._api.pages("/flow_runs/filter", {"flow_runs": filters, "sort": "EXPECTED_START_TIME_ASC"}):
                rows = list(self._reader.rows(FlowRun, page))
                self._tell(self._journal.read_flow_runs(rows, self._known(rows), now=begun))
                flow_runs |= {row.id: row for row in rows if row.end_time is not None}
        self._tasks_of(flow_runs, begun)
        self._tasks_alone(since, begun)
        self._artifacts(since)
        self._deployments(since, begun)
        return not self._reader.has_passed_over

    def _known(self, rows: Iterable[FlowRun | TaskRun]) -> set[UUID]:
        return self._find_known(row.state.id for row in rows if row.state is not None)

    def _tasks_of(self, ended: dict[UUID, FlowRun], begun: datetime) -> None:
        """Read the tasks of flow runs that ended; once more when their last words must have come."""
        wanted = [native for native in ended if native not in self._settled]
        names = {native: self._books.flow_name(row.flow_id) for native, row in ended.items()}
        for start in range(0, len(wanted), PAGE_SIZE):
            chunk = wanted[start : start + PAGE_SIZE]
            filters = {"flow_runs": {"id": {"any_": [str(native) for native in chunk]}}}
            self._read_tasks(filters, names, begun)
        for native in wanted:
            end = ended[native].end_time
            if end is not None and end < begun - OVERLAP / 2:
                self._settled.add(native)

    def _tasks_alone(self, since: datetime, begun: datetime) -> None:
        """Read the tasks that ran outside of any flow."""
        alone = {"flow_run_id": {"is_null_": True}}
        for moment in ({"end_time": {"after_": timestamp(since)}}, {"state": {"type": {"any_": list(UNDER_WAY)}}}):
            self._read_tasks({"task_runs": {**alone, **moment}}, {}, begun)

    def _read_tasks(self, filters: dict[str, Any], flow_names: dict[UUID, str], begun: datetime) -> None:
        for page in self._api.pages("/task_runs/filter", {**filters, "sort": "EXPECTED_START_TIME_ASC"}):
            rows = list(self._reader.rows(TaskRun, page))
            self._tell(self._journal.read_task_runs(rows, self._known(rows), flow_names, now=begun))

    def _artifacts(self, since: datetime) -> None:
        for page in self._api.pages("/artifacts/filter", {"sort": "CREATED_DESC"}):
            rows = list(self._reader.rows(Artifact, page))
            self._tell(self._told_of(row for row in rows if row.key is not None and row.created >= since))
            if any(row.created < since for row in rows):
                return

    def _told_of(self, artifacts: Iterable[Artifact]) -> Iterator[EventBase]:
        for artifact in artifacts:
            native = artifact.task_run_id or artifact.flow_run_id
            run_id = self._record.find_attempt(native, artifact.created) if native is not None else None
            if run_id is not None:
                yield history.artifact_event(artifact, run_id, self._source)

    def _deployments(self, since: datetime, begun: datetime) -> None:
        for page in self._api.pages("/deployments/filter", {"sort": "UPDATED_DESC"}):
            rows = list(self._reader.rows(Deployment, page))
            fresh = [row for row in rows if row.updated is None or row.updated >= since]
            self._books.learn_flows({row.flow_id for row in fresh})
            self._tell(
                history.deployment_definition(row, self._books.flow_name(row.flow_id), self._source, at=begun)
                for row in fresh
            )
            if len(fresh) < len(rows):
                return


def _flow_run_filters(since: datetime, begun: datetime) -> Iterator[dict[str, Any]]:
    yield {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": timestamp(begun + LOOK_AHEAD)},
    }
    yield {"state": {"type": {"any_": list(UNDER_WAY)}}}
    yield {"end_time": {"after_": timestamp(since)}}
