"""`python -m benchmarks [CASES…]`: measure, print a table and JSON lines, end with 1 when a goal does not hold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.harness import Result, report

CASES = {
    "record": "record",
    "import": "imports",
    "ingest": "ingest",
    "past": "past",
    "task": "task",
    "flow": "flow",
    "follow": "follow",
    "lineage": "lineage",
    "ledger": "ledger",
    "pages": "pages",
    "bars": "bars",
    "reads": "reads",
    "streams": "streams",
    "export": "export",
}
"""Each case and its module, which has a `measure()` that yields results; in the order in which they run."""


def main(arguments: Sequence[str]) -> int:
    """Run the named cases, or all, and return the exit status: 2 for a case that there is not."""
    unknown = sorted({name.partition(".")[0] for name in arguments} - set(CASES))
    messages = Console(stderr=True)
    if unknown:
        messages.print(f"No case {', '.join(unknown)}. There are: {', '.join(CASES)}.", markup=False)
        return 2
    return report(_results(arguments or list(CASES), messages), lines=Console(width=10_000), table=messages)


def _results(names: Sequence[str], messages: Console) -> Iterator[Result]:
    for name in names:
        case, _, part = name.partition(".")
        messages.print(f"[dim]measuring {name} …[/]")
        measure: Callable[[str], Iterator[Result]] = import_module(f"benchmarks.{CASES[case]}").measure
        yield from measure(part)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent.parent)]
    sys.exit(main(sys.argv[1:]))
