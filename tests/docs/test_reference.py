"""The reference pages say what the code says, and nothing in them is without a meaning."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GENERATOR: dict[str, Any] = runpy.run_path(str(DOCS / "generate.py"))
PAGES = GENERATOR["PAGES"]

AIRFLOW_STATES = (
    "none", "scheduled", "queued", "restarting", "running", "deferred", "up_for_reschedule", "up_for_retry", "success",
    "failed", "skipped", "upstream_failed", "removed",
)  # fmt: skip
PREFECT_STATES = (
    "SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "CANCELLED", "COMPLETED", "FAILED", "CRASHED",
    "AwaitingRetry", "TimedOut", "RolledBack",
)  # fmt: skip


def rows(page: str) -> list[list[str]]:
    """The cells of every row of every table of a page, but the headers."""
    lines = [line.replace("\\|", "¦") for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def without_meaning(found: list[list[str]]) -> list[str]:
    return [row[0] for row in found if not row[-1]]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    written = (DOCS / "reference" / name).read_text()
    assert written == PAGES[name](), "run: python docs/generate.py"


def test_every_reference_page_is_generated() -> None:
    written_by_hand = {"benchmarks.md", "operations.md", "web.md"}
    assert {path.name for path in (DOCS / "reference").glob("*.md")} - written_by_hand == set(PAGES)


@pytest.mark.parametrize("name", ["cli.md", "errors.md", "model.md", "native-states.md", "settings.md"])
def test_every_row_says_what_it_means(name: str) -> None:
    found = rows(PAGES[name]())
    assert found
    assert without_meaning(found) == []


def test_a_row_without_a_meaning_is_seen() -> None:
    assert without_meaning(rows("| `a` | `x \\| y` | |\n| `b` | `z` | is meant |")) == ["`a`"]


def test_every_command_and_hook_says_what_it_does() -> None:
    commands = list(GENERATOR["commands"](GENERATOR["cli"], "runvis"))
    hooks = GENERATOR["hook_specifications"]()
    assert {path for path, _ in commands} >= {"runvis serve", "runvis runs list", "runvis spool drain"}
    assert len(hooks) > 1
    assert [name for name, documented in [*commands, *hooks] if not documented.__doc__] == []


def test_every_endpoint_and_parameter_says_what_it_is_for() -> None:
    routes = list(GENERATOR["routes"](GENERATOR["openapi"]()))
    assert {path for path, _, _ in routes} >= {"/api/v1/events", "/api/v1/runs", "/health/ready"}
    silent = [f"{method} {path}" for path, method, operation in routes if not operation.get("description")]
    silent += [
        f"{method} {path} {parameter['name']}"
        for path, method, operation in routes
        for parameter in operation.get("parameters", [])
        if not parameter.get("description")
    ]
    assert silent == []


@pytest.mark.parametrize("state", [*AIRFLOW_STATES, *PREFECT_STATES])
def test_every_state_of_the_engines_is_documented(state: str) -> None:
    assert f"`{state}`" in PAGES["native-states.md"]()


def test_every_kind_of_event_is_documented() -> None:
    page = PAGES["model.md"]()
    assert [kind for kind in GENERATOR["EVENT_KINDS"] if f"### `{kind}`" not in page] == []
