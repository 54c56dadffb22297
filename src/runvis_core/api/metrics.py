"""`/metrics`: what a Prometheus reads. No label names a run, a definition or a caller, so their number stays small."""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from time import perf_counter
from typing import Any, Final, get_args

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runvis_core.api.state import state_of
from runvis_core.errors import UnreachableError
from runvis_core.services.vitals import Vitals, read_spool_vitals, read_vitals
from runvis_core.settings import Settings
from runvis_core.store.database import Store
from runvis_core.store.outcome import Status

router = APIRouter()

MULTIPROCESS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names where the processes of one server keep their counters, so that each can tell all of them."""
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The numbers of one server, and of its store when they are asked for."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._registry = CollectorRegistry()
        shared = MULTIPROCESS_FOLDER in os.environ
        # With several processes the counters lie in files, which one collector reads for all of them.
        own = None if shared else self._registry
        if shared:
            MultiProcessCollector(self._registry)
        self.events = Counter(
            "runvis_events",
            "Events that were delivered, by what became of them: stored, known, attested, conflict, refused.",
            ["outcome"],
            registry=own,
        )
        for status in get_args(Status):
            # There from the beginning, so that the first event of a kind is an increase and not a new series.
            self.events.labels(status)
        self.commit_seconds = Histogram(
            "runvis_store_commit_seconds",
            "How long the store took for one group of batches: parsing, folding and the durable transaction.",
            buckets=_SECONDS,
            registry=own,
        )
        self.request_seconds = Histogram(
            "runvis_request_seconds",
            "How long requests took until their answer began, by route and status.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=own,
        )
        self.waiting_batches = Gauge(
            "runvis_waiting_batches",
            "Batches that wait for their transaction.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self.leading = Gauge(
            "runvis_leading",
            "Whether this server does what only one has to do: follow engines, notify, extend what is derived.",
            registry=own,
            multiprocess_mode="livemax",
        )
        self.duty_failures = Counter(
            "runvis_duty_failures", "How often a duty of the leader stopped with an error.", ["duty"], registry=own
        )
        self._registry.register(_Vitals(store, settings))

    def count_outcomes(self, outcomes: Sequence[Any]) -> None:
        """Count what became of events."""
        for status, number in Tally(outcome.status for outcome in outcomes).items():
            self.events.labels(status).inc(number)

    def expose(self) -> bytes:
        """Return all numbers as Prometheus reads them."""
        return generate_latest(self._registry)


class _Vitals:
    """Asks the store and the spool when it is asked itself."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._spool_dir = settings.spool_dir

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand, or the registry would ask the store at the start to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return the numbers as they are now. While the store can't be read, only that it can't."""
        info = GaugeMetricFamily("runvis_info", "The version that runs.", labels=["version"])
        info.add_metric([version("runvis")], 1)
        yield info
        try:
            vitals = read_vitals(self._store, now=datetime.now(UTC))
        except UnreachableError:
            yield _gauge("runvis_store_up", "Whether the store can be read.", 0)
        else:
            yield _gauge("runvis_store_up", "Whether the store can be read.", 1)
            yield from _store_gauges(vitals)
        spool = read_spool_vitals(self._spool_dir)
        yield _gauge("runvis_spool_files", "Spool files on the server's machine.", spool.files)
        yield _gauge("runvis_spool_pending_bytes", "Bytes in them that wait for delivery.", spool.pending_bytes)
        yield _gauge("runvis_spool_dead_letters", "Events kept there that were refused for good.", spool.dead_letters)


def _store_gauges(vitals: Vitals) -> Iterator[Metric]:
    yield _gauge("runvis_log_position", "The last position of the log.", vitals.position)
    if vitals.quiet_seconds is not None:
        yield _gauge("runvis_log_quiet_seconds", "How long ago the last entry was recorded.", vitals.quiet_seconds)
    if vitals.delivery_lag_seconds is not None:
        yield _gauge(
            "runvis_delivery_lag_seconds",
            "How long the last 100 entries took from their fact to the log: the median.",
            vitals.delivery_lag_seconds,
        )
    lags = GaugeMetricFamily(
        "runvis_step_lag_entries", "How far what is derived beside the log is behind it.", labels=["step"]
    )
    for lag in vitals.step_lags:
        lags.add_metric([lag.name], lag.entries)
    yield lags
    yield _gauge("runvis_beating_runs", "Live runs that send signs of life.", vitals.beating_runs)
    yield _gauge("runvis_silent_runs", "Those of them whose sign of life is overdue.", vitals.silent_runs)
    yield _gauge(
        "runvis_producers_refused", "Events that engines' processes said they could not keep.", vitals.producers_refused
    )


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


class RequestTimes:
    """Times each request until its answer begins. A route is named by its pattern, never by what a caller asked for."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._seconds = metrics.request_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        seconds: float | None = None
        status = 500

        async def answer(message: Message) -> None:
            nonlocal seconds, status
            if message["type"] == "http.response.start":
                seconds, status = perf_counter() - began, message["status"]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            took = seconds if seconds is not None else perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            # Said by the door's table, which also knows the path of who is refused.
            route = scope.get("state", {}).get("route") or "other"
            self._seconds.labels(method, route, str(status)).observe(took)


@router.get("/metrics", response_class=Response)
def get_metrics(request: Request) -> Response:
    """Return the server's and the store's numbers as Prometheus reads them."""
    return Response(state_of(request).metrics.expose(), media_type=CONTENT_TYPE_LATEST)
