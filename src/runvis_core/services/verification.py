"""`verify`: everything that can be recomputed is recomputed, and what does not agree is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from runvis_core.errors import RunVisError, SettingsError
from runvis_core.ledger.claims import Claims
from runvis_core.ledger.growth import GrowingTree
from runvis_core.ledger.notes import VerifierKey
from runvis_core.ledger.verification import LedgerCheck
from runvis_core.services.reading import reading
from runvis_core.services.steps import STEPS
from runvis_core.store.check import find_problems
from runvis_core.store.database import Store
from runvis_core.store.garbage import searched_rarely
from runvis_core.store.steps import CheckedStep, list_lags

MAX_PROBLEMS: Final = 1000
"""As many are told: who needs more has a store to restore."""

Progress = Callable[[str, int, int], None]
"""Called with what is looked at, how much of it is done, and of how much."""


class Verified(NamedTuple):
    """What came of it."""

    problems: list[str]
    """What is wrong, each with its place; nothing if all is as it should be."""
    notes: list[str]
    """What must be known to judge this, and is nothing wrong."""
    entries: int
    """How many entries were recomputed."""
    checkpoints: int
    """How many checkpoints they were held against."""


@searched_rarely()
def verify_store(
    store: Store,
    *,
    keys: Sequence[VerifierKey],
    held: Mapping[str, Sequence[str]] | None = None,
    span: tuple[int, int] | None = None,
    state: Path | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Recompute leaves, tree, checkpoints and projections, and compare. It writes nothing to the store.

    `keys` are those that whoever verifies trusts, `held` checkpoints that were kept elsewhere, by what to call them.
    `span` looks at these positions and the tree above them only. `state` is a file in which it is kept how far the
    entries were found in order, so that an interrupted verification goes on from there.
    """
    note = progress or _say_nothing
    problems: list[str] = []
    with reading(store) as connection:
        claims = Claims(connection, keys, held or {})
        after = _read_state(state, store) if span is None else None
        check = LedgerCheck(connection, claims.all, after=after)
        began = check.tree.size

        def put_down() -> None:
            if state is not None and check.is_clean:
                _write_state(state, store, check.tree)

        def progress_of(what: str) -> Callable[[int, int], None]:
            return lambda done, total: note(what, done, total)

        parts: Iterator[str] = (
            check.run(progress_of("entries"), on_block=put_down)
            if span is None
            else check.run_range(*span, progress_of("tiles"))
        )
        _take(problems, claims.problems)
        _take(problems, parts)
        if span is None:
            _take(problems, find_problems(connection, progress_of("projections")))
            lags = {lag.name: lag.entries for lag in list_lags(connection, STEPS)}
            for step in STEPS:
                if isinstance(step, CheckedStep):
                    _take(problems, _checked(step.name, step.check(connection)))
                    if lags[step.name]:
                        claims.notes.append(
                            f"{step.name}: is {lags[step.name]} entries behind, and checked up to there"
                        )
        total = check.head if span is None else max(0, min(span[1], check.head) - span[0] + 1)
    notes = [*claims.notes, *([f"the first {began} entries were verified before, as {state} says"] if began else [])]
    return Verified(problems, notes, total, len(claims.all) if span is None else 0)


def _checked(name: str, found: Iterator[str]) -> Iterator[str]:
    try:
        yield from found
    except RunVisError:
        raise
    except Exception as error:  # noqa: BLE001 - a step may stumble in any way over an entry that was bent: that is told
        yield f"{name}: what it wrote can't be checked, since it can't read the log: {type(error).__name__}: {error}"


def _say_nothing(_what: str, _done: int, _total: int) -> None:
    """Take note of nothing."""


def _take(problems: list[str], found: Iterable[str]) -> None:
    for problem in found:
        if len(problems) > MAX_PROBLEMS:
            return
        if len(problems) == MAX_PROBLEMS:
            problems.append(f"more than {MAX_PROBLEMS} problems: the rest is not told")
        # Two looks at one thing may say the same of it.
        elif problem not in problems:
            problems.append(problem)


def _read_state(file: Path | None, store: Store) -> GrowingTree | None:
    if file is None or not file.exists():
        return None
    try:
        said: dict[str, Any] = json.loads(file.read_bytes())
        if said["store"] != store.url:
            raise SettingsError(f"{file} says how far another store was verified, {said['store']}: name another file")
        return GrowingTree.load(said["tree"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{file} does not say how far a store was verified: remove it, or name another") from error


def _write_state(file: Path, store: Store, tree: GrowingTree) -> None:
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(json.dumps({"store": store.url, "tree": tree.dump()}))
    fresh.replace(file)
