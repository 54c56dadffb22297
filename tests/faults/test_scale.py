"""The table of what was promised and found says no more than was counted."""

from __future__ import annotations

from tests.faults.scale import PROMISES, Finding, as_table, sum_up


def rows(*findings: Finding) -> dict[str, dict[str, object]]:
    return {row["case"]: row for row in sum_up(findings)}


def test_a_promise_holds_by_what_was_counted_and_is_reached_by_how_often() -> None:
    few = Finding("tampering", {"edits": 6_000, "undetected": 0})
    assert rows()["tampering"] | {"holds": False, "reached": False, "counts": {}} == rows()["tampering"]
    assert (rows(few)["tampering"]["holds"], rows(few)["tampering"]["reached"]) == (True, False)
    assert rows(few, few)["tampering"]["reached"]
    assert rows(few, few)["tampering"]["counts"] == {"edits": 12_000, "undetected": 0}
    missed = Finding("tampering", {"edits": 10_000, "undetected": 1})
    assert (rows(missed)["tampering"]["holds"], rows(missed)["tampering"]["reached"]) == (False, False)


def test_of_a_peak_the_highest_is_told() -> None:
    bombs = [Finding("ingest", {"bombs": 1, "most_kib_grown": grown}) for grown in (100, 300, 200)]
    assert rows(*bombs)["ingest"]["counts"] == {"bombs": 3, "most_kib_grown": 300}


def test_the_table_has_each_promise_with_its_figure_and_the_counts() -> None:
    lines = list(as_table([Finding("ingest", {"requests": 25_000, "bombs": 6, "server_errors": 0})]))
    assert len(lines) == 3 * len(PROMISES)
    (place,) = (place for place, line in enumerate(lines) if line.startswith("holds "))
    assert "0 server errors in 20,000 requests" in lines[place]
    assert lines[place + 1].strip() == "requests 25,000, bombs 6, server errors 0"
