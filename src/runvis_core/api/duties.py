"""What a server does beside its requests. Of the servers that share a store, one does it: the leader.

A new duty is one line in `duties_of`: a name, and a function that works until the event that it is given is set.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from runvis_core.services.checkpoints import keep_checkpointing, signing_keys
from runvis_core.services.ingest import Count, counting
from runvis_core.services.notify.notifier import keep_notifying
from runvis_core.services.notify.rules import read_rules
from runvis_core.services.steps import STEPS
from runvis_core.settings import Settings
from runvis_core.store.database import Store
from runvis_core.store.leadership import Leadership
from runvis_core.store.steps import follow_steps

_log = logging.getLogger(__name__)

LEADER_CHECK_SECONDS: Final = 2.0
"""How soon a leader that lost the lead knows it, and another one takes it."""
LONGEST_PAUSE_SECONDS: Final = 30.0
END_SECONDS: Final = 15.0

Follow = Callable[..., None]
"""`follow(url, *, store, settings, stop)`: reads an engine's own API until `stop` is set."""


class Duty(NamedTuple):
    """One piece of a leader's work."""

    name: str
    work: Callable[[threading.Event], Any]
    """Works until the event is set. Whatever ends it earlier, it begins again."""


def duties_of(
    store: Store, settings: Settings, followers: Mapping[str, tuple[Follow, str]], *, count: Count
) -> list[Duty]:
    """Return all that the leader of a store does; `followers` are by name a follower and its engine's address.

    `count` is told what became of the events that they bring.

    Raises `SettingsError` if the key that is to sign checkpoints can't be read, or for a rule for notices that can't be
    followed.
    """
    following = [
        Duty(f"follow-{name}", partial(_follow, follow, url, store, settings, count))
        for name, (follow, url) in followers.items()
    ]
    if settings.ledger.key_file is not None:
        # Said now, and not at each interval.
        signing_keys(settings)
        following.append(Duty("checkpoints", partial(keep_checkpointing, store, settings)))
    notifying = [
        Duty(f"notify-{rule.name}", partial(keep_notifying, store, rule, settings.find_public_url()))
        for rule in read_rules(settings)
    ]
    return [Duty("steps", partial(follow_steps, store, STEPS)), *notifying, *following]


def _follow(follow: Follow, url: str, store: Store, settings: Settings, count: Count, stop: threading.Event) -> None:
    with counting(count):
        follow(url, store=store, settings=settings, stop=stop)


class Duties:
    """Does the duties while this process leads, each in a thread of its own.

    Two leaders may overlap for a moment, when one has lost the lead and is ending what it does: a duty must bear that,
    as all do that go on from a place kept in the store.
    """

    def __init__(
        self,
        duties: Iterable[Duty],
        leadership: Leadership,
        *,
        on_lead: Callable[[bool], object] = bool,
        on_failure: Callable[[str], object] = str,
        check_seconds: float = LEADER_CHECK_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self._duties = tuple(duties)
        self._leadership = leadership
        self._on_lead = on_lead
        self._on_failure = on_failure
        self._check_seconds = check_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._closed = threading.Event()
        self._term: threading.Event | None = None
        """Set at the end of this process's lead; None while it doesn't lead."""
        self._threads: dict[str, threading.Thread] = {}
        self._leader = threading.Thread(target=self._lead, name="runvis-leader", daemon=True)

    @property
    def is_leading(self) -> bool:
        """Whether this process leads."""
        return self._term is not None

    def start(self) -> None:
        """Begin to ask for the lead."""
        self._leader.start()

    def close(self) -> None:
        """End the duties and leave the lead to others."""
        self._closed.set()
        self._leader.join()

    def _lead(self) -> None:
        try:
            while not self._closed.is_set():
                if self._holds():
                    self._begin()
                else:
                    self._end()
                self._closed.wait(self._check_seconds)
        finally:
            self._end()
            self._leadership.release()

    def _holds(self) -> bool:
        try:
            return self._leadership.hold()
        except OSError as error:
            _log.warning("nobody can lead: %s", error)
            return False

    def _begin(self) -> None:
        if self._term is None:
            self._term = threading.Event()
            self._on_lead(True)
        for duty in self._duties:
            running = self._threads.get(duty.name)
            # One that is still ending what it did in an earlier term goes on in this one when it has.
            if running is None or not running.is_alive():
                thread = threading.Thread(target=self._keep, args=(duty, self._term), name=duty.name, daemon=True)
                self._threads[duty.name] = thread
                thread.start()

    def _end(self) -> None:
        term, self._term = self._term, None
        if term is None:
            return
        self._on_lead(False)
        term.set()
        for name, thread in self._threads.items():
            thread.join(END_SECONDS)
            if thread.is_alive():
                _log.warning("%s did not end in %.0f s", name, END_SECONDS)

    def _keep(self, duty: Duty, term: threading.Event) -> None:
        said, failures = "", 0
        while not term.is_set():
            try:
                duty.work(term)
                said, failures = "", 0
            except Exception as error:  # noqa: BLE001 - whatever a duty fails at must not end the others, nor the server
                failures += 1
                self._on_failure(duty.name)
                what = f"{type(error).__name__}: {error}"
                # Said once, until it is another one: an engine may be away for days.
                if what != said:
                    _log.warning("%s stopped: %s; it begins again by itself", duty.name, what)
                said = what
            term.wait(min(2.0 ** min(failures, 10), self._longest_pause_seconds))
