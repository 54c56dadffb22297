"""The examples in the OpenAPI document are answers that the routes' models read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from runvis_core.api.app import create_app
from runvis_core.api.examples import read_examples
from runvis_core.services.answers import Answer
from runvis_core.settings import Settings

APP = create_app(cast(Any, None), Settings.model_construct())
EXAMPLES = read_examples()


def _answer(path: str) -> dict[str, Any]:
    return APP.openapi()["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]


def _models(base: type[Answer] = Answer) -> Iterator[type[Answer]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


MODELS = {re.sub(r"\W", "_", model.__name__): model for model in _models()}


@pytest.mark.parametrize("path", sorted(EXAMPLES))
def test_an_example_is_an_answer_of_its_route(path: str) -> None:
    answer = _answer(path)
    story = answer["examples"]["story"]
    assert (story["value"], story["summary"]) == (EXAMPLES[path]["answer"], f"GET {EXAMPLES[path]['asked']}")
    read = MODELS[answer["schema"]["$ref"].rpartition("/")[2]].model_validate(story["value"])
    assert set(story["value"]) <= set(read.model_dump(mode="json")), "run: python docs/examples.py"


def test_the_answers_of_runs_definitions_and_statistics_have_examples() -> None:
    assert set(EXAMPLES) >= {
        "/api/v1/runs",
        "/api/v1/runs/{name}",
        "/api/v1/runs/{name}/compare",
        "/api/v1/runs/{name}/compare/{other}",
        "/api/v1/runs/{name}/tree",
        "/api/v1/definitions/{name}/grid",
        "/api/v1/definitions/{name}/trend",
        "/api/v1/health",
        "/api/v1/search",
        "/api/v1/stats",
    }


def test_no_list_is_shown_empty_but_those_that_the_story_has_nothing_for() -> None:
    empty = {path for path, example in EXAMPLES.items() if example["answer"].get("items") == []}
    assert empty == {"/api/v1/checkpoints", "/api/v1/notices", "/api/v1/loops/{node_id}/turns"}
