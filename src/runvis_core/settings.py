"""Settings: variables `RUNVIS_…`, then `runvis.toml`. Built once at the door and passed in.

`RUNVIS_URL` sets `url`; a section's key is set by two underscores, as in `RUNVIS__EMIT__SECRET_KEYS='["badge"]'`.
`runvis.toml` is looked for in the working directory, else in the user's configuration folder; a variable wins over it.
"""

import re
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, SecretStr, field_validator, model_validator

from runvis_core.settings_sources import find_toml, user_folder
from runvis_core.worker_settings import (
    LOCAL_DEPLOYMENT,
    EmitSettings,
    WorkerSettings,
    default_spool_dir,
    load,
    variable_name,
)

__all__ = [
    "LOCAL_DEPLOYMENT",
    "EmitSettings",
    "Settings",
    "WorkerSettings",
    "default_spool_dir",
    "default_store_url",
    "find_toml",
    "load_settings",
    "variable_name",
]


def default_store_url() -> str:
    """Return the store of a person who names none: a file in the user's data folder."""
    return f"sqlite:///{user_folder('DATA', '.local/share') / 'runvis.db'}"


class LimitSettings(BaseModel):
    """What the server takes at most: section `limits`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wire_bytes: int = Field(
        default=1024**2, ge=1024, le=1024**3, description="Bytes of a request's body as it comes over the wire."
    )
    decoded_bytes: int = Field(
        default=10 * 1024**2, ge=1024, le=1024**3, description="Bytes that a compressed body may grow to."
    )
    batch_items: int = Field(default=1000, ge=1, le=100_000, description="Events, and heartbeats, of one batch.")
    event_bytes: int = Field(
        default=59 * 1024, ge=1024, le=59 * 1024, description="Bytes of one event; its large parts are bodies."
    )
    depth: int = Field(default=32, ge=4, le=100, description="Objects and arrays within one another in an event.")
    requests_per_second: float = Field(
        default=500, gt=0, description="Requests of one token, on average; what comes faster is asked to come again."
    )


class ServerSettings(BaseModel):
    """What `runvis serve` does: section `server`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr],
        description='Tokens that the server takes, by the name of who has it, e.g. `{"airflow-prod": "…"}`. '
        "The name stands in each entry that comes with the token.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="How the server logs: `text` for a person, or `json`, one object a line, with a line for each "
        "request.",
    )
    paused: bool = Field(
        default=False, description="Ask senders to keep their events for now. Their engines go on, and so do questions."
    )
    audit_reads: bool = Field(
        default=False, description="Make each question that is asked with a token an entry of the audit trail."
    )
    identity_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,100}$",
        description="The header in which a proxy says who has signed in there, e.g. `X-Forwarded-User`. It counts only "
        "from `trusted_proxies`, which must remove it from what others send.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description='The addresses or networks of those proxies, e.g. `["10.0.0.5", "10.1.0.0/16"]`.',
    )

    person_scopes: dict[str, frozenset[Literal["read", "admin"]]] = Field(
        default_factory=dict[str, frozenset[Literal["read", "admin"]]],
        description="What people may whom such a proxy names, by their whole name: `read`, `admin` or both, e.g. "
        '`{"ann@example.org": ["read", "admin"]}`. Who is not in it may read.',
    )

    @model_validator(mode="after")
    def _identity_needs_proxies(self) -> "ServerSettings":
        if (self.identity_header is None) != (not self.trusted_proxies):
            raise ValueError("is half set: identity_header and trusted_proxies go together")
        if self.person_scopes and self.identity_header is None:
            raise ValueError("is half set: person_scopes is for those whom identity_header names")
        return self


class LedgerSettings(BaseModel):
    """How the log's checkpoints are signed, and where they go: section `ledger`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_file: Path | None = Field(
        default=None,
        description="The file with the keys that sign checkpoints, made by `runvis keys new`. "
        "Without it no checkpoints are made.",
    )
    interval_seconds: float = Field(
        default=60.0, ge=1, description="How often the server makes a checkpoint, if the log has grown."
    )
    checkpoint_file: Path | None = Field(
        default=None,
        description="A file to which each checkpoint is appended. Keep it where who can change the store can't "
        "change it: it shows what the log was.",
    )
    witnesses: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Witnesses that cosign each checkpoint (C2SP `tlog-witness`): their address and their verifier "
        'key, e.g. `{"https://witness.example/w1": "witness.example/w1+1fd8a0ad+BA…"}`.',
    )


class AirflowSettings(BaseModel):
    """How `runvis follow airflow` reads Airflow's REST API: section `airflow`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deployment: str | None = Field(
        default=None,
        description="The name under which that Airflow itself records, where it is not the one in `RUNVIS_DEPLOYMENT`.",
    )
    username: str | None = Field(
        default=None, description="Who reads: a user who may read DAG runs, task instances and the audit log."
    )
    password: SecretStr | None = Field(
        default=None, description="The user's password; a token is taken for it, and again when Airflow refuses that."
    )
    token: SecretStr | None = Field(default=None, description="A token to read with, instead of a user and password.")
    token_file: Path | None = Field(
        default=None, description="A file that holds the token; read again when Airflow no longer takes the token."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) to trust in place of the system's, for an Airflow with its own."
    )
    proxy: str | None = Field(default=None, description="The proxy to go through, e.g. `http://proxy.example:3128`.")
    interval_seconds: float = Field(default=30.0, ge=1, description="How long to wait between two sweeps.")


class PrefectSettings(BaseModel):
    """How `runvis follow prefect` reads a Prefect server: section `prefect`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deployment: str | None = Field(
        default=None,
        description="The name under which that Prefect's flows record, where it is not the one in `RUNVIS_DEPLOYMENT`.",
    )
    auth_string: SecretStr | None = Field(
        default=None, description="What the server has as `PREFECT_SERVER_API_AUTH_STRING`, e.g. `reader:secret`."
    )
    token: SecretStr | None = Field(
        default=None, description="A bearer token, such as an API key of Prefect Cloud, instead of an auth string."
    )
    token_file: Path | None = Field(
        default=None, description="A file that holds the token; read again when Prefect no longer takes the token."
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr],
        description='More headers for each request, for a proxy that asks for them, e.g. `{"X-Access": "…"}`.',
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) to trust in place of the system's, for a server with its own."
    )
    proxy: str | None = Field(default=None, description="The proxy to go through, e.g. `http://proxy.example:3128`.")
    interval_seconds: float = Field(default=30.0, ge=1, description="How long to wait between two sweeps.")
    heartbeat_seconds: float = Field(
        default=180.0, gt=0, description="What the flows have as `PREFECT_FLOWS_HEARTBEAT_FREQUENCY`."
    )


_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADERS_OF_THE_MESSAGE: Final = frozenset({"content-length", "transfer-encoding", "x-runvis-notice"})


def _is_web_address(said: str) -> bool:
    """Return whether something can be posted there, as who will post it reads addresses."""
    import httpx  # Most settings have no address of a webhook.

    try:
        parts, read = urlsplit(said), httpx.URL(said)
    except (ValueError, httpx.InvalidURL):
        return False
    return (
        read.scheme in ("http", "https")
        and bool(parts.hostname)
        and parts.port != 0
        and said.isprintable()
        and not set(parts.netloc) & set(" \\")
    )


class NotifyRule(BaseModel):
    """What is worth a notice, and where it goes: one of `rules` in section `notify`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="The rule's name; its place in the log is kept under it, so a new name begins anew.",
    )
    on: tuple[Literal["run_ended", "silence", "loop_detected"], ...] = Field(
        default=("run_ended",),
        min_length=1,
        description="What to tell of: `run_ended`, `silence`, `loop_detected`.",
    )
    webhook: SecretStr = Field(description="Where notices are posted. It is never shown: such addresses hold secrets.")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr], description="Headers to send along, e.g. `Authorization`."
    )
    filter: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description='Which runs, by the filters of the list of runs, e.g. `{"state": ["Failed"]}`.',
    )
    template: str | None = Field(
        default=None, description="A Jinja template of what is posted; without it, a JSON object with all there is."
    )
    repeat_after_seconds: float = Field(
        default=0.0,
        ge=0,
        le=30 * 86400,
        description="How long to stay quiet about a definition that was just told of, at most 30 days, for which "
        "notices are known; 0 tells of each run.",
    )

    @field_validator("webhook")
    @classmethod
    def _webhook_is_a_web_address(cls, value: SecretStr) -> SecretStr:
        if not _is_web_address(value.get_secret_value()):
            raise ValueError("is no address of a webhook: write https://HOST/…, and what is secret in a header")
        return value

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, said in value.items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _HEADERS_OF_THE_MESSAGE:
                raise ValueError(f"may not have {name!r}: it is no header's name, or one that the notice itself has")
            text = said.get_secret_value()
            if not (text.isascii() and text.isprintable() and text == text.strip()):
                raise ValueError(
                    f"is wrong: the value of {name} has a character that no header can hold, or a blank or a line's "
                    "end around it"
                )
        return value


class NotifySettings(BaseModel):
    """Whom the server tells of what: section `notify`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[NotifyRule, ...] = Field(
        default=(), description="The rules, each with a name, what it is `on`, a webhook, and which runs."
    )

    @field_validator("rules")
    @classmethod
    def _names_are_unique(cls, value: tuple[NotifyRule, ...]) -> tuple[NotifyRule, ...]:
        names = [rule.name for rule in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"is wrong: several rules are called {', '.join(twice)}")
        return value


class Settings(WorkerSettings):
    """All settings: an engine's process's, and those of the server and the followers. `load_settings` makes them."""

    # What an engine's process passes over may be another part's; here it is nobody's.
    model_config = ConfigDict(extra="forbid")

    server: ServerSettings = Field(default_factory=ServerSettings, description="What `runvis serve` does.")
    ledger: LedgerSettings = Field(
        default_factory=LedgerSettings, description="How the log's checkpoints are signed, and where they go."
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What the server takes at most.")
    airflow: AirflowSettings = Field(
        default_factory=AirflowSettings, description="How `runvis follow airflow` reads Airflow's REST API."
    )
    prefect: PrefectSettings = Field(
        default_factory=PrefectSettings, description="How `runvis follow prefect` reads a Prefect server."
    )
    notify: NotifySettings = Field(default_factory=NotifySettings, description="Whom the server tells of what.")


def load_settings(**overrides: Any) -> Settings:
    """Return the settings as they are now; `overrides` that are not None win.

    Raises `SettingsError` that names the variable at fault and says what to set.
    """
    return load(Settings, overrides)
