"""The settings of an engine's process: what it records under, and where to. Light to import: each worker loads them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails

from runvis_core.errors import SettingsError
from runvis_core.settings_sources import read_sources, user_folder

LOCAL_DEPLOYMENT: Final = "local"
"""The deployment of who records into a file of this machine and names none."""

_DEPLOYMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_S = TypeVar("_S", bound=BaseModel)


def default_spool_dir() -> Path:
    """Return the spool's folder of who names none: in the user's state folder."""
    return user_folder("STATE", ".local/state") / "spool"


class EmitSettings(BaseModel):
    """What an engine's process does with its events: section `emit`."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    secret_keys: tuple[str, ...] = Field(
        default=(), description="More names whose values are redacted before anything is written, e.g. `badge_number`."
    )
    spool_max_bytes: int = Field(
        default=1024**3,
        ge=1024**2,
        description="How large one process's spool file may grow while the store is away; "
        "what comes then is counted as lost.",
    )


class WorkerSettings(BaseModel):
    """What an engine's process needs to know. Frozen; `load_worker_settings` makes them."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

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


def load_worker_settings(**overrides: Any) -> WorkerSettings:
    """Return an engine's process's settings as they are now; `overrides` that are not None win.

    Raises `SettingsError` that names the variable at fault and says what to set.
    """
    return load(WorkerSettings, overrides)


def load(model: type[_S], overrides: Mapping[str, Any]) -> _S:
    """Return settings from their sources; `overrides` that are not None win. Raises `SettingsError`."""
    try:
        return model(**read_sources(model, {name: value for name, value in overrides.items() if value is not None}))
    except ValidationError as error:
        faults = "; ".join(map(_name_fault, error.errors()))
        raise SettingsError(f"{faults} (set as a variable or in runvis.toml)") from error
    except (OSError, ValueError) as error:  # A section that is no JSON, a runvis.toml that is no TOML.
        raise SettingsError(f"the settings can't be read: {error}") from error


def variable_name(*path: int | str) -> str:
    """Return the variable that sets a field: `RUNVIS_URL`, `RUNVIS__EMIT__SECRET_KEYS`."""
    names = [str(part).upper() for part in path if isinstance(part, str)]
    return f"RUNVIS_{names[0]}" if len(names) == 1 else "__".join(["RUNVIS", *names])


def _place(path: tuple[int | str, ...]) -> str:
    """Return which item of a list is at fault, as a person counts them."""
    places = [part + 1 for part in path if isinstance(part, int)]
    return f" (number {places[0]} of the list)" if places else ""


def _name_fault(fault: ErrorDetails) -> str:
    path, message = fault["loc"], fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "there is no such setting or section"
    reason = message if message.startswith(("is ", "may ")) else f"is wrong: {message}"
    return f"{variable_name(*path)} {reason}{_place(path)}"
