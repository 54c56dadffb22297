"""What the pages name is there, and nothing names the place where it was written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)
CALL = re.compile(r"^(?:\$ )?make ([a-z]+)", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/.]+)`")
WORD = r"[a-z]+(?:-[a-z]+)*"
COMMAND = re.compile(rf"`(?:\$ )?runvis ({WORD}(?: {WORD})?)|^(?:\$ )?runvis ({WORD}(?: {WORD})?)", re.MULTILINE)
# Written in pieces, so that this file doesn't name them itself.
PLACES = re.compile(
    "|".join(
        [
            r"(?<![\w.-])/" + r"root/",
            r"(?<![\w.-])/" + r"home/(?!airflow\b|prefect\b|runvis\b|you\b)\w+",
            r"files\." + r"pythonhosted",
            r"\bpypi\." + r"org\b",
            r"(?:index|extra-index)-url\s*=",
            r"\b(?:artifactory|nexus)\.",
        ]
    )
)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
    return [PROJECT / name for name in listed.decode().split("\0") if name and (PROJECT / name).is_file()]


def places_in(text: str) -> list[str]:
    return PLACES.findall(text)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/tutorials/first-history.md"])
def test_every_make_command_is_a_target(page: str) -> None:
    targets = set(TARGET.findall((PROJECT / "Makefile").read_text()))
    called = set(CALL.findall((PROJECT / page).read_text()))
    assert called
    assert called <= targets


def test_the_readme_has_the_two_commands() -> None:
    assert set(CALL.findall((PROJECT / "README.md").read_text())) == {"demo", "test"}


def test_every_test_that_the_readme_names_is_there() -> None:
    named = TEST.findall((PROJECT / "README.md").read_text())
    assert named
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_every_command_that_a_page_names_is_one() -> None:
    known = set(re.findall(r"^### `runvis ([a-z -]+)`$", (PROJECT / "docs/reference/cli.md").read_text(), re.MULTILINE))
    groups = {name.split()[0] for name in known}
    unknown = [
        f"{page.relative_to(PROJECT)}: runvis {said}"
        for page in PAGES
        for found in COMMAND.findall(page.read_text())
        if (said := found[0] or found[1]).split()[0] not in groups | {"demo"}
        or (any(name.startswith(f"{said.split()[0]} ") for name in known) and " " in said and said not in known)
    ]
    assert unknown == []


def test_no_file_names_a_place_of_a_machine() -> None:
    found: dict[str, list[str]] = {}
    for path in tracked_files():
        try:
            places = places_in(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:  # An image has no words.
            continue
        if places:
            found[str(path.relative_to(PROJECT))] = places
    assert found == {}


def test_a_place_of_a_machine_is_seen() -> None:
    assert len(places_in("see /" + "root/notes and /" + "home/somebody, not ~/.local nor /var/spool")) == 2
