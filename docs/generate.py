"""Write the reference pages that the code itself can tell: `python docs/generate.py`. A test holds them up to date.

Each page is a function that returns its text, and has its place in `PAGES`. `docs/` needs no engine: of the adapters
only what imports none is read.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from typer.models import ArgumentInfo, OptionInfo

from runvis_airflow import states as airflow_states
from runvis_core import errors, hookspecs, settings
from runvis_core.api import app as api
from runvis_core.cli.app import app as cli
from runvis_core.cli.exits import Exit
from runvis_core.model import event as event_module
from runvis_core.model import run as run_module
from runvis_core.model.event import EVENT_KINDS, EventBase, RunEvent
from runvis_core.services import answers
from runvis_prefect import states as prefect_states

REFERENCE: Final = Path(__file__).parent / "reference"
NOTE: Final = "<!-- Written by docs/generate.py from the code. -->\n"

Row = tuple[str, ...]


# --- the model --------------------------------------------------------------------------------------------------------


def model_page() -> str:
    """Return the reference of the canonical model: the kinds of events, their facts and their fields."""
    parts = [
        "# The model",
        "What states, events and ids mean is explained in [the rules of the record](../explanation/record-rules.md);\n"
        "the words are in [the glossary](../glossary.md).",
        "## What makes two reports the same fact",
        _table_of(event_module.__doc__ or ""),
        "## What every event says",
        _fields(EventBase, own=set(EventBase.model_fields)),
        "## Kinds",
    ]
    for kind, model in sorted(EVENT_KINDS.items()):
        parts += [f"### `{kind}`", inspect.cleandoc(model.__doc__ or "")]
        own = set(model.model_fields) - (set(EventBase.model_fields) if model is not RunEvent else set())
        if own:
            parts.append(_fields(model, own=own))
    return _page(parts)


def _table_of(docstring: str) -> str:
    return "\n".join(line for line in docstring.splitlines() if line.startswith("|"))


def _fields(model: type[BaseModel], *, own: set[str]) -> str:
    declared = _declared(model)
    rows: list[Row] = []
    for name, field in model.model_fields.items():
        if name in own:
            annotation, remark = declared[name]
            rows.append((f"`{name}`", f"`{annotation}`", "yes" if field.is_required() else "", remark))
    return _table(("field", "type", "needed", "meaning"), rows)


# --- settings ---------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Return the reference of the settings: variable, type, default, meaning."""
    with _no_machine():
        rows = list(_settings(settings.Settings, ()))
        store = _public(settings.default_store_url())
    return _page(
        [
            "# Settings",
            inspect.cleandoc(settings.__doc__ or ""),
            _table(("variable", "in `runvis.toml`", "type", "default", "meaning"), rows),
            f"A command or server that is given no address uses `{store}`.",
        ]
    )


def _settings(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Row]:
    declared = _declared(model)
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, (*path, name))
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        yield (
            f"`{settings.variable_name(*path, name)}`",
            f"`{'.'.join((*path, name))}`",
            f"`{declared[name][0]}`",
            f"`{_public(default)}`" if default not in (None, (), {}) else "",
            field.description or "",
        )


@contextmanager
def _no_machine() -> Iterator[None]:
    """Leave out of the environment what would move the user's folders."""
    moved = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("XDG_")}
    try:
        yield
    finally:
        os.environ.update(moved)


def _public(value: object) -> str:
    return str(value).replace(str(Path.home()), "~")


# --- the command line -------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Return the reference of the command line: every command with its arguments and options, and the exit codes."""
    parts = [
        "# The command line",
        _text(cli.registered_callback.callback.__doc__ if cli.registered_callback else None).partition("\n\n")[0],
        "Every command says with `--help` what is said here; `runvis --version` says the version.",
        "## Exit codes",
        _table(("code", "meaning"), exit_codes()),
        "## Commands",
    ]
    for path, callback in commands(cli, "runvis"):
        described, examples, example = inspect.cleandoc(callback.__doc__ or "").partition("Examples:")
        parts += [f"### `{path}`", described]
        if examples:
            lines = [line.strip() for line in example.splitlines() if line.strip()]
            parts.append("```console\n" + "\n".join(lines) + "\n```")
        rows = parameters(callback)
        if rows:
            parts.append(_table(("argument or option", "value", "default", "meaning"), rows))
    return _page(parts)


def exit_codes() -> list[Row]:
    """Return the exit codes, each with the string that stands under it, else with its name."""
    body = _body_of(Exit)
    rows: list[Row] = []
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            rows.append((f"`{Exit[name].value}`", _remark(following) or f"{name.replace('_', ' ').capitalize()}."))
    return rows


def commands(group: typer.Typer, path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Return every command that isn't hidden, by how it is called."""
    for command in group.registered_commands:
        if command.callback is not None and not command.hidden:
            yield f"{path} {command.name or command.callback.__name__.replace('_', '-')}", command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None and inner.hidden is not True:
            name = inner.name if isinstance(inner.name, str) else inner.typer_instance.info.name
            yield from commands(inner.typer_instance, f"{path} {name}")


def parameters(callback: Callable[..., Any]) -> list[Row]:
    """Return a command's arguments and options: name, value, default, meaning."""
    hints = get_type_hints(callback, include_extras=True)
    rows: list[Row] = []
    for name, parameter in inspect.signature(callback).parameters.items():
        kind, *extras = get_args(hints[name]) if hasattr(hints[name], "__metadata__") else (hints[name],)
        info = next((extra for extra in extras if isinstance(extra, OptionInfo | ArgumentInfo)), None)
        if info is not None and not info.hidden:
            rows.append(_parameter(name, kind, info, parameter.default))
    return rows


def _parameter(name: str, kind: Any, info: OptionInfo | ArgumentInfo, default: Any) -> Row:
    if isinstance(info, ArgumentInfo):
        names = [info.metavar or name.upper()]
    else:
        # In an annotation, typer takes the first name that is given for the default.
        given = [said for said in (info.default, *(info.param_decls or ())) if isinstance(said, str)]
        option = f"--{name.replace('_', '-')}"
        names = given or [option, f"--no-{option[2:]}"][: 2 if kind is bool else 1]
    is_needed = default in (inspect.Parameter.empty, ...)
    shown = info.show_default if isinstance(info.show_default, str) else ""
    if not shown and not is_needed and default not in (None, False, [], ()):
        shown = f"`{'yes' if default is True else _public(getattr(default, 'value', default))}`"
    return (
        ", ".join(f"`{said}`" for said in names),
        "" if kind is bool else _value(kind, info.metavar if isinstance(info, OptionInfo) else None),
        "needed" if is_needed else shown,
        " ".join((info.help or "").split()),
    )


def _value(kind: Any, metavar: str | None) -> str:
    inner = [one for one in get_args(kind) if one is not NoneType]
    if inner and get_origin(kind) in (list, tuple):
        return f"{_value(inner[0], metavar)}, repeatable"
    if inner:
        return _value(inner[0], metavar)
    if metavar:
        return metavar
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " | ".join(f"`{member.value}`" for member in kind)
    return {"str": "text", "int": "number", "Path": "path"}.get(kind.__name__, kind.__name__)


# --- hooks ------------------------------------------------------------------------------------------------------------


def hooks_page() -> str:
    """Return the reference of the plugin hooks, from their specifications."""
    parts = ["# Hooks", inspect.cleandoc(hookspecs.__doc__ or "")]
    for name, specification in hook_specifications():
        options: Mapping[str, Any] = getattr(specification, "runvis_spec")  # noqa: B009
        parts += [f"## `{name}`", f"```python\n{_signature(specification)}\n```"]
        if options["firstresult"]:
            parts.append("The first answer that is not None counts.")
        parts.append(inspect.cleandoc(specification.__doc__ or ""))
    return _page(parts)


def hook_specifications() -> list[tuple[str, Callable[..., Any]]]:
    """Return the hooks by name, as pluggy sees them."""
    return [(name, item) for name, item in vars(hookspecs).items() if hasattr(item, "runvis_spec")]


def _signature(function: Callable[..., Any]) -> str:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {node.name}({ast.unparse(node.args)}){returns}"


# --- REST -------------------------------------------------------------------------------------------------------------


def rest_page() -> str:
    """Return the reference of the HTTP API: routes with parameters and answers, problems, and the answers' fields."""
    schema = openapi()
    parts = ["# REST", inspect.cleandoc(REST_WORDS)]
    for path, method, operation in routes(schema):
        parts += [f"## {method} {path}", _text(operation.get("description"))]
        rows = [_rest_parameter(parameter) for parameter in operation.get("parameters", [])]
        if rows:
            parts.append(_table(("parameter", "in", "type", "default", "meaning"), rows))
        if answer := _rest_answer(operation):
            parts.append(f"Answers 200 with {answer}.")
    parts += ["## Problems", inspect.cleandoc(PROBLEM_WORDS), _table(("status", "`type`", "when"), problems())]
    parts.append("## What an answer holds")
    names = {re.split(r"[\[_]", name)[0] for name in schema["components"]["schemas"]}
    models = {model.__name__: model for model in _answers()}
    for name in sorted(names & models.keys()):
        parts += [f"### {name}", inspect.cleandoc(models[name].__doc__ or ""), _answer_fields(models[name])]
    return _page(parts)


def _answers(base: type[BaseModel] = answers.Answer) -> Iterator[type[BaseModel]]:
    """Return the models of all answers, wherever a service keeps its own."""
    for model in base.__subclasses__():
        yield model
        yield from _answers(model)


REST_WORDS: Final = """
    `runvis serve` answers these paths; the OpenAPI document is at `/api/v1/openapi.json`. With tokens set, every
    request but the health checks needs `Authorization: Bearer …`. A list is `{"items": […], "next_cursor": …}`: give
    `next_cursor` back as `cursor`, with the same filters, for the next page. No list says how long it is. Times are
    RFC 3339 with their zone, durations are seconds.

    A name in a path is encoded, a slash in it as `%2F`. One with slashes that nobody encoded is found too, unless a
    longer path of those below is meant by it. HEAD is served wherever GET is. A parameter that a path does not have,
    and a second value for one that has one value, are refused.
"""
PROBLEM_WORDS: Final = """
    An error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, and what helps to put it
    right (`parameter`, `allowed`, `errors`, `outcomes`).
"""


def routes(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Return every path with each of its methods and what the document says of them."""
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            yield path, method.upper(), operation


@cache
def openapi() -> dict[str, Any]:
    """Return the server's OpenAPI document. Its routes are the same over any store, so none is opened."""
    return api.create_app(cast(Any, None), settings.Settings.model_construct()).openapi()


def _rest_parameter(parameter: Mapping[str, Any]) -> Row:
    schema = parameter["schema"]
    default = schema.get("default")
    return (
        f"`{parameter['name']}`",
        parameter["in"],
        _schema_type(schema),
        f"`{default}`" if default not in (None, [], False) else ("needed" if parameter.get("required") else ""),
        parameter.get("description", ""),
    )


def _schema_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _schema_type(openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return ", ".join(_schema_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return " | ".join(f"`{word}`" for word in schema["enum"])
    if schema.get("type") == "array":
        return f"{_schema_type(schema['items'])}, repeatable"
    bounds = [f"{sign} {schema[key]}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    return " ".join([schema.get("format") or schema.get("type", "any"), *bounds])


def _rest_answer(operation: Mapping[str, Any]) -> str:
    content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    is_list = schema.get("type") == "array"
    reference = (schema.get("items", {}) if is_list else schema).get("$ref", "")
    name = re.sub(r"_(\w+)_$", r" of \1", reference.rpartition("/")[2])
    links = " of ".join(f"[{word}](#{word.lower()})" for word in name.split(" of ") if word)
    return f"a list of {links}" if is_list and links else links


def problems() -> list[Row]:
    """Return every problem that the server's code makes: status, type, and its words."""
    from runvis_core.services.problems import PREFIX, STATUSES

    found: dict[tuple[str, str], str] = {}
    for error, (kind, status) in STATUSES.items():
        found[str(status), f"`{PREFIX}{kind}`"] = inspect.cleandoc(error.__doc__ or "")
    for module in sorted(Path(inspect.getfile(api)).parent.glob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                for status, kind, words in _problem_of(node, PREFIX):
                    found.setdefault((status, kind), words)
    return [(*key, words) for key, words in sorted(found.items())]


def _problem_of(call: ast.Call, prefix: str) -> Iterator[Row]:
    assert isinstance(call.func, ast.Name)
    if call.func.id not in {"ProblemError", "problem"} or len(call.args) < 3:
        return
    status, kind, detail = call.args[:3]
    if isinstance(status, ast.Constant) and isinstance(kind, ast.Constant):
        yield str(status.value), f"`{prefix}{kind.value}`", _words(detail)


def _words(node: ast.expr) -> str:
    """Return what a literal says, with … for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return "See `detail`."


def _answer_fields(model: type[BaseModel]) -> str:
    declared = _declared(model)
    common = _common_meanings()
    rows = [(f"`{name}`", f"`{declared[name][0]}`", declared[name][1] or common.get(name, "")) for name in declared]
    return _table(("field", "type", "meaning"), rows)


@cache
def _common_meanings() -> dict[str, str]:
    """Return what fields of these names mean in the model; an answer says it again only where it means more."""
    meanings: dict[str, str] = {}
    for model in (*EVENT_KINDS.values(), event_module.Trigger, run_module.Run, answers.RunSummary, answers.RunRef):
        for name, (_, remark) in _declared(model).items():
            if remark:
                meanings.setdefault(name, remark)
    return meanings


# --- native states ----------------------------------------------------------------------------------------------------


def native_states_page() -> str:
    """Return what each engine's own words for states mean, from the adapters' tables."""
    airflow = inspect.cleandoc(airflow_states.__doc__ or "")
    by_name = [
        (f"`{kind}` named `{name}`", f"`{state}`") for (kind, name), state in prefect_states.STATE_OF_NAME.items()
    ]
    by_type = [(f"`{kind}`", f"`{state}`") for kind, state in prefect_states.STATE_OF_TYPE.items()]
    return _page(
        [
            "# Native states",
            "An engine's own word for a state is kept beside ours as `native_state`. What its adapter makes of it:",
            "## Airflow",
            _outside_tables(airflow),
            _table_of(airflow),
            "By Airflow's word for a task's state:",
            _table(("native state", "state"), _word_rows(airflow_states.TASK_STATES)),
            "By Airflow's word for a DAG run's state:",
            _table(("native state", "state"), _word_rows(airflow_states.DAG_RUN_STATES)),
            "## Prefect",
            "A state of Prefect has a type and a name. Users may give names of their own, so the type decides, but\n"
            "for these names. The native state is the name.",
            _table(("type and name", "state"), by_name),
            _table(("type", "state"), by_type),
        ]
    )


def _word_rows(words: Mapping[str, Any]) -> list[Row]:
    return [(f"`{word}`", f"`{state}`") for word, state in words.items()]


def _outside_tables(docstring: str) -> str:
    lines = [line for line in docstring.splitlines() if not line.startswith("|")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


# --- errors -----------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    """Return the tree of errors, and what each means."""
    found = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.RunVisError)]
    rows = [(f"`{error.__name__}`", " ".join(inspect.cleandoc(error.__doc__ or "").split())) for error in found]
    return _page(
        [
            "# Errors",
            inspect.cleandoc(errors.__doc__ or ""),
            _table(("error", "meaning"), rows),
            "What a command ends with is in [the command line](cli.md#exit-codes), what the server answers in\n"
            "[REST](rest.md#problems).",
        ]
    )


# --- what pages are made of -------------------------------------------------------------------------------------------


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in (NOTE, *parts) if part) + "\n"


def _table(header: Row, rows: Iterable[Row]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(re.sub(" +", " ", f"| {' | '.join(_cell(cell) for cell in line)} |") for line in lines).replace(
        "| --- ", "|---"
    )


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def _text(text: Any) -> str:
    return inspect.cleandoc(text) if isinstance(text, str) else ""


def _declared(model: type) -> dict[str, tuple[str, str]]:
    """Return each field's type and the string that stands under it, from the class and those that it is made from."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(model.__mro__):
        if base.__module__.split(".")[0] != "runvis_core":
            continue
        body = _body_of(base)
        for field, following in zip(body, [*body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found[field.target.id] = (ast.unparse(field.annotation), _remark(following))
    return found


@cache
def _body_of(kind: type) -> list[ast.stmt]:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    return node.body


def _remark(following: ast.stmt | None) -> str:
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return " ".join(str(following.value.value).split())
    return ""


PAGES: Final[dict[str, Callable[[], str]]] = {
    "cli.md": cli_page,
    "errors.md": errors_page,
    "hooks.md": hooks_page,
    "model.md": model_page,
    "native-states.md": native_states_page,
    "rest.md": rest_page,
    "settings.md": settings_page,
}


def write_pages() -> None:
    """Write every page anew."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())


if __name__ == "__main__":
    write_pages()
