"""What a search answers. Needs no store."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from runvis_core.services.answers import Answer, DatasetRef, RunRef
from runvis_core.services.filters import is_storable

MAX_QUERY: Final = 1000


def can_name(query: str) -> bool:
    """Return whether a query may name something: it is a text of some length that a store can hold."""
    return bool(query.strip()) and len(query) <= MAX_QUERY and is_storable(query)


class Match(StrEnum):
    """By what something was found; an earlier one is shown first."""

    ID = "id"
    """A run's own id, the engine's, an alias, or a correction's; or the beginning of it."""
    CORRELATION = "correlation"
    URL = "url"
    """What an address of an engine's page names."""
    DEFINITION = "definition"
    CODE = "code"
    """A commit or another version of code."""
    DATASET = "dataset"
    ERROR = "error"
    """The first line of a failure."""


class FoundDefinition(Answer):
    """A definition, named."""

    engine: str
    deployment: str
    definition: str
    kind: str
    code_version: str | None = None
    """Where it was found by its code: which version."""


class Hit(Answer):
    """One thing that was found: a run, a definition or a dataset."""

    match: Match
    run: RunRef | None = None
    definition: FoundDefinition | None = None
    dataset: DatasetRef | None = None
    error: str | None = None
    """Where it was found by its error: the type and the first line."""


class Found(Answer):
    """What a search found, the surest first."""

    query: str
    exact: RunRef | None = None
    """The one run that the query names in full."""
    items: list[Hit] = Field(default_factory=list[Hit])
