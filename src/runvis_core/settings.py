"""Settings: variables `RUNVIS_…`, then `runvis.toml`. Built once at the door and passed in.

`RUNVIS_URL` sets `url`; a section's key is set by two underscores, as in `RUNVIS__EMIT__SECRET_KEYS='["badge"]'`.
`runvis.toml` is looked for in the working directory, else in the user's configuration folder; a variable wins over it.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from runvis_core.errors import SettingsError

LOCAL_DEPLOYMENT: Final = "local"
"""The deployment of who records into a file of this machine and names none."""

_DEPLOYMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def find_toml() -> Path | None:
    """Return the `runvis.toml` that counts: the working directory's, else the user's."""
    candidates = (Path("runvis.toml"), _user_folder("CONFIG", ".config") / "runvis.toml")
    return next((path for path in candidates if path.is_file()), None)


def default_spool_dir() -> Path:
    """Return the spool's folder of who names none: in the user's state folder."""
    return _user_folder("STATE", ".local/state") / "spool"


def default_store_url() -> str:
    """Return the store of a person who names none: a file in the user's data folder."""
    return f"sqlite:///{_user_folder('DATA', '.local/share') / 'runvis.db'}"


def _user_folder(kind: str, default: str) -> Path:
    given = os.environ.get(f"XDG_{kind}_HOME")
    if given:
        return Path(given) / "runvis"
    try:
        return Path.home() / default / "runvis"
    except RuntimeError:  # A container's user without a home.
        return Path(tempfile.gettempdir()) / f"runvis-{os.getuid()}"


class EmitSettings(BaseModel):
    """What an engine's process does with its events: section `emit`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret_keys: tuple[str, ...] = Field(
        default=(), description="More names whose values are redacted before anything is written, e.g. `badge_number`."
    )
    spool_max_bytes: int = Field(
        default=1024**3,
        ge=1024**2,
        description="How large one process's spool file may grow while the store is away; "
        "what comes then is counted as lost.",
    )


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

    @model_validator(mode="after")
    def _identity_needs_proxies(self) -> "ServerSettings":
        if (self.identity_header is None) != (not self.trusted_proxies):
            raise ValueError("is half set: identity_header and trusted_proxies go together")
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
        description="How long to stay quiet about a definition that was just told of; 0 tells of each run.",
    )

    @field_validator("webhook")
    @classmethod
    def _webhook_is_a_web_address(cls, value: SecretStr) -> SecretStr:
        said = value.get_secret_value()
        try:
            parts = urlsplit(said)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or not said.isprintable():
            raise ValueError("is no address of a webhook: write https://HOST/…, and what is secret in a header")
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


class Settings(BaseSettings):
    """All settings. Frozen; `load_settings` makes them."""

    model_config = SettingsConfigDict(
        env_prefix="RUNVIS_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    url: str | None = Field(
        default=None,
        description="Where events go and questions are answered: `http(s)://` a server, or a store, `sqlite:///…` or "
        "`postgresql://…`. An engine without it records nothing.",
    )
    deployment: str | None = Field(
        default=None,
        description="The name of this installation of an engine, the same in all its processes and for good. "
        "Required to record into anything but a `sqlite` file.",
    )
    public_url: str | None = Field(
        default=None,
        description="Where people see the server in a browser, e.g. `https://runvis.example`: links in notices and in "
        "Airflow's UI lead there. Without it, `RUNVIS_URL` if that is a server's.",
    )
    token: SecretStr | None = Field(default=None, description="The bearer token for the server.")
    token_file: Path | None = Field(
        default=None, description="A file that holds the token; read again when the server no longer takes the token."
    )
    spool_dir: Path = Field(
        default_factory=default_spool_dir,
        description="Where events wait until they are delivered. A file named `disabled` in it stops recording.",
    )
    disabled: bool = Field(default=False, description="Record nothing.")
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
    emit: EmitSettings = Field(
        default_factory=EmitSettings, description="What an engine's process does with its events."
    )

    @field_validator("url")
    @classmethod
    def _url_has_a_scheme(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError("is no address: begin it with http://, https://, sqlite:/// or postgresql://")
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url_is_a_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("is no address of a web page: begin it with https:// or http://")
        return value

    @field_validator("deployment")
    @classmethod
    def _deployment_is_a_plain_name(cls, value: str | None) -> str | None:
        # It names a folder of the spool, beside those for what was refused or torn.
        if value is not None and (not _DEPLOYMENT.fullmatch(value) or value in {"dead", "aside"}):
            raise ValueError(
                "may have letters, digits, '.', '_' and '-', at most 100, begins with a letter or digit, "
                "and is neither 'dead' nor 'aside'"
            )
        return value

    @property
    def is_local_file(self) -> bool:
        """Whether the store is a file of this machine."""
        return self.url is not None and self.url.startswith("sqlite")

    def find_public_url(self) -> str | None:
        """Return where people see the server, without a slash at its end; None where nobody said it."""
        url = self.public_url or (self.url if self.url and self.url.startswith(("http://", "https://")) else None)
        return url.rstrip("/") if url else None

    def get_deployment(self) -> str:
        """Return the deployment to record under. Raises `SettingsError` where one must be named."""
        if self.deployment is not None:
            return self.deployment
        if self.url is None or self.is_local_file:
            return LOCAL_DEPLOYMENT
        raise SettingsError(
            "RUNVIS_DEPLOYMENT is not set: a store that others share needs the name of this installation; "
            "set it to one name, the same in all processes of this engine, e.g. RUNVIS_DEPLOYMENT=airflow-prod"
        )

    def read_token(self) -> str | None:
        """Return the token as it is now; `token_file` is read each time. Raises `SettingsError` when it can't be."""
        if self.token_file is not None:
            try:
                return self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(
                    f"RUNVIS_TOKEN_FILE={self.token_file} can't be read ({error}): name a file that holds the token"
                ) from error
        return self.token.get_secret_value() if self.token is not None else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources, the strongest first: arguments, variables, the file."""
        sections = EnvSettingsSource(settings_cls, env_prefix="RUNVIS__", env_nested_delimiter="__")
        toml = find_toml()
        file = (TomlConfigSettingsSource(settings_cls, toml),) if toml else ()
        return (init_settings, env_settings, sections, *file)


def load_settings(**overrides: Any) -> Settings:
    """Return the settings as they are now; `overrides` that are not None win.

    Raises `SettingsError` that names the variable at fault and says what to set.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(f"{variable_name(*fault['loc'])} {_reason(fault['msg'])}" for fault in error.errors())
        raise SettingsError(f"{faults} (set as a variable or in runvis.toml)") from error
    except ValueError as error:  # A section that is no JSON, a runvis.toml that is no TOML.
        raise SettingsError(f"the settings can't be read: {error}") from error


def variable_name(*path: int | str) -> str:
    """Return the variable that sets a field: `RUNVIS_URL`, `RUNVIS__EMIT__SECRET_KEYS`."""
    names = [str(part).upper() for part in path if isinstance(part, str)]
    return f"RUNVIS_{names[0]}" if len(names) == 1 else "__".join(["RUNVIS", *names])


def _reason(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message if message.startswith(("is ", "may ")) else f"is wrong: {message}"
