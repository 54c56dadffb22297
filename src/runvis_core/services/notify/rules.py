"""Rules: what is worth a notice, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import ValidationError

from runvis_core.errors import NotFoundError, SettingsError
from runvis_core.services.filters import RunFilter
from runvis_core.settings import NotifyRule, Settings

_TEMPLATES: Final = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
_TEMPLATES.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "default": str}


class Rule(NamedTuple):
    """One rule, ready to be followed."""

    name: str
    on: frozenset[str]
    filters: RunFilter
    webhook: str
    """The receiver's address. It may hold a secret: only `public_receiver` is shown."""
    headers: Mapping[str, str]
    template: Template | None
    repeat_after: timedelta

    @property
    def public_receiver(self) -> str:
        """The receiver's scheme and host: paths and queries of webhooks are secrets."""
        parts = urlsplit(self.webhook)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def read_rules(settings: Settings) -> list[Rule]:
    """Return the rules that the settings name. Raises `SettingsError` for one that can't be followed."""
    return [_read_rule(rule) for rule in settings.notify.rules]


def get_rule(settings: Settings, name: str) -> Rule:
    """Return the rule of a name. Raises `NotFoundError`, naming those that there are."""
    rules = {rule.name: rule for rule in read_rules(settings)}
    if name not in rules:
        there = ", ".join(sorted(rules)) or "none: RUNVIS__NOTIFY__RULES is not set"
        raise NotFoundError(f"there is no rule {name!r}; there are {there}")
    return rules[name]


def _read_rule(rule: NotifyRule) -> Rule:
    return Rule(
        name=rule.name,
        on=frozenset(rule.on),
        filters=_read_filters(rule.name, rule.filter),
        webhook=rule.webhook.get_secret_value(),
        headers={name: value.get_secret_value() for name, value in rule.headers.items()},
        template=_read_template(rule.name, rule.template),
        repeat_after=timedelta(seconds=rule.repeat_after_seconds),
    )


def _read_filters(name: str, said: Mapping[str, Any]) -> RunFilter:
    try:
        return RunFilter.model_validate(said)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        known = ", ".join(RunFilter.model_fields)
        raise SettingsError(
            f"RUNVIS__NOTIFY__RULES: the filter of the rule {name!r} has a fault at {place}: {fault['msg']}; "
            f"a filter may have {known}"
        ) from error


def _read_template(name: str, text: str | None) -> Template | None:
    if text is None:
        return None
    try:
        return _TEMPLATES.from_string(text)
    except TemplateSyntaxError as error:
        raise SettingsError(
            f"RUNVIS__NOTIFY__RULES: the template of the rule {name!r} is none, in line {error.lineno}: {error.message}"
        ) from error
