from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pytest
from click.testing import Result

from runvis_core.model.event import (
    ContextEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LogEvent,
    NoteEvent,
    StateEvent,
)
from runvis_core.model.state import State, Witness
from runvis_core.services.answers import DefinitionDetail, RunDetail, RunSummary
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make
from runvis_core.testing.story import CHILD, ETL, LOAD_1, LOAD_2, a_story

Run = Callable[..., Result]
Record = Callable[[Store, Iterable[EventBase]], None]


def lines(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_runs_are_listed_alike_from_a_store_and_a_server(runvis: Run, address: str) -> None:
    shown = runvis("runs", "list", url=address)
    assert shown.exit_code == 0
    for run_id in (ETL, LOAD_1, LOAD_2, CHILD):
        assert str(run_id)[:8] in shown.stdout
    assert "Succeeded corrected (was Failed up_for_retry)" in shown.stdout
    assert [item["run_id"] for item in lines(runvis("runs", "list", "-o", "jsonl", url=address))] == [
        str(run_id) for run_id in (CHILD, LOAD_2, LOAD_1, ETL)
    ]


def test_a_list_is_narrowed_and_paged(runvis: Run, address: str) -> None:
    narrowed = ["--engine", "airflow", "--definition", "etl.load", "--state", "running", "--state", "Succeeded"]
    narrowed += ["--since", "2026-11-24", "--until", "2026-11-25T00:00:00+02:00", "--limit", "1", "-o", "json"]
    first = json.loads(runvis("runs", "list", *narrowed, url=address).stdout)
    second = json.loads(runvis("runs", "list", *narrowed, "--cursor", first["next_cursor"], url=address).stdout)
    assert [page["items"][0]["run_id"] for page in (first, second)] == [str(LOAD_2), str(LOAD_1)]
    assert second["next_cursor"] is None
    RunSummary.model_validate(first["items"][0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--tag", "nightly"], [ETL]),
        (["--trigger", "run"], [CHILD]),
        (["--native-state", "up_for_retry"], [LOAD_1]),
        (["--conflicting"], [LOAD_1]),
        (["--unnamed"], []),
        (["--correlation", "f" * 32], [CHILD]),
        (["--silent"], []),
        (["--deployment", "elsewhere"], []),
    ],
)
def test_each_option_narrows(runvis: Run, told: str, options: list[str], expected: list[object]) -> None:
    items = lines(runvis("runs", "list", *options, "-o", "jsonl", url=told))
    assert [item["run_id"] for item in items] == [str(run_id) for run_id in expected]


def test_a_run_is_shown_with_all_that_is_known_about_it(runvis: Run, address: str) -> None:
    shown = runvis("runs", "show", str(LOAD_1)[:8], url=address).stdout
    for words in (
        "etl.load",
        "Transitions",
        "up_for_retry",
        "1 min 0 s",
        "ValueError",
        "in load",
        "Testimony",
        "Corrections",
    ):
        assert words in shown, words
    for words in ("After the end", "owner", "Attempts", "try 2", "2 ERROR", "two", "worker", "follower"):
        assert words in shown, words
    for output in ("json", "jsonl"):
        run = RunDetail.model_validate_json(runvis("runs", "show", str(LOAD_1), "-o", output, url=address).stdout)
        assert run.run_id == LOAD_1
        assert len(run.transitions) == 4


def test_a_runs_tree_is_drawn(runvis: Run, address: str) -> None:
    drawn = runvis("runs", "show", "etl/r1", "--tree", url=address).stdout.splitlines()
    assert drawn[0].startswith("etl ")
    assert drawn[1].startswith("├── etl.load ")
    assert drawn[2].startswith("└── etl.load try 2 ")
    assert "⇒ started child" in drawn[3]
    tree = json.loads(runvis("runs", "show", "etl/r1", "--tree", "-o", "json", url=address).stdout)
    assert [child["run_id"] for child in tree["children"]] == [str(LOAD_1), str(LOAD_2)]


def test_the_last_entries_are_shown(runvis: Run, address: str) -> None:
    shown = runvis("runs", "tail", "--no-follow", "--last", "2", url=address)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == [str(len(a_story()) - 1), str(len(a_story()))]
    assert "child Running" in shown.stdout
    items = lines(runvis("runs", "tail", "--no-follow", "-n", "3", "-o", "jsonl", url=address))
    assert [item["position"] for item in items] == [len(a_story()) - 2, len(a_story()) - 1, len(a_story())]


def test_definitions_are_listed_and_shown(runvis: Run, address: str) -> None:
    listed = runvis("definitions", "list", url=address).stdout
    assert "@daily" in listed
    assert [item["definition"] for item in lines(runvis("definitions", "list", "-o", "jsonl", url=address))] == [
        "child",
        "etl",
        "etl.load",
    ]
    shown = runvis("definitions", "show", "etl", url=address).stdout
    assert "PythonOperator" in shown
    assert str(ETL)[:8] in shown
    DefinitionDetail.model_validate_json(runvis("definitions", "show", "etl", "-o", "json", url=address).stdout)


def test_a_definition_says_which_deployment_the_server_alone_tells_of(
    runvis: Run, sqlite_store: Store, sqlite_url: str, record: Record
) -> None:
    named = {"definition": "flow", "definition_kind": "flow", "native_key": "k", "native_id": "k"}
    by = {"witness": Witness.FOLLOWER}
    context = {"engine_context": {"started_from": "flow/[nightly]"}}
    record(sqlite_store, [make(IdentityEvent, **by, **named), make(ContextEvent, **by, **context)])

    shown = " ".join(runvis("definitions", "show", "flow", url=sqlite_url).stdout.split())

    assert "1 started from flow/[nightly], told by follower (server only" in shown


def test_what_is_not_there_exits_with_3_and_names_what_is_near(runvis: Run, address: str) -> None:
    result = runvis("runs", "show", "etl/r2", url=address)
    assert result.exit_code == 3
    assert str(ETL) in result.stderr
    assert runvis("definitions", "show", "nope", url=address).exit_code == 3


def test_a_cursor_of_other_filters_is_a_usage_error(runvis: Run, address: str) -> None:
    page = json.loads(runvis("runs", "list", "--limit", "1", "-o", "json", url=address).stdout)
    result = runvis("runs", "list", "--engine", "airflow", "--cursor", page["next_cursor"], url=address)
    assert result.exit_code == 2
    assert "next_cursor" in result.stderr


@pytest.mark.parametrize("option", ["table", "json", "jsonl"])
def test_control_characters_of_the_data_reach_no_terminal(
    runvis: Run, sqlite_store: Store, sqlite_url: str, record: Record, option: str
) -> None:
    evil = "a\x1b]0;owned\x07b\x9b31mc\u202ed\x7f\re [bold]f[/bold]"
    record(
        sqlite_store,
        [
            make(
                IdentityEvent,
                definition=evil,
                definition_kind=evil,
                native_key=evil,
                native_id=evil,
                content={"actor": evil},
            ),
            make(FailureEvent, error_type=evil, content={"message": evil, "traceback": evil + "\nnext"}),
            make(LogEvent, counts={evil: 1}, url=evil, content={"tail": evil}),
            make(NoteEvent, content={"text": evil}),
            make(StateEvent, seconds=5, state=State.FAILED, native_state=evil),
        ],
    )
    run = str(a_run_id())
    for command in (
        ["runs", "list"],
        ["runs", "show", run],
        ["runs", "show", run, "--tree"],
        ["runs", "tail", "--no-follow"],
    ):
        result = runvis(*command, "-o", option, url=sqlite_url)
        assert result.exit_code == 0, result.output
        assert not [char for char in result.stdout if (ord(char) < 32 and char != "\n") or char in "\x7f\x9b\u202e"], (
            command
        )
        assert "[bold]f[/bold]" in result.stdout, "markup of the data is text"
    for command in (["definitions", "list"], ["definitions", "show", evil]):
        result = runvis(*command, "-o", option, url=sqlite_url)
        assert result.exit_code == 0, result.output
        assert not [char for char in result.stdout if (ord(char) < 32 and char != "\n") or char in "\x7f\x9b\u202e"], (
            command
        )
    result = runvis("runs", "show", evil + "x", url=sqlite_url)
    assert result.exit_code == 3
    assert "\x1b" not in result.stderr


def test_an_empty_store_lists_nothing(runvis: Run, sqlite_store: Store, sqlite_url: str) -> None:
    assert runvis("runs", "list", url=sqlite_url).exit_code == 0
    assert json.loads(runvis("runs", "list", "-o", "json", url=sqlite_url).stdout) == {"items": [], "next_cursor": None}
    assert runvis("runs", "list", "-o", "jsonl", url=sqlite_url).stdout == ""
    assert runvis("definitions", "list", url=sqlite_url).exit_code == 0
