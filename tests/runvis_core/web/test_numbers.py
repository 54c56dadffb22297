"""Every number of the overview leads to a list of exactly so many, whatever the history is, now and of a past."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from random import Random
from typing import Any

import httpx
import pytest
from tests.runvis_core.web.test_overview import count_listed
from tests.runvis_core.web.test_silence import beat

from runvis_core.model.event import EventBase, IdentityEvent, PresumptionEvent, StateEvent
from runvis_core.model.state import State, Verdict, Witness
from runvis_core.store.database import Store
from runvis_core.testing.factories import MORNING, a_run_id, make
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]
Serve = Callable[..., httpx.Client]
NOW = datetime.now(UTC)
DAY = 86_400
ENDS = [*(state for state in State if state.is_terminal), None, None]


def a_history(chance: Random, runs: int = 30) -> Iterator[tuple[str, list[EventBase]]]:
    """Yield runs by their names: inside of one another, unnamed, presumed lost or silent, corrected, of other days."""
    for number in range(runs):
        name = f"run {number}"
        begins = (NOW - MORNING).total_seconds() - chance.choice([60, chance.uniform(0, 15 * DAY)])
        inside = f"run {chance.randrange(number)}" if number and chance.random() < 0.4 else None
        what: dict[str, Any] = {"definition": chance.choice(["etl", "sales"]), "kind": chance.choice(["dag", "flow"])}
        if inside:
            what = {"definition": f"{what['definition']}.load", "kind": "task"}
        state, seconds = chance.choice(ENDS), chance.uniform(0, 2 * DAY)
        events = a_run(name, begins=begins, seconds=seconds, state=state, inside=inside, **what)
        run_id = a_run_id(name)
        later = {"run_id": run_id, "seconds": begins + seconds + 1}
        if state is None and chance.random() < 0.5:
            lost = {"verdict": Verdict.LOST, "state": State.FAILED}
            verdict = chance.choice([lost, {"verdict": Verdict.SILENT}])
            events += [make(PresumptionEvent, witness=Witness.RECONCILER, reason="unheard", **verdict, **later)]
        if state is not None and chance.random() < 0.3:
            events += [make(StateEvent, witness=Witness.FOLLOWER, state=chance.choice(list(State)[4:]), **later)]
        if chance.random() < 0.2:
            events = [event for event in events if not isinstance(event, IdentityEvent)]
        chance.shuffle(events)
        yield name, events


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("past", [None, timedelta(days=2, hours=5)], ids=["now", "then"])
def test_each_number_leads_to_just_as_many(
    store: Store, record: Record, serve: Serve, seed: int, past: timedelta | None
) -> None:
    chance = Random(seed)
    history = list(a_history(chance))
    record(store, [event for _, events in history for event in events])
    for name, _ in history[::5]:
        beat(store, name, interval_seconds=chance.choice([0.001, 3600]))
    pages = serve()
    page = pages.get("/", params={} if past is None else {"as_of": (NOW - past).isoformat()}).text
    main = page[page.index("<main") : page.index("</main>")]
    assert "unnamed" in main
    links = re.findall(r'<a (?:class="failed" )?href="((?:/runs\?|#)[^"]+)">(?:all |Silent: )?(\d+)\b[^<]*</a>', main)
    assert len(links) > 10
    for href, count in links:
        if href != "#sources":
            assert count_listed(pages, page, unescape(href)) == int(count), href
