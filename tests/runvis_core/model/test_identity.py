from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from runvis_core.model.identity import NAMESPACE, named_id, run_id, timestamp

parts = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.integers() | st.none(), max_size=4)


@given(parts, parts)
def test_two_names_share_an_id_only_when_they_are_the_same_parts(one: list[object], other: list[object]) -> None:
    assert (named_id(*one) == named_id(*other)) == (one == other)  # type: ignore[arg-type]


def test_an_id_is_a_version_5_uuid_that_anyone_can_derive() -> None:
    assert named_id("run", "airflow", 1, None) == uuid.uuid5(NAMESPACE, '["run","airflow",1,null]')


def test_two_deployments_with_the_same_key_have_different_runs() -> None:
    assert run_id("airflow", "one", ("dag_run", "d", "r")) != run_id("airflow", "two", ("dag_run", "d", "r"))


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_the_order_of_timestamps_as_text_is_the_order_of_time(one: datetime, other: datetime) -> None:
    assert (timestamp(one) < timestamp(other)) == (one < other)


def test_a_timestamp_is_in_utc_whatever_zone_it_came_in() -> None:
    moment = datetime(2026, 11, 24, 9, 30, tzinfo=timezone(timedelta(hours=1)))
    assert timestamp(moment) == "2026-11-24T08:30:00.000000Z"
