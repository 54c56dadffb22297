"""Each command gives the same answer from a store and from a server over it: to a right question and to a wrong one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest
from click.testing import CliRunner
from typer.main import get_command

from runvis_core.cli.app import app
from runvis_core.model.decision import Scope
from runvis_core.model.event import EventBase
from runvis_core.services.decision_answers import TokenRequest
from runvis_core.services.tokens import issue_token
from runvis_core.store.database import Store
from runvis_core.testing.story import ETL, LOAD_1, LOAD_2, a_story

SPAN: Final = ("--since", "2026-11-01", "--until", "2026-12-01T00:00Z")
ODD: Final = ("", "\udcff", "x" * 1001)
"""Names that nothing has; a shell hands on what is no text as such a character."""
CASES: Final[dict[str, list[list[str]]]] = {
    "runs list": [
        [],
        ["--limit", "2"],
        ["--all"],
        ["--state", "failed", "--kind", "task", *SPAN],
        ["--parent", str(ETL), "--as-of", "2026-11-24T08:01Z"],
        ["--known-at", "9"],
        ["--known-at", "999999"],
        ["--cursor", "junk"],
        *([option, odd] for option in ("--engine", "--definition", "--parent", "--text", "--tag") for odd in ODD),
    ],
    "runs show": [
        [str(LOAD_1)],
        ["--tree", str(ETL)],
        ["--as-of", "2026-11-24T08:01Z", str(LOAD_1)],
        *([o] for o in ODD),
    ],
    "runs compare": [[str(LOAD_1), str(LOAD_2)], ["--last-success", str(ETL)], *([str(ETL), odd] for odd in ODD)],
    "runs tail": [["--no-follow"], ["--no-follow", "--last", "0"]],
    "definitions list": [[], ["--limit", "1"], ["--cursor", "junk"], *(["--engine", odd] for odd in ODD)],
    "definitions show": [["etl"], ["--engine", "", "etl"], *([odd] for odd in ODD)],
    "definitions trend": [[*SPAN, "etl"], ["--deployment", "", "etl"], *([odd] for odd in ODD)],
    "definitions grid": [["etl"], ["--engine", "\udcff", "etl"], ["--cursor", "junk", "etl"], *([odd] for odd in ODD)],
    "stats": [[*SPAN, "--by", "day", "--by", "kind"], *(["--definition", odd] for odd in ODD)],
    "health": [[]],
    "search": [["etl"], [str(ETL)[:8]], *([odd] for odd in ODD)],
    "corrections list": [[], ["--cursor", "junk"], *(["--definition", odd] for odd in ODD)],
    "lineage show": [["etl.load"], ["--up", "s3://lake/sales"], *([odd] for odd in ODD)],
    "lineage loops": [[], ["--known-at", "9"]],
    "completeness": [[*SPAN], [*SPAN, "--by", "definition"], *([*SPAN, "--engine", odd] for odd in ODD)],
    "audit list": [["--name", "export"], ["--before", "0"], ["--before", "9" * 20], *(["--name", odd] for odd in ODD)],
    "tokens list": [[]],
    "holds list": [[]],
    "notify status": [[]],
    "evidence": [["--from", "2026-11-01", "--output", "never", "--definition", odd] for odd in ODD],
    "prove": [[odd] for odd in ODD],
    "checkpoint": [[]],
    "erase": [*(["--reason", "a test", odd] for odd in ODD), ["--reason", "", str(ETL)]],
    "holds add": [*(["--reason", "a test", "--run", odd] for odd in ODD), ["--reason", "", "--engine", "airflow"]],
    "holds release": [["nothing"]],
    "tokens revoke": [["nothing"]],
    "tokens new": [["", "--scope", "read"]],
}
FORMATTED: Final = (
    "runs",
    "definitions",
    "stats",
    "health",
    "search",
    "corrections",
    "lineage",
    "completeness",
    "audit",
)
FORMATS: Final = [["-o", output] for output in ("table", "json", "jsonl", "csv")]
OF_THEIR_OWN: Final = {"doctor", "notify test", "spool drain"}
"""What looks at the far end itself, and what sends something."""
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    inner: dict[str, Any] | None = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command
    for name, one in (inner or {}).items():
        yield from commands(one, (*path, name))


def test_all_commands_that_ask_a_store_or_a_server_are_looked_at() -> None:
    asking = {
        path
        for path, command in commands(get_command(app))
        if any("store or server" in (getattr(option, "help", None) or "") for option in command.params)
    }
    assert asking == CASES.keys() | OF_THEIR_OWN


def test_a_store_and_a_server_answer_alike(
    sqlite_store: Store,
    sqlite_url: str,
    record: Callable[[Store, Iterable[EventBase]], None],
    serving: Callable[[str], AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(sqlite_store, a_story())
    # Made once: that takes longer than most commands.
    runvis, runner = get_command(app), CliRunner()
    request = TokenRequest(name="ann", scopes=frozenset({Scope.READ, Scope.ADMIN}))
    token = issue_token(sqlite_store, request, principal="test").token
    with serving(sqlite_url) as server:
        monkeypatch.setenv("RUNVIS_TOKEN", token)
        for command, cases in CASES.items():
            formats = FORMATS if command.startswith(FORMATTED) else [[]]
            for case, printed in [*((cases[0], one) for one in formats), *((case, []) for case in cases[1:])]:
                arguments = [*command.split(), *printed, *case]
                of_store, of_server = (
                    runner.invoke(runvis, [*arguments, "--url", url]) for url in (sqlite_url, server)
                )
                said = (arguments, of_store.output, of_server.output)
                for result in (of_store, of_server):
                    assert result.exception is None or isinstance(result.exception, SystemExit), said
                assert of_server.exit_code == of_store.exit_code, said
                # What is counted from now on has another now.
                assert MOMENT.sub("", of_server.stdout) == MOMENT.sub("", of_store.stdout), said
