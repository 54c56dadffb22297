"""When runs are due by a schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.services.schedules import find_due_times

moments = st.timedeltas(timedelta(), timedelta(days=365)).map(lambda since: datetime(2026, 1, 1, tzinfo=UTC) + since)
begun = moments | moments.map(lambda moment: moment.replace(minute=0, second=0, microsecond=0))


@pytest.mark.parametrize("expression", ["0 * * * *", "0 0 * * *"], ids=["hourly", "daily"])
@given(after=begun)
def test_what_is_due_each_hour_or_day_is_what_cron_says(expression: str, after: datetime) -> None:
    due = find_due_times(expression, after=after, until=after + timedelta(days=9), limit=5)
    assert due == list(islice(CronSim(expression, after), 5))
