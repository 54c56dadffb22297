"""Every page that names a run says the same of its state: a presumption and silence are no less seen in a table."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from html import unescape

import httpx
import pytest
from tests.runvis_core.web.test_silence import beat

from runvis_core.model.event import EventBase, PresumptionEvent, StateEvent
from runvis_core.model.state import State, Verdict, Witness
from runvis_core.store.database import Store
from runvis_core.testing.factories import MORNING, a_run_id, make
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]
Serve = Callable[..., httpx.Client]
AGO = (datetime.now(UTC) - MORNING).total_seconds() - 3600
"""An hour ago, in the seconds of the tests' morning."""
EXPECTED = {
    "lost": "Presumed lost",
    "quiet": "Silent",
    "overdue": "Silent",
    "overruled": "Failed",
    "going": "Running",
}
"""How runs look, by their names."""


@pytest.fixture
def mixed(store: Store, record: Record) -> Store:
    """A store with a run of each look, each with a definition of its own and with a step of the same look inside."""
    for number, name in enumerate(EXPECTED):
        for run, inside in ((name, None), (f"{name} step", name)):
            what = {"definition": f"{name}.load", "kind": "task"} if inside else {"definition": name}
            # Of the first attempt nothing is told but that it failed.
            record(store, a_run(run, begins=AGO + number, inside=inside, state=None, attempt=2, key=run, **what))
            first = a_run(f"{run} 1", begins=AGO - 60, inside=inside, state=State.FAILED, key=run, **what)
            record(store, [*first, *_told(name, run)])
            if name == "overdue":
                beat(store, run, interval_seconds=0.001)
    return store


def _told(name: str, run: str) -> list[EventBase]:
    run_id = a_run_id(run)
    common = {"run_id": run_id, "witness": Witness.RECONCILER, "seconds": AGO + 100, "reason": "nobody knows it"}
    if name == "lost":
        return [make(PresumptionEvent, verdict=Verdict.LOST, state=State.FAILED, **common)]
    if name == "quiet":
        return [make(PresumptionEvent, verdict=Verdict.SILENT, **common)]
    if name == "overruled":
        skipped = {"state": State.CANCELLED, "native_state": "skipped", "witness": Witness.SCHEDULER}
        return [
            make(StateEvent, run_id=run_id, seconds=AGO + 50, **skipped),
            make(StateEvent, run_id=run_id, seconds=AGO + 90, state=State.FAILED, native_state="failed"),
        ]
    return []


def words_of(page: str) -> dict[str, set[str]]:
    """Return by run which words a page has for its state, wherever it stands beside the run's link."""
    found: dict[str, set[str]] = defaultdict(set)
    link = r'href="/runs/([0-9a-f-]{36})[^"]*"'
    for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL):
        runs, chips = re.findall(link, row), re.findall(r'<span class="state \w+">.*?</svg> ([\w ]+)</span>', row)
        if runs and len(chips) == 1:
            found[runs[0]].add(chips[0])
    patterns = (
        rf'<a class="try \w+" {link} aria-label="attempt \d+: ([\w ]+)"',
        rf'<a class="\w+" {link} aria-label="([\w ]+), waited',
        rf'<a {link} aria-label="[^"]*: (?:[\w ]+, )*([\w ]+)" title',
    )
    for pattern in patterns:
        for run, word in re.findall(pattern, page):
            found[run].add(word)
    return found


@pytest.mark.parametrize("past", [False, True], ids=["now", "known"])
def test_every_page_says_the_same_of_a_run(mixed: Store, serve: Serve, past: bool) -> None:
    pages = serve()
    pinned = {"known_at": str(mixed.log.head().position)} if past else {}
    addresses = ["/", "/runs", *([] if past else ["/definitions"])]
    addresses += [f"/definition?name={name}" for name in EXPECTED]
    addresses += [f"/runs/{a_run_id(run)}" for name in EXPECTED for run in (name, f"{name} step")]
    said: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for address in addresses:
        page = pages.get(address, params={**httpx.URL(address).params, **pinned})
        assert page.status_code == 200
        for run, words in words_of(unescape(page.text)).items():
            said[run][address] = words
    for name, word in EXPECTED.items():
        # Heartbeats are not in the log.
        expected = "Running" if past and name == "overdue" else word
        for run in (name, f"{name} step"):
            seen = said[str(a_run_id(run))]
            assert f"/runs/{a_run_id(run)}" in seen
            assert f"/definition?name={name}" in seen
            assert seen == {address: {expected} for address in seen}, run
