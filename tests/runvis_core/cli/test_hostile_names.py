"""A store and a server over it answer alike, whatever things are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from click.testing import Result

from runvis_core.model.event import DefinitionEvent, EventBase
from runvis_core.store.database import Store
from runvis_core.testing.factories import make
from runvis_core.testing.runs import a_run

NAMES = [
    *(".", "..", "%2F", "a//b", "../../etc/passwd", "a?b#c", "a b", "+"),
    *("events", "x/events", "x/tree", "x/compare", "x/compare/y", "x/grid"),
    *('a\nb,c"d', "a\x1b[31mred", "\u202eevil\u202c", "<script>", "\U0001f600" * 250),
]


def test_a_store_and_its_server_answer_alike_about_any_name(
    store: Store,
    record: Callable[[Store, Iterable[EventBase]], None],
    runvis: Callable[..., Result],
    serving: Callable[[str], AbstractContextManager[str]],
) -> None:
    for place, name in enumerate(NAMES):
        said = {"definition": name, "definition_kind": "dag", "version": "v1", "content": {"structure": {"tasks": []}}}
        run = a_run(f"run {place}", begins=place, definition=name)
        run[0] = run[0].model_copy(update={"native_id": name})
        record(store, [make(DefinitionEvent, **said), *run])
    url = store.engine.url.render_as_string(hide_password=False)
    commands: list[list[str]] = [["runs", "list"], ["definitions", "list"], ["runs", "tail", "--no-follow"]]
    for name in NAMES:
        commands += [
            ["runs", "show", name],
            ["runs", "show", "--tree", name],
            ["runs", "compare", name, NAMES[0]],
            ["runs", "compare", "a b", name],
            ["runs", "compare", "--last-success", name],
            ["runs", "list", "--definition", name],
            ["definitions", "show", name],
            ["definitions", "trend", name],
            ["definitions", "grid", name],
            ["lineage", "show", name],
            ["search", name],
        ]
    with serving(url) as server:
        for command in commands:
            printed = ["-o", "jsonl" if "tail" in command else "json"]
            of_store, of_server = (runvis(*_options(command, printed), url=one) for one in (url, server))
            assert of_server.exit_code == of_store.exit_code, (command, of_server.stderr[-500:])
            assert of_server.stdout == of_store.stdout, command
            assert of_server.stderr == of_store.stderr, command
            if command[:2] in (["runs", "show"], ["definitions", "show"]):
                assert of_store.exit_code == 0, (command, of_store.output)


def _options(command: list[str], printed: list[str]) -> list[str]:
    """Return the command with its format; what follows is a name, whatever it begins with."""
    words = 2 if command[0] != "search" else 1
    given = [one for one in command[words:] if one.startswith("--") and len(one) > 2]
    rest = [one for one in command[words:] if one not in given]
    return [*command[:words], *given, *printed, *rest]
