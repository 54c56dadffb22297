"""When runs are due by a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.services.schedules import find_due_times, find_last_due_times

moments = st.timedeltas(timedelta(), timedelta(days=365)).map(lambda since: datetime(2026, 1, 1, tzinfo=UTC) + since)
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
