"""Quantile sketches as a table keeps them: the bins of a DDSketch and nothing else, so that they add up and subtract.

A bin is named by the key that the library's mapping gives a value; a quantile is within 1% of the true one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson
from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore

ACCURACY: Final = 0.01
"""How far a quantile may be from the true one, in parts of it."""
_MAPPING: Final = LogarithmicMapping(ACCURACY)
_ZERO: Final = -(2**31)
"""The key of the bin of what is no longer than nothing."""

Sketch = dict[int, int]
"""How many values there are in each bin; a bin without any is left out."""


def find_bin(micros: int) -> int:
    """Return the key of the bin that a number of microseconds lies in. A negative one lies in that of zero."""
    return _MAPPING.key(float(micros)) if micros > 0 else _ZERO


def add_to(sketch: Sketch, bins: Mapping[int, int], *, times: int = 1) -> None:
    """Add the values of other bins to a sketch, or with `times=-1` take them out again."""
    for key, count in bins.items():
        left = sketch.get(key, 0) + count * times
        if left:
            sketch[key] = left
        else:
            sketch.pop(key, None)


def write_sketch(sketch: Sketch) -> str:
    """Return a sketch as a column holds it: `[[key, count], …]` in the order of keys, so that equal ones look equal."""
    return orjson.dumps(sorted(sketch.items())).decode()


def read_sketch(text: str) -> Sketch:
    """Return the sketch that a column holds."""
    return {int(key): int(count) for key, count in orjson.loads(text)}


class Quantiles:
    """The quantiles of a sketch, in seconds."""

    def __init__(self, sketch: Sketch) -> None:
        store, negative = DenseStore(), DenseStore()
        for key, count in sorted(sketch.items()):
            if key != _ZERO:
                store.add(key, count)
        zeros = sketch.get(_ZERO, 0)
        self.count = sum(sketch.values())
        self._sketch = BaseDDSketch(_MAPPING, store, negative, float(zeros))

    def at(self, quantile: float) -> float | None:
        """Return the value below which this part of all values lies; None if there are no values."""
        value = self._sketch.get_quantile_value(quantile)
        return None if value is None else value / 1e6
