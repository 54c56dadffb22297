"""When runs are due by a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.services.schedules import (
    MAX_LOOKED_FOR,
    Missed,
    count_missed,
    find_due_times,
    find_last_due_times,
    find_missed,
)

moments = st.timedeltas(timedelta(), timedelta(days=365)).map(lambda since: datetime(2026, 1, 1, tzinfo=UTC) + since)
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
begun = moments | moments.map(lambda moment: moment.replace(minute=0, second=0, microsecond=0))


@pytest.mark.parametrize("expression", ["0 * * * *", "0 0 * * *"], ids=["hourly", "daily"])
@given(after=begun)
def test_what_is_due_each_hour_or_day_is_what_cron_says(expression: str, after: datetime) -> None:
    due = find_due_times(expression, after=after, until=after + timedelta(days=9), limit=5)
    assert due == list(islice(CronSim(expression, after), 5))


SCHEDULES = ["@hourly", "@daily", "17 3 * * *", "*/5 * * * *", "0 6 * * 1-5", "6:30:00", "1 day, 0:00:00", "whenever"]


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(after=moments | begun, hours=st.integers(0, 300), seconds=st.sampled_from([0, 1, 59.5]))
def test_the_last_due_times_are_the_end_of_all(schedule: str, after: datetime, hours: int, seconds: float) -> None:
    until = after + timedelta(hours=hours, seconds=seconds)
    whole = find_due_times(schedule, after=after, until=until, limit=10_000)
    assert find_last_due_times(schedule, after=after, until=until, limit=10_000) == whole
    assert find_last_due_times(schedule, after=after, until=until, limit=3) == whole[-3:]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("@hourly", Missed(BEGUN + timedelta(hours=1), 99 * 24 - 1)),
        ("@daily", Missed(BEGUN + timedelta(days=1), 98)),
        ("0:15:00", Missed(BEGUN + timedelta(minutes=15), 99 * 24 * 4 - 1)),
        # What is to be looked for one by one is so only up to a bound, and says so.
        ("*/5 * * * *", Missed(BEGUN + timedelta(minutes=5), MAX_LOOKED_FOR, is_cut=True)),
        ("30 12 * * *", Missed(BEGUN + timedelta(hours=12, minutes=30), 99)),
        ("Asset", None),
    ],
)
def test_what_was_missed_is_counted_to_the_end_or_says_that_there_is_more(schedule: str, expected: Missed) -> None:
    assert count_missed(schedule, last_begun_at=BEGUN, now=BEGUN + timedelta(days=99)) == expected


@pytest.mark.parametrize("schedule", ["@hourly", "@daily", "0:07:00", "1 day, 0:00:00"])
@given(last_begun_at=moments, late=st.timedeltas(timedelta(), timedelta(days=150)))
def test_a_count_of_what_was_missed_is_how_many_there_are(
    schedule: str, last_begun_at: datetime, late: timedelta
) -> None:
    now = last_begun_at + late
    all_of_them = find_missed(schedule, last_begun_at=last_begun_at, now=now, limit=1_000_000)
    found = count_missed(schedule, last_begun_at=last_begun_at, now=now)
    assert (found.first_at, found.total) == (all_of_them[0], len(all_of_them)) if found else not all_of_them
