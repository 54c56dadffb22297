"""The run that user code is part of. `runvis_core.current_run()` is the same call in every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from runvis_core.emit.notice import never_raises
from runvis_core.model.cause import Cause
from runvis_core.model.event import ArtifactEvent, DatasetEvent, MetricEvent, NoteEvent, build_kinds

if TYPE_CHECKING:
    from runvis_core.emit.recorder import Recorder

Dataset = str | tuple[str, str]
"""A dataset's address (`s3://bucket/path`), or its namespace and name as OpenLineage has them."""


class CurrentRun:
    """Adds to the run that the caller is part of. Outside a recorded run every method does nothing; none raises."""

    def __init__(
        self,
        run_id: UUID | None = None,
        recorder: Recorder | None = None,
        *,
        find_correlation: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`find_correlation` returns the correlation id, as far as this process knows it; it is asked when needed."""
        self.run_id = run_id
        self._recorder = recorder
        self._find_correlation = find_correlation

    @never_raises(otherwise=None)
    def as_cause(self) -> Cause | None:
        """Return what a run that this one starts is to be told of it; None outside a recorded run."""
        return Cause(self.run_id, self._find_correlation()) if self.run_id is not None else None

    @never_raises(otherwise=None)
    def metric(self, name: str, value: float, unit: str | None = None) -> None:
        """Record a number that the run measured."""
        self._record(MetricEvent, name=name, value=value, unit=unit)

    @never_raises(otherwise=None)
    def artifact(
        self, name: str, uri: str | None = None, *, digest: str | None = None, media_type: str | None = None
    ) -> None:
        """Record a persistent output of the run: a report, a table, a link."""
        self._record(ArtifactEvent, name=name, uri=uri, digest=digest, media_type=media_type)

    @never_raises(otherwise=None)
    def reads(self, dataset: Dataset) -> None:
        """Record that the run read a dataset."""
        namespace, name = dataset_name(dataset)
        self._record(DatasetEvent, direction="read", namespace=namespace, name=name)

    @never_raises(otherwise=None)
    def writes(self, dataset: Dataset) -> None:
        """Record that the run wrote a dataset."""
        namespace, name = dataset_name(dataset)
        self._record(DatasetEvent, direction="write", namespace=namespace, name=name)

    @never_raises(otherwise=None)
    def note(self, text: str) -> None:
        """Record a remark about the run."""
        self._record(NoteEvent, content={"text": text})

    def count_failure(self) -> None:
        """Count what could not be recorded."""
        if self._recorder is not None:
            self._recorder.count_failure()

    def _record(self, kind: Any, **fields: Any) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        said = {name: value for name, value in fields.items() if value is not None}
        occurred_at: datetime = recorder.clock()
        build_kinds((kind,))  # User code calls from any thread.
        event = kind(
            engine=recorder.engine,
            deployment=recorder.deployment,
            witness=recorder.witness,
            occurred_at=occurred_at,
            run_id=self.run_id,
            **said,
        )
        recorder.record([event])


_NO_RUN = CurrentRun()
_current: ContextVar[CurrentRun] = ContextVar("runvis_current_run", default=_NO_RUN)


def current_run() -> CurrentRun:
    """Return the run that the caller is part of; outside a recorded run, one whose methods do nothing."""
    return _current.get()


def set_current(run_id: UUID, recorder: Recorder, *, find_correlation: Callable[[], str | None] = lambda: None) -> None:
    """Make a run the current one of this context, until `clear_current`: for engines that call back."""
    _current.set(CurrentRun(run_id, recorder, find_correlation=find_correlation))


def clear_current() -> None:
    """Leave the current run of this context."""
    _current.set(_NO_RUN)


@contextmanager
def run_scope(run_id: UUID, recorder: Recorder) -> Generator[CurrentRun]:
    """Make a run the current one inside a `with`."""
    token = _current.set(CurrentRun(run_id, recorder))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


def dataset_name(dataset: Dataset) -> tuple[str, str]:
    """Return a dataset's namespace and name: `s3://bucket/a/b` is `a/b` in `s3://bucket`. Credentials stay out."""
    if isinstance(dataset, tuple):
        return dataset
    parts = urlsplit(dataset)
    if not parts.scheme:
        raise ValueError(f"dataset {dataset!r} is no address: give one such as s3://bucket/path, or (namespace, name)")
    host = parts.netloc.rpartition("@")[2]
    if not host:
        return parts.scheme, unquote(parts.path)
    return f"{parts.scheme}://{host}", unquote(parts.path).strip("/") or "/"
