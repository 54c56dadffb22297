from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.model.cause import KEY, Cause, read_labels, read_object, read_traceparent

RUN = UUID(int=7)
TRACE = "0af7651916cd43dd8448eb211c80319c"

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("cause", [Cause(RUN, TRACE), Cause(RUN)])
def test_a_cause_survives_both_ways_of_travelling(cause: Cause) -> None:
    assert read_object({"day": 1, KEY: cause.as_object()}) == cause
    assert read_labels({"prefect.flow.id": "x", **cause.as_labels()}) == cause


@given(junk)
def test_what_is_no_cause_is_none(value: object) -> None:
    assert read_object(value) is None
    assert read_object({KEY: value}) is None
    assert read_labels(value) is None
    assert read_labels({"runvis.caused_by": value}) is None


@pytest.mark.parametrize("trace", ["", "0" * 32, TRACE.upper(), TRACE[:-1], 5])
def test_a_correlation_id_that_is_none_is_left_out(trace: object) -> None:
    assert read_object({KEY: {"caused_by": str(RUN), "correlation_id": trace}}) == Cause(RUN)


def test_a_traceparent_has_its_trace_id() -> None:
    assert read_traceparent(f"00-{TRACE}-b7ad6b7169203331-01") == TRACE
    assert [read_traceparent(value) for value in (None, "", "00-1-2-3", f"00-{'0' * 32}-b7ad6b7169203331-01")] == [
        None
    ] * 4
