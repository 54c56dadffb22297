"""The follower: it tells the store what a Prefect server knows, as it happens and again by sweeps.

The events websocket is quick, and loses what the server has no room for; a sweep reads everything anew, with an
overlap. Reports are named by what they say, so that what is read twice is told once. The watermark is the server's own
time at the beginning of a sweep, and it moves only when the store holds all that the sweep found.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from runvis_core.emit.redaction import Redactor
from runvis_core.errors import StoreError
from runvis_core.model.event import EventBase
from runvis_core.model.heartbeat import Heartbeat
from runvis_core.model.identity import timestamp
from runvis_core.services.attempts import find_attempts
from runvis_core.services.engine_http import StoppedError
from runvis_core.services.ingest import record_heartbeats
from runvis_core.services.known import find_known_events, find_run_of_event, find_runs_with
from runvis_core.services.telling import tell_events
from runvis_core.services.trouble import Trouble
from runvis_core.services.watermark import find_watermark, set_watermark
from runvis_core.settings import PrefectSettings, Settings
from runvis_prefect.books import Books
from runvis_prefect.events import EventStream
from runvis_prefect.history import Source
from runvis_prefect.identity import ENGINE
from runvis_prefect.journal import FILTERS, Journal
from runvis_prefect.memory import RecentIds
from runvis_prefect.reader import Reader
from runvis_prefect.rest import PrefectApi, PrefectApiError, ui_url
from runvis_prefect.sweep import OVERLAP, Sweeper
from runvis_prefect.tails import Tails

FIRST_LOOK_BACK: Final = timedelta(days=1)
"""How far the first sweep of a deployment reads back."""
WATERMARK: Final = "swept_until"
BATCH: Final = 500
"""Events that are stored in one go."""
TOLD: Final = 60_000
"""Events that are remembered as stored, at least half of them."""
LIVE_BATCH: Final = 100
"""Events of the websocket that are read in one go: after the store was slow many wait, and each takes much memory."""
_END_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 1.0
_LISTEN_SECONDS: Final = 0.2
"""How often a quiet socket looks whether it is still wanted."""

if TYPE_CHECKING:
    from runvis_core.store.database import Store


def follow(url: str, *, store: Store, settings: Settings, stop: threading.Event) -> None:
    """Read the Prefect server at `url` into the store until `stop` is set.

    A server or a store that can't be reached, or that answers with nonsense, is said once, and tried again at the next
    interval. Raises `SettingsError` for settings that can't work.
    """
    deployment = settings.prefect.deployment or settings.get_deployment()
    with PrefectApi(url, settings.prefect, stop) as api:
        Following(api, store, Source(deployment, ui_url(api.url)), settings, stop).run()


class Teller:
    """Brings events to the store, each once."""

    def __init__(self, store: Store, source: Source, redactor: Redactor, trouble: Trouble) -> None:
        self._store = store
        self._source = source
        self._redactor = redactor
        self._trouble = trouble
        self._told = RecentIds(TOLD)

    def tell(self, events: Iterable[EventBase]) -> None:
        """Store events, but for those that were stored a while ago. Raises `StoreError` where that can't be."""
        batch: dict[UUID, EventBase] = {}
        for event in events:
            if event.event_id not in self._told:
                batch.setdefault(event.event_id, event)
            if len(batch) >= BATCH:
                self._store_all(batch)
                batch = {}
        self._store_all(batch)

    def beat(self, beats: Iterable[Heartbeat]) -> None:
        """Note signs of life."""
        record_heartbeats(self._store, beats)

    def find_known(self, ids: Iterable[UUID]) -> set[UUID]:
        """Return which events the store has."""
        wanted = set(ids)
        known = {event_id for event_id in wanted if event_id in self._told}
        return known | find_known_events(self._store, wanted - known)

    def find_attempt(self, native: UUID, moment: datetime) -> UUID | None:
        """Return the attempt of a flow run or task run that there was at a moment."""
        key, deployment = str(native), self._source.deployment
        found = find_attempts(self._store, [key], engine=ENGINE, deployment=deployment).get(key, [])
        there = [said.run_id for said in found if said.first_at <= moment]
        return there[-1] if there else None

    def find_run_of_event(self, event_id: UUID) -> UUID | None:
        """Return the run that an event is about."""
        return find_run_of_event(self._store, event_id)

    def find_logged(self, runs: Iterable[UUID]) -> set[UUID]:
        """Return which of these runs have the end of their log in the store."""
        return find_runs_with(self._store, "log", runs)

    def _store_all(self, batch: dict[UUID, EventBase]) -> None:
        if not batch:
            return
        said = list(batch.values())
        tell_events(self._store, said, engine="Prefect", redactor=self._redactor, trouble=self._trouble)
        for event_id in batch:
            self._told.add(event_id)


class Following:
    """Follows one server: a thread reads the socket, a second one tells what it brought, this one sweeps."""

    def __init__(
        self, api: PrefectApi, store: Store, source: Source, settings: Settings, stop: threading.Event
    ) -> None:
        self._api = api
        self._store = store
        self._source = source
        self._settings: PrefectSettings = settings.prefect
        self._stop = stop
        self._trouble = Trouble(ENGINE)
        self._teller = Teller(store, source, Redactor(settings.emit.secret_keys), self._trouble)
        self._ended = threading.Event()
        self._stream = EventStream(api, settings.prefect, FILTERS, stop, on_trouble=self._trouble.note)

    def run(self) -> None:
        """Follow until `stop` is set."""
        reader, books = self._reading()
        teller = self._teller
        tails = Tails(self._api, books, self._source, reader, tell=teller.tell, find_logged=teller.find_logged)
        journal = self._journal(reader, books, tails)
        sweeper = Sweeper(
            self._api,
            self._source,
            reader,
            journal,
            books,
            tell=teller.tell,
            find_known=teller.find_known,
            record=teller,
        )
        live = threading.Thread(target=self._tell_live, args=(tails,), name="runvis-prefect-live", daemon=True)
        try:
            while not self._stop.is_set():
                try:
                    begun = self._server_time()
                    if live.ident is None:
                        # From here on, so that nothing lies between the first sweep and the socket.
                        self._stream.start(begun)
                        live.start()
                    self._sweep(sweeper, journal, begun)
                    tails.read(begun)
                except StoppedError:
                    return
                except (PrefectApiError, StoreError) as error:
                    journal.forget()
                    self._trouble.say(str(error))
                else:
                    self._trouble.over(self._api.url)
                self._stop.wait(self._settings.interval_seconds)
        finally:
            self._ended.set()
            self._stream.close()
            if live.is_alive():
                live.join(_END_SECONDS)

    def _server_time(self) -> datetime:
        self._api.get("/health")
        return self._api.date

    def _sweep(self, sweeper: Sweeper, journal: Journal, begun: datetime) -> None:
        known = find_watermark(self._store, engine=ENGINE, deployment=self._source.deployment, key=WATERMARK)
        since = datetime.fromisoformat(known) - OVERLAP if known else begun - FIRST_LOOK_BACK
        is_whole = sweeper.run(since, begun)
        self._teller.beat(beat for beat in journal.take_beats() if beat.occurred_at >= begun - OVERLAP)
        if is_whole:
            deployment = self._source.deployment
            set_watermark(self._store, timestamp(begun), engine=ENGINE, deployment=deployment, key=WATERMARK)

    def _tell_live(self, tails: Tails) -> None:
        journal = self._journal(*self._reading(), tails)
        while not (self._stop.is_set() or self._ended.is_set()):
            events = self._stream.take(LIVE_BATCH, timeout=_LISTEN_SECONDS)
            if not events:
                continue
            failure = self._tell_now(journal, events)
            if failure is not None:
                # Most often it was one answer that got lost, and a sweep may be far away.
                self._ended.wait(_AGAIN_SECONDS)
                failure = self._tell_now(journal, events)
            if failure is not None:
                self._trouble.note(f"what the websocket brought is left to the next sweep: {failure}")

    def _tell_now(self, journal: Journal, events: list[dict[str, Any]]) -> Exception | None:
        """Tell what events say; return why that was not possible."""
        try:
            self._teller.tell(journal.read_events(events))
            self._teller.beat(journal.take_beats())
        except StoppedError:
            return None
        except (PrefectApiError, StoreError) as error:
            journal.forget()
            return error
        return None

    def _reading(self) -> tuple[Reader, Books]:
        """Return what one thread reads with."""
        reader = Reader(self._api.url, self._trouble.note)
        return reader, Books(self._api, self._source, reader)

    def _journal(self, reader: Reader, books: Books, tails: Tails) -> Journal:
        return Journal(
            books,
            self._source,
            reader,
            record=self._teller,
            on_state=tails.note,
            heartbeat_seconds=self._settings.heartbeat_seconds,
        )
