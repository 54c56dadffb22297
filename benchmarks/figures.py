"""What a list of figures comes to. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Summary = Callable[[Sequence[float]], float]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie, interpolated between the two nearest."""
    if not values:
        raise ValueError("no values to take a percentile of")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below, above = math.floor(place), math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return percentile(values, 0.5)


def p95(values: Sequence[float]) -> float:
    """Return the value that one in twenty exceeds."""
    return percentile(values, 0.95)


def p99(values: Sequence[float]) -> float:
    """Return the value that one in a hundred exceeds."""
    return percentile(values, 0.99)


def pairwise_ratio(ours: Sequence[float], beside: Sequence[float]) -> float:
    """Return the median of `ours[i] / beside[i]`: noise that hits both of a pair cancels."""
    return median([mine / theirs for mine, theirs in zip(ours, beside, strict=True)])
