"""Write the reference pages that the code itself can tell: `python docs/generate.py`. A test holds them up to date.

Each page is a function that returns its text, and has its place in `PAGES`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from runvis_core.model import event as event_module
from runvis_core.model.event import EVENT_KINDS, EventBase, RunEvent

REFERENCE: Final = Path(__file__).parent / "reference"
NOTE: Final = "<!-- Written by docs/generate.py from the code. -->\n"


def model_page() -> str:
    """Return the reference of the canonical model: the kinds of events, their facts and their fields."""
    parts = [
        NOTE,
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
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _table_of(docstring: str) -> str:
    return "\n".join(line for line in docstring.splitlines() if line.startswith("|"))


def _fields(model: type[BaseModel], *, own: set[str]) -> str:
    declared = _declared(model)
    rows = ["| field | type | needed | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in own:
            annotation, remark = declared[name]
            needed = "yes" if field.is_required() else ""
            rows.append(f"| `{name}` | `{annotation}` | {needed} | {remark} |".replace("  ", " "))
    return "\n".join(rows)


def _declared(model: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """Return each field's type and the string that stands under it, from the class and those that it is made from."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(model.__mro__):
        if not (issubclass(base, BaseModel) and base is not BaseModel):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for field, remark in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = remark.value.value if _is_string(remark) else ""
                found[field.target.id] = (ast.unparse(field.annotation).replace("|", "\\|"), " ".join(text.split()))
    return found


def _is_string(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


PAGES: Final[dict[str, Callable[[], str]]] = {"model.md": model_page}


def write_pages() -> None:
    """Write every page anew."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())


if __name__ == "__main__":
    write_pages()
