from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from runvis_prefect.values import MAX_ITEMS, json_object


class Colour(Enum):
    RED = "red"


class Order(BaseModel):
    number: int


@dataclass
class Point:
    x: int


class Hostile:
    def __repr__(self) -> str:
        raise AssertionError("a value's own repr is never run")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2**80, str(2**80)),
        (float("nan"), "nan"),
        ("text", "text"),
        (Colour.RED, "red"),
        (datetime(2026, 11, 24, tzinfo=UTC), "2026-11-24T00:00:00+00:00"),
        (Path("/data"), "/data"),
        (Order(number=7), {"number": 7}),
        (Point(x=1), {"x": 1}),
        ({1: (2, 3)}, {"1": [2, 3]}),
    ],
)
def test_a_value_is_shown_as_json(value: Any, shown: Any) -> None:
    assert json_object({"it": value})["it"] == shown


def test_what_json_has_no_form_for_is_named_by_its_type() -> None:
    assert json_object({"it": Hostile()})["it"].endswith(".Hostile>")  # pyright: ignore


def test_a_long_list_is_cut_and_says_so() -> None:
    assert json_object({"it": list(range(MAX_ITEMS + 5))})["it"][-1] == "… 5 more"  # pyright: ignore


def test_a_large_mapping_is_cut_and_says_so() -> None:
    assert json_object({str(number): number for number in range(MAX_ITEMS + 1)})["…"] == "1 more"


def test_a_value_that_holds_itself_ends() -> None:
    loop: list[Any] = []
    loop.extend([loop] * MAX_ITEMS)
    assert len(json.dumps(json_object({"it": loop}))) < 5_000_000
