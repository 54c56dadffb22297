"""Examples of answers in the OpenAPI document: what the server really said of a small history (`docs/examples.py`)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson

FILE: Final = "examples.json"
"""By path: the query that was asked, and the answer."""


@cache
def read_examples() -> dict[str, dict[str, Any]]:
    """Return the examples by the path of their route."""
    return orjson.loads((files("runvis_core.api") / FILE).read_bytes())


def add_examples(document: dict[str, Any]) -> None:
    """Put each example beside the answer of its route."""
    for path, example in read_examples().items():
        answer = document["paths"].get(path, {}).get("get", {}).get("responses", {}).get("200", {})
        content = answer.get("content", {}).get("application/json")
        if content is not None:
            content["examples"] = {"story": {"summary": f"GET {example['asked']}", "value": example["answer"]}}
