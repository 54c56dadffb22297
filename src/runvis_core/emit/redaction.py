"""Takes secrets out of what is recorded, and bounds its size, before anything is written.

An immutable log can't be cleaned, so this happens before the spool. What is taken out or cut says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from runvis_core.emit.named_secrets import REDACTED, redact_named
from runvis_core.emit.secret_forms import (
    BEARER,
    FORMS,
    HINTS,
    URL_CREDENTIALS,
    compile_names,
    find_names_in_texts,
    is_one_of,
    is_secret_name,
)
from runvis_core.emit.spoken_secrets import redact_spoken

MIN_SECRET_CHARACTERS: Final = 5
"""Registered values that are shorter are left: they would mask half of every text."""
MAX_DEPTH: Final = 32
MAX_ITEMS: Final = 10_000
MAX_KEYS: Final = 4096
MAX_KEY_CHARACTERS: Final = 100
"""How many keys, and how long ones, a redactor knows by heart."""

_PLAIN: Final = "plain"
_NAMING: Final = "naming"
"""What lies under the key may be the name of a secret beside it."""
_TEXT: Final = "text"
"""The key may hold what any text may."""
_HIDING: Final = "hiding"
"""What a key means for what lies under it."""

_NAME_KEYS: Final = frozenset(
    {"name", "key", "Name", "Key", "variable", "field", "header", "option", "parameter", "label", "id"}
)
_VALUE_KEYS: Final = frozenset({"value", "Value", "val", "default", "content"})
_NAME_LIKE: Final = re.compile(r"[\w.-]{1,100}")
_LONG_USER_CHARACTERS: Final = 16
"""A user in an address that is as long as a token is one (Sentry's, GitHub's)."""

IDENTITY_FIELDS: Final = frozenset(
    {
        "kind",
        "event_id",
        "engine",
        "deployment",
        "occurred_at",
        "witness",
        "team",
        "producer",
        "sequence",
        "bodies",
        "run_id",
        "state",
        "verdict",
        "relation",
        "direction",
        "definition",
        "definition_kind",
        "definition_version_id",
        "native_key",
        "native_id",
        "target_native_key",
        "target_run_id",
        "parent_run_id",
        "caused_by_run_id",
        "retry_of",
        "correlation_id",
        "version",
    }
)
"""Fields by which reports of one thing find each other: they are never changed, or one run would become two."""


class Redactor:
    """Redacts JSON values by the default rules, by names of one's own, and by values registered as secret."""

    def __init__(self, secret_names: Iterable[str] = ()) -> None:
        self._names = compile_names(secret_names)
        self._names_pattern = find_names_in_texts(secret_names)
        self._values: frozenset[str] = frozenset()
        self._keys: dict[str, str] = {}

    def mask(self, values: Iterable[str]) -> None:
        """Register values as secret, wherever they appear from now on. Those under five characters are left."""
        given = {value for value in values if len(value) >= MIN_SECRET_CHARACTERS}
        self._values |= given | {quote(value, safe="") for value in given}

    def clears(
        self, content: Mapping[str, Any], fields: Mapping[str, Any] | None = None, *, max_characters: int
    ) -> bool:
        """Whether it is certain that there is nothing to redact or to cut: so it is with most, and quickly seen.

        `fields` are an event's own: what identifies things is passed over in them, since it stays as it is.
        """
        texts: list[str] = []
        if fields is not None:
            said = {name: value for name, value in fields.items() if name not in IDENTITY_FIELDS}
            if not self._collect(said, texts, 1):
                return False
        if content and not self._collect(content, texts, 1):
            return False
        text = "\n".join(texts)
        return len(text) <= max_characters and not self._hints(text)

    def _hints(self, text: str) -> bool:
        return bool(
            HINTS.search(text.lower())
            or (self._names_pattern is not None and self._names_pattern.search(text))
            or ("@" in text and "://" in text)
            # One by one: an expression of all of them takes longer to make, and several times as long to search with.
            or any(value in text for value in self._values)
        )

    def _collect(self, value: Any, texts: list[str], depth: int) -> bool:
        """Gather a value's texts; return False as soon as a name or the depth says that there is something to do."""
        if depth >= MAX_DEPTH:
            return False
        if value.__class__ is not dict:
            return self._collect_items(value, texts, depth)
        known = self._keys
        for key, item in value.items():
            verdict = known.get(key)
            if verdict is None:
                verdict = self._judge(key)
            kind = item.__class__
            if verdict is _TEXT:
                texts.append(key)
            elif verdict is not _PLAIN and (verdict is _HIDING or (kind is str and self.names_a_secret(item))):
                return False
            if kind is str:
                texts.append(item)
            elif (kind is dict or kind is list or kind is tuple) and not self._collect(item, texts, depth + 1):
                return False
        return True

    def _collect_items(self, items: Any, texts: list[str], depth: int) -> bool:
        is_pair = len(items) == 2
        for item in items:
            kind = item.__class__
            if kind is str:
                if is_pair and self.names_a_secret(item):
                    return False
                texts.append(item)
            elif (kind is dict or kind is list or kind is tuple) and not self._collect(item, texts, depth + 1):
                return False
        return True

    def _judge(self, key: str) -> str:
        """Say what a key means for what lies under it, and remember that: the same keys come again and again."""
        if self.is_secret(key):
            verdict = _HIDING
        elif key in _NAME_KEYS:
            verdict = _NAMING
        else:
            verdict = _PLAIN if key.isidentifier() else _TEXT
        if len(self._keys) < MAX_KEYS and len(key) <= MAX_KEY_CHARACTERS:
            self._keys[key] = verdict
        return verdict

    def redact_fields(
        self, fields: Mapping[str, Any], *, max_characters: int, max_items: int = MAX_ITEMS
    ) -> dict[str, Any]:
        """Return an event's fields without secrets; what identifies things stays as it is."""
        walk = _Walk(self, max_characters, max_items)
        return {
            name: value if name in IDENTITY_FIELDS else walk.named(name, value, 2) for name, value in fields.items()
        }

    def redact(self, value: Any, *, name: str = "", max_characters: int, max_items: int = MAX_ITEMS) -> Any:
        """Return a JSON value without secrets; `name` is what it is called."""
        return _Walk(self, max_characters, max_items).named(name, value, 1)

    def is_secret(self, name: str) -> bool:
        """Whether a value of this name is secret."""
        return is_secret_name(name) or (bool(self._names) and is_one_of(name, self._names))

    def names_a_secret(self, text: str) -> bool:
        """Whether a text among values is the name of a secret, and not a sentence with such a word in it."""
        return _NAME_LIKE.fullmatch(text) is not None and self.is_secret(text)

    def redact_text(self, text: str) -> str:
        """Return a text without secrets."""
        if not self._hints(text):
            return text
        text = _redact_values(text, [value for value in self._values if value in text])
        text = FORMS.sub(REDACTED, text)
        if "@" in text:
            text = URL_CREDENTIALS.sub(_redact_url, text)
        text = BEARER.sub(rf"\g<scheme> {REDACTED}", text)
        return redact_spoken(redact_named(text, self.is_secret), self._names_pattern)


def _redact_values(text: str, values: Iterable[str]) -> str:
    # The longest first: one secret may begin another. None at all would match everywhere.
    forms = [re.escape(value) for value in sorted(values, key=len, reverse=True)]
    return re.sub("|".join(forms), REDACTED, text) if forms else text


def _redact_url(match: re.Match[str]) -> str:
    user, password = match["user"], match["password"]
    if password:
        return f"://{user}:{REDACTED}@"
    return f"://{REDACTED}@" if len(user) >= _LONG_USER_CHARACTERS else match[0]


class _Walk:
    """One pass over a value."""

    def __init__(self, redactor: Redactor, max_characters: int, max_items: int) -> None:
        self._redactor = redactor
        self._max_characters = max_characters
        self._max_items = max_items

    def named(self, name: str, value: Any, depth: int) -> Any:
        if self._redactor.is_secret(name):
            return self._hide(value, depth)
        return self._visit(value, depth)

    def _hide(self, value: Any, depth: int) -> Any:
        """Hide every text and number of a secret's value; what is empty or a flag tells nothing."""
        if value is None or value is True or value is False or value == "":
            return value
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            return {str(key): self._hide(item, depth + 1) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return REDACTED

    def _visit(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, depth)
        if isinstance(value, Mapping):
            return self._mapping(value, depth)  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(value, list | tuple | set | frozenset):
            return self._sequence(list(value), depth)  # pyright: ignore[reportUnknownArgumentType]
        return value

    def _text(self, text: str, depth: int) -> str:
        if text[:1] in ("{", "[", '"') and len(text) <= self._max_characters:
            text = self._json(text, depth)
        return cut(self._redactor.redact_text(text), self._max_characters)

    def _json(self, text: str, depth: int) -> str:
        """Redact a text that holds JSON as what it holds; leave it alone when there is nothing to hide."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        redacted = self._visit(value, depth + 1)
        return text if redacted == value else json.dumps(redacted, ensure_ascii=False)

    def _mapping(self, mapping: Mapping[str, Any], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"[cut: deeper than {MAX_DEPTH}]"
        hidden = _VALUE_KEYS if self._names_a_secret(mapping) else frozenset[str]()
        redacted: dict[str, Any] = {}
        for key, item in mapping.items():
            if len(redacted) >= self._max_items:
                redacted["[cut]"] = f"{len(mapping) - self._max_items:,} of {len(mapping):,} keys"
                break
            name = str(key)
            shown = name if name.isidentifier() else self._key(name, redacted)
            redacted[shown] = self._hide(item, depth + 1) if name in hidden else self.named(name, item, depth + 1)
        return redacted

    def _key(self, name: str, taken: Mapping[str, Any]) -> str:
        """Return a key without secrets, which no other one has become."""
        shown = self._redactor.redact_text(name)
        return shown if shown == name or shown not in taken else f"{shown} {len(taken)}"

    def _names_a_secret(self, mapping: Mapping[str, Any]) -> bool:
        """Whether a secret's name lies beside its value: `{"name": "DB_PASSWORD", "value": …}`."""
        names = self._redactor.names_a_secret
        return any(key in _NAME_KEYS and isinstance(name, str) and names(name) for key, name in mapping.items())

    def _sequence(self, items: list[Any], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"[cut: deeper than {MAX_DEPTH}]"
        redacted: list[Any] = []
        previous = ""
        for item in items[: self._max_items]:
            # A pair, or an argument after its option: ["password", …], ["--token", …].
            is_beside = self._redactor.names_a_secret(previous) and (len(items) == 2 or previous.startswith("-"))
            redacted.append(self._hide(item, depth + 1) if is_beside else self._visit(item, depth + 1))
            previous = item if isinstance(item, str) else ""
        if len(items) > self._max_items:
            redacted.append(f"[cut: {len(items) - self._max_items:,} of {len(items):,} items]")
        return redacted


def cut(text: str, max_characters: int) -> str:
    """Return a text of bounded length: its beginning, a mark that says what is missing, and its end."""
    if len(text) <= max_characters:
        return text
    head = max_characters // 4
    tail = max_characters - head
    return f"{text[:head]}[cut: {len(text) - max_characters:,} of {len(text):,} characters]{text[-tail:]}"
