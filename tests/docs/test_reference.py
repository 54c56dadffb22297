"""The reference pages say what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = runpy.run_path(str(DOCS / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    written = (DOCS / "reference" / name).read_text()
    assert written == PAGES[name](), "run: python docs/generate.py"


def test_every_field_of_the_model_says_what_it_means() -> None:
    rows = [line for line in PAGES["model.md"]().splitlines() if line.startswith("| `")]
    assert "| `kind` | `str` | yes | Which kind of fact it is. |" in rows
    assert [row for row in rows if row.endswith("| |")] == []
