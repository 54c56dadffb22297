"""Where settings come from: arguments, then variables `RUNVIS_…` and `RUNVIS__SECTION__KEY`, then `runvis.toml`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_PREFIX: Final = "RUNVIS_"
_BETWEEN: Final = "__"

Tree = dict[str, Any]
"""Settings as they were given: keys, and sections as trees of their own."""


def find_toml() -> Path | None:
    """Return the `runvis.toml` that counts: the working directory's, else the user's."""
    candidates = (Path("runvis.toml"), user_folder("CONFIG", ".config") / "runvis.toml")
    return next((path for path in candidates if path.is_file()), None)


def user_folder(kind: str, default: str) -> Path:
    """Return RunVis's folder among a user's: of `kind` in the environment (XDG), else `default` below their home."""
    given = os.environ.get(f"XDG_{kind}_HOME")
    if given:
        return Path(given) / "runvis"
    try:
        return Path.home() / default / "runvis"
    except RuntimeError:  # A container's user without a home.
        return Path(tempfile.gettempdir()) / f"runvis-{os.getuid()}"


def read_sources(model: type[BaseModel], overrides: Mapping[str, Any]) -> Tree:
    """Return what was said of a model's fields, the strongest word for each: `overrides`, variables, the file.

    Raises `ValueError` for a variable that should be JSON and is none, and for a file that is no TOML.
    """
    said: Tree = {}
    toml = find_toml()
    if toml is not None:
        import tomllib  # Who has no such file, and a worker seldom has, need not load it.

        _merge(said, tomllib.loads(toml.read_text(encoding="utf-8")))
    variables = {name.upper(): value for name, value in os.environ.items() if value and name[:7].upper() == _PREFIX}
    # In alphabetical order, so that a section's own variable comes before those of its keys, which win over it.
    for name, value in sorted(variables.items()):
        if name.startswith(_PREFIX + "_"):
            path = name.removeprefix(_PREFIX + "_").lower().split(_BETWEEN)
            _put(said, path, _parse(model, path, name, value))
    for field in model.model_fields:
        name = _PREFIX + field.upper()
        if name in variables:
            _merge(said, {field: _parse(model, [field], name, variables[name])})
    _merge(said, overrides)
    return said


def _merge(into: Tree, said: Mapping[str, Any]) -> None:
    """Take over what is said; a section is taken key by key."""
    for key, value in said.items():
        held = into.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            _merge(held, value)  # pyright: ignore[reportUnknownArgumentType]
        else:
            into[key] = {**value} if isinstance(value, dict) else value


def _put(said: Tree, path: list[str], value: Any) -> None:
    for key in reversed(path):
        value = {key: value}
    _merge(said, value)


def _parse(model: type[BaseModel], path: list[str], variable: str, value: str) -> Any:
    """Return a variable's value: as JSON where it is for a section, a list or a mapping."""
    annotation: object = model
    for key in path:
        field = _fields_of(annotation).get(key)
        if field is None:
            return value
        annotation = field.annotation
    if not _is_composite(annotation):
        return value
    import json

    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"{variable} is no JSON: {error}") from error


def _fields_of(annotation: object) -> dict[str, FieldInfo]:
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}


def _is_composite(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    origin = get_origin(annotation)
    return origin in (dict, list, tuple, set, frozenset) or any(map(_is_composite, get_args(annotation)))
