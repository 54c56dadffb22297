"""Pages of the past: as they were then, the same for good at a pinned position, refused where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.runvis_core.web.histories import BAD, EXTRACT, FLOW, GOOD, STAGE_2, a_shop
from tests.runvis_core.web.test_pages import links_of, read

from runvis_core.model.event import DefinitionEvent, EventBase, FailureEvent, IdentityEvent, StateEvent
from runvis_core.model.state import State, Witness
from runvis_core.services.filters import RunFilter
from runvis_core.services.health import get_health
from runvis_core.services.past_feed import list_feed_at
from runvis_core.services.past_filter import PRESENT, PastFilter
from runvis_core.services.past_health import get_past_standing
from runvis_core.services.sources import get_heard
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, at, make
from runvis_core.testing.runs import a_run

Record = Callable[[Store, Iterable[EventBase]], None]


def _late_facts(run: Any = BAD) -> Iterator[EventBase]:
    """Yield what contradicts the history, adds to it, and comes after it."""
    fields: dict[str, Any] = {"run_id": run}
    if run == FLOW:
        fields |= {"engine": "prefect", "deployment": "flows"}
    yield make(StateEvent, seconds=500, state=State.CANCELLED, witness=Witness.IMPORT, **fields)
    yield make(FailureEvent, seconds=501, error_type="LateError", content={"message": "late"}, **fields)
    for number, (name, parent) in enumerate([("late", run), ("shop", None)]):
        new: dict[str, Any] = {"run_id": a_run_id(f"late {run} {number}"), "seconds": 20 + number}
        said = {"definition": name, "definition_kind": "dag", "native_key": f"late/{run}/{number}"}
        yield make(IdentityEvent, native_id=f"late/{number}", parent_run_id=parent, **said, **new)
        yield make(StateEvent, state=State.FAILED, **new)
    yield make(DefinitionEvent, seconds=30, definition="shop", definition_kind="dag", version="late")


@pytest.mark.parametrize("run", [BAD, STAGE_2, FLOW], ids=["bad", "stage", "flow"])
def test_a_run_s_permalink_is_the_same_to_the_byte_whatever_is_recorded_afterwards(
    pages: httpx.Client, shop: Store, record: Record, run: Any
) -> None:
    _assert_stays(pages, f"/runs/{run}", shop, record, run)
    assert "sources disagree" in pages.get(f"/runs/{run}").text.lower()


@pytest.mark.parametrize("address", ["/", "/runs", "/runs?all=true&state=Failed", "/definition?name=shop"])
def test_every_other_page_s_permalink_is_too(pages: httpx.Client, shop: Store, record: Record, address: str) -> None:
    _assert_stays(pages, address, shop, record)


def test_a_definition_s_links_hold_when_another_kind_takes_its_name(
    pages: httpx.Client, shop: Store, record: Record
) -> None:
    permalink = next(href for href in links_of(read(pages, "/definition?name=shop")) if "known_at=" in href)
    before = pages.get(permalink)
    named = {"definition": "shop", "definition_kind": "task", "native_key": "namesake", "native_id": "namesake"}
    record(shop, [make(IdentityEvent, run_id=a_run_id("namesake"), **named)])
    assert pages.get(permalink).content == before.content
    assert "say which engine, deployment and kind" in read(pages, "/definition?name=shop", status=404).text
    links = [href for href in links_of(read(pages, "/definitions")) if href.startswith("/definition?name=shop&")]
    recent = [pages.get(href).text.count(str(a_run_id("namesake"))) > 0 for href in links]
    assert sorted(recent) == [False, True]


def _assert_stays(pages: httpx.Client, address: str, store: Store, record: Record, run: Any = BAD) -> None:
    now = read(pages, address)
    permalink = next(href for href in links_of(now) if "known_at=" in href and f"known_at={_end(store)}" in href)
    # Of the same moment, too.
    as_of = f"{permalink}&as_of=2026-11-24T08:02:15Z"
    before = {known: pages.get(known) for known in (permalink, as_of)}
    assert {answer.status_code for answer in before.values()} == {200}
    record(store, list(_late_facts(run)))
    for known, answer in before.items():
        assert pages.get(known).content == answer.content
    fresh = str(a_run_id(f"late {run} {0 if address.startswith('/runs/') else 1}"))
    assert fresh in pages.get(address).text
    assert fresh not in before[permalink].text


def _end(store: Store) -> int:
    return store.log.head().position


def test_the_feed_shows_what_was_going_on(pages: httpx.Client) -> None:
    page = read(pages, "/runs?as_of=2026-11-24T08:00:30Z")
    rows = [attributes["data-run"] for attributes in page.of("tr") if "data-run" in attributes]
    assert rows == [str(BAD), str(GOOD)]
    assert "As of 24 Nov 2026 08:00:30 UTC. Return to now" in page.text
    assert "ValueError" not in page.text
    later = read(pages, "/runs?as_of=2026-11-24T08:02:14Z&definition=shop")
    assert "shop.stage : ValueError: upstream returned 0 rows" in later.text
    assert "4 runs" in later.text
    opened = read(pages, next(href for href in links_of(later) if f"open={BAD}" in href))
    assert sum(attributes.get("class") == "in" for attributes in opened.of("tr")) == 4
    assert "As of 24 Nov" in opened.text


def test_links_of_the_past_lead_to_the_past(pages: httpx.Client) -> None:
    seen: set[str] = set()
    waiting = ["/?as_of=2026-11-24T08:02:14Z", "/runs?as_of=2026-11-24T08:02:14Z"]
    while waiting:
        address = waiting.pop()
        seen.add(address)
        page = read(pages, address)
        assert "As of 24 Nov 2026 08:02:14 UTC" in page.text, address
        for href in links_of(page):
            if href.startswith(f"/runs/{BAD}") or "/definition?" in href:
                if "known_at" not in href and href not in seen and "08%3A02%3A14" in href:
                    waiting.append(href)
                assert "as_of=" in href or "known_at=" in href or href == page_now(address), (address, href)
    assert any(address.startswith("/definition?") for address in seen)


@pytest.mark.parametrize(
    "address",
    [
        "/?known_at=20",
        "/runs?known_at=20",
        f"/runs/{BAD}?known_at=20",
        "/definition?name=shop&known_at=20",
        "/graph?known_at=20",
        "/runs?known_at=20&as_of=2026-11-24T08:00:30Z",
    ],
)
def test_the_bar_at_the_top_leads_to_the_same_past_and_says_what_has_none(pages: httpx.Client, address: str) -> None:
    page = read(pages, address)
    pin = address.partition("?")[2].removeprefix("name=shop&").replace(":", "%3A")
    pin = "&".join(sorted(pin.split("&")))
    for path in ("/", "/runs", "/graph"):
        assert f"{path}?{pin}" in list(links_of(page))
    for path in ("/definitions", "/completeness"):
        assert path in list(links_of(page))
    assert "Definitions (now)" in page.text
    assert "Completeness (now)" in page.text
    (search,) = (attributes for attributes in page.of("input") if attributes.get("id") == "q")
    assert search["placeholder"] == "As of now: run id, definition, error"
    assert "(now)" not in read(pages, "/runs").text


def test_an_error_of_a_page_of_the_past_leads_on_in_that_past(pages: httpx.Client) -> None:
    for address, status in (("/runs?bogus=1&known_at=20", 400), (f"/runs/{a_run_id('nobody')}?known_at=20", 404)):
        assert {"/?known_at=20", "/runs?known_at=20"} <= set(links_of(read(pages, address, status=status)))


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("engine=airflow&as_of=2999-01-01T00:00:00Z", "engine=airflow"),
        ("engine=airflow&known_at=1000000", "engine=airflow"),
        ("engine=airflow&known_at=2999-01-01T00:00:00Z", "engine=airflow"),
        ("engine=airflow&tag=daily&known_at=20", "engine=airflow&known_at=20"),
    ],
)
def test_a_past_that_can_t_be_told_of_keeps_the_rest_of_what_was_asked(
    pages: httpx.Client, asked: str, kept: str
) -> None:
    page = read(pages, f"/runs?{asked}", status=400)
    assert "in the address, or leave it out and keep the rest" in page.text
    assert f"/runs?{kept}" in list(links_of(page))


def page_now(address: str) -> str:
    """Return where a page of the past leads for the same of now."""
    path, _, query = address.partition("?")
    rest = "&".join(part for part in query.split("&") if not part.startswith("as_of="))
    return f"{path}?{rest}" if rest else path


def test_the_overview_tells_what_was_wrong_then_and_what_it_can_t_tell(pages: httpx.Client) -> None:
    before = read(pages, "/?as_of=2026-11-24T08:00:30Z")
    assert "Nothing is known to be wrong" in before.text
    after = read(pages, "/?as_of=2026-11-24T08:02:14Z")
    assert "2 definitions failing" in after.text
    assert "ValueError: upstream returned 0 rows" in after.text
    assert "told of now alone" in after.text
    assert "The counts by day are of the runs before 2026-11-24 08:00 UTC, by how these stand now." in after.text
    known = read(pages, "/?known_at=20")
    assert "So are the counts by day" in known.text
    assert "The last days" not in known.text
    earliest = read(pages, "/?known_at=0")
    assert "Nothing was recorded yet" in earliest.text


def test_a_definition_of_the_past_shows_its_runs_of_then_alone(
    pages: httpx.Client, shop: Store, record: Record
) -> None:
    page = read(pages, "/definition?name=shop&as_of=2026-11-24T08:00:30Z")
    rows = [attributes["data-run"] for attributes in page.of("tr") if "data-run" in attributes]
    assert rows == [str(BAD), str(GOOD)]
    assert "The trend is of the runs before 2026-11-24 08:00 UTC" in page.text
    known = read(pages, "/definition?name=shop&known_at=20")
    assert "The trend is of now alone" in known.text
    record(shop, list(_late_facts()))
    assert "nothing was known yet" in read(pages, "/definition?name=late&known_at=20", status=404).text


def test_a_definition_s_grid_of_the_past_has_the_attempts_of_then(pages: httpx.Client) -> None:
    def cells(then: str) -> list[str]:
        page = read(pages, f"/definition?name=shop{then}")
        names = [attributes.get("aria-label") or "" for attributes in page.of("a")]
        return [name for name in names if name.startswith(("extract:", "stage:", "load:"))]

    ended = ["extract: Succeeded", "stage: To be retried, Failed", "load: Upstream failed"]
    assert cells("") == ended
    assert cells("&as_of=2026-11-24T08:00:30Z") == ["extract: Running"]
    assert cells("&as_of=2026-11-24T08:01:45Z") == ["extract: Succeeded", "stage: To be retried, Running"]
    permalink = next(href for href in links_of(read(pages, "/definition?name=shop")) if "known_at=" in href)
    assert cells(f"&{permalink.partition('?name=shop&')[2]}")


@pytest.mark.parametrize("address", ["/definitions", f"/compare?right={BAD}", "/search?q=shop", "/completeness"])
def test_a_page_without_a_past_refuses_to_be_asked_about_it(pages: httpx.Client, address: str) -> None:
    for asked in ("as_of=2026-11-24T08:00:30Z", "known_at=3"):
        page = read(pages, f"{address}{'&' if '?' in address else '?'}{asked}", status=400)
        assert "tells of now alone" in page.text
        assert address in {href.replace("%2F", "/") for href in links_of(page)}


@pytest.mark.parametrize(("second", "counted"), [(30, 3), (1, 3), (0, 2), (133, 3), (134, 4)])
def test_as_many_entries_are_listed_of_a_run_as_were_counted(pages: httpx.Client, second: int, counted: int) -> None:
    moment = (at(second)).isoformat().replace("+00:00", "Z")
    address = f"/runs/{BAD}?as_of={moment}"
    assert f"{counted} entries, told by" in read(pages, address).text
    listed = pages.get(address).text.partition('id="events"')[2]
    assert listed.count('<tr><th scope="row"') == counted


def test_the_control_leads_to_other_moments(pages: httpx.Client) -> None:
    page = read(pages, f"/runs/{EXTRACT}")
    leads = {href for href in links_of(page) if href.startswith(f"/runs/{EXTRACT}?")}
    # It was queued at 08:00:05 and ended at 08:00:40.
    assert f"/runs/{EXTRACT}?as_of=2026-11-24T08%3A00%3A40Z" in leads
    assert f"/runs/{EXTRACT}?as_of=2026-11-24T08%3A00%3A04Z" in leads
    assert any("known_at=" in href and "as_of" not in href for href in leads)


def test_what_was_known_at_the_end_of_the_log_is_what_is_known(store: Store, record: Record) -> None:
    record(store, a_shop())
    now = at(1000)
    end = PastFilter(known_at=_end(store))
    for filters in (RunFilter(), RunFilter(top=True), RunFilter(parent=str(BAD)), RunFilter(state=[State.FAILED])):
        rows, past_rows = (
            list_feed_at(store, filters, past, limit=50, now=now, opened=[BAD]).items for past in (PRESENT, end)
        )
        assert rows
        for row, past in zip(rows, past_rows, strict=True):
            assert (row.run.run_id, row.run.effective_state) == (past.run.run_id, past.run.effective_state)
            assert (row.inside_count, row.attempt_count) == (past.inside_count, past.attempt_count)
            assert row.failed_inside == past.failed_inside
            assert [one.run_id for one in row.inside] == [one.run_id for one in past.inside]
    health = get_health(store, now=now)
    standing = get_past_standing(store, end, now=now, at=now)
    assert health.failing
    # What a failing one blocks is told of now alone.
    unknown = {"blocks": [], "blocks_count": 0, "blocks_cut": False}
    assert standing.health.failing == [one.model_copy(update=unknown) for one in health.failing]
    assert standing.heard.position == get_heard(store).position
    assert [one.deployment for one in standing.heard.sources] == [one.deployment for one in get_heard(store).sources]


def test_a_definition_was_late_by_the_schedule_that_it_had_then(store: Store, record: Record) -> None:
    record(store, a_shop())
    hourly = make(
        DefinitionEvent, seconds=200, definition="shop", definition_kind="dag", version="1", schedule="@hourly"
    )
    record(store, [hourly])
    three_hours = at(0) + timedelta(hours=3)
    known = PastFilter(known_at=_end(store))
    late = get_past_standing(store, known, now=three_hours, at=three_hours).health.late
    assert [(one.definition, one.missed) for one in late] == [("shop", 2)]
    unknown = PastFilter(known_at=_end(store) - 1)
    assert get_past_standing(store, unknown, now=three_hours, at=three_hours).health.late == []


@pytest.mark.parametrize(
    ("moment", "counted"),
    [("2026-11-24T10:30:00Z", [3, 2, 1]), ("2026-11-24T10:00:00Z", [3, 2, 1]), ("2026-11-24T00:10:00Z", [2, 1])],
    ids=["in an hour", "on the hour", "just after midnight"],
)
def test_counts_as_of_a_moment_are_of_the_whole_hours_before_it(
    store: Store, serve: Callable[..., httpx.Client], record: Record, moment: str, counted: list[int]
) -> None:
    hours = {"first": -56, "second": -24, "third": -9, "fourth": 0, "fifth": 1, "sixth": 1.9, "too late": 2.2}
    for name, hour in hours.items():
        record(store, a_run(name, begins=hour * 3600, state=State.FAILED if hour == 1 else State.SUCCEEDED))
    pages = serve()
    page = read(pages, f"/?as_of={moment}")
    days = [href for href in links_of(page) if href.startswith("/runs?") and "since=" in href and "state=" not in href]
    listed = [read(pages, href).of("tr") for href in reversed(dict.fromkeys(days))]
    lengths = [len([row for row in rows if "data-run" in row]) for rows in listed]
    # All days are there, also those without runs.
    assert len(lengths) == 14
    assert [length for length in lengths if length] == counted
    assert f"{sum(counted)} runs from" in read(pages, f"/definition?name=etl&as_of={moment}").text
    told = [
        one.runs for one in get_past_standing(store, PastFilter(as_of=moment), now=at(9_000), at=at(9_000)).health.days
    ]
    assert told[::-1] == counted
