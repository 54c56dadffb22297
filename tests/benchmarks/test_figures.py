"""What a list of figures comes to."""

from __future__ import annotations

import pytest

from benchmarks.figures import median, p95, p99, pairwise_ratio, percentile


def test_a_percentile_lies_between_the_two_nearest_values() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert percentile([10.0, 20.0], 0.25) == 12.5


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (1.0, 5.0)])
def test_the_ends_are_the_least_and_the_greatest(share: float, expected: float) -> None:
    assert percentile([5.0, 1.0, 3.0], share) == expected


def test_high_percentiles_feel_the_slow_ones() -> None:
    figures = [1.0] * 99 + [100.0]
    assert median(figures) == p95(figures) == 1.0
    assert p99(figures) == pytest.approx(1.99)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_noise_that_hits_both_of_a_pair_does_not_move_the_ratio() -> None:
    # The medians by themselves would say 15 / 20.
    assert pairwise_ratio([10.0, 15.0, 400.0], [20.0, 30.0, 800.0]) == 0.5
    assert pairwise_ratio([1.0, 50.0, 3.0], [2.0, 2.0, 6.0]) == 0.5


def test_sides_with_different_numbers_of_rounds_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pairwise_ratio([1.0, 2.0], [1.0])
