"""Where settings come from, and which word wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runvis_core.errors import SettingsError
from runvis_core.settings import Settings, load_settings
from runvis_core.worker_settings import WorkerSettings, load_worker_settings


@pytest.fixture(autouse=True)
def nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("RUNVIS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def write_toml(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_an_argument_wins_over_a_variable_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml(Path("runvis.toml"), 'url = "sqlite:///file.db"\ndeployment = "file"\npublic_url = "http://file"\n')
    monkeypatch.setenv("RUNVIS_URL", "sqlite:///variable.db")
    monkeypatch.setenv("RUNVIS_DEPLOYMENT", "variable")
    settings = load_settings(url="sqlite:///argument.db", deployment=None)
    assert settings.url == "sqlite:///argument.db"
    assert settings.deployment == "variable"
    assert settings.public_url == "http://file"


def test_the_working_directorys_file_counts_before_the_users(tmp_path: Path) -> None:
    write_toml(tmp_path / "config" / "runvis" / "runvis.toml", 'deployment = "user"\n')
    assert load_settings().deployment == "user"
    write_toml(Path("runvis.toml"), 'public_url = "http://here"\n')
    settings = load_settings()
    assert (settings.deployment, settings.public_url) == (None, "http://here")


def test_a_section_is_put_together_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml(Path("runvis.toml"), "[limits]\ndepth = 8\nbatch_items = 7\nevent_bytes = 2048\n")
    monkeypatch.setenv("RUNVIS__LIMITS", '{"batch_items": 9, "wire_bytes": 4096}')
    monkeypatch.setenv("RUNVIS__LIMITS__WIRE_BYTES", "8192")
    monkeypatch.setenv("RUNVIS__SERVER__TOKENS__PROD", "hidden")
    settings = load_settings(emit={"secret_keys": ["badge"]})
    limits = settings.limits
    assert (limits.depth, limits.batch_items, limits.event_bytes, limits.wire_bytes) == (8, 9, 2048, 8192)
    assert settings.server.tokens["prod"].get_secret_value() == "hidden"
    assert settings.emit.secret_keys == ("badge",)


def test_lists_and_mappings_are_json_and_everything_else_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNVIS__EMIT__SECRET_KEYS", '["badge", "12"]')
    monkeypatch.setenv("RUNVIS__EMIT__SPOOL_MAX_BYTES", "2097152")
    monkeypatch.setenv("RUNVIS_DISABLED", "true")
    monkeypatch.setenv("RUNVIS_DEPLOYMENT", "123")
    settings = load_worker_settings()
    assert settings.emit.secret_keys == ("badge", "12")
    assert settings.emit.spool_max_bytes == 2097152
    assert settings.disabled is True
    assert settings.deployment == "123"


def test_a_variable_is_known_in_small_letters_and_an_empty_one_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("runvis_deployment", "small")
    monkeypatch.setenv("RUNVIS_URL", "")
    settings = load_settings()
    assert (settings.deployment, settings.url) == ("small", None)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RUNVIS_URL", "nowhere", "RUNVIS_URL is no address"),
        ("RUNVIS_DEPLOYMENT", "dead", "RUNVIS_DEPLOYMENT may have letters"),
        ("RUNVIS__EMIT__SPOOL_MAX_BYTES", "1", "RUNVIS__EMIT__SPOOL_MAX_BYTES is wrong"),
        ("RUNVIS__EMIT__NO_SUCH_KEY", "1", "RUNVIS__EMIT__NO_SUCH_KEY is wrong"),
        ("RUNVIS__EMIT__SECRET_KEYS", "badge", "RUNVIS__EMIT__SECRET_KEYS is no JSON"),
        ("RUNVIS_DEPLOYMENT", "a/../b", "RUNVIS_DEPLOYMENT may have letters"),
        ("RUNVIS_PUBLIC_URL", "ftp://x", "RUNVIS_PUBLIC_URL is no address of a web page"),
    ],
    ids=["address", "name", "number", "key", "json", "path", "page"],
)
def test_what_is_wrong_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    for load in (load_settings, load_worker_settings):
        with pytest.raises(SettingsError, match=said):
            load()


def test_a_file_that_is_no_toml_is_said() -> None:
    write_toml(Path("runvis.toml"), "url = ")
    with pytest.raises(SettingsError, match="can't be read"):
        load_settings()


def test_a_workers_settings_are_part_of_all_settings_and_pass_over_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert issubclass(Settings, WorkerSettings)
    monkeypatch.setenv("RUNVIS__LEDGER__INTERVAL_SECONDS", "no number")
    assert load_worker_settings().emit.secret_keys == ()
    with pytest.raises(SettingsError, match="RUNVIS__LEDGER__INTERVAL_SECONDS"):
        load_settings()


def test_a_secret_is_in_no_message_and_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNVIS_TOKEN", "runvis_very_secret")
    settings = load_settings()
    assert "very_secret" not in f"{settings!r} {settings}"
    assert settings.read_token() == "runvis_very_secret"

    monkeypatch.setenv("RUNVIS_DEPLOYMENT", "my secret/deployment")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "my secret" not in str(raised.value)


def test_a_token_s_file_is_read_each_time_and_a_missing_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("RUNVIS_TOKEN_FILE", str(file))
    settings = load_settings()
    with pytest.raises(SettingsError, match=r"RUNVIS_TOKEN_FILE=.*can't be read.*name a file"):
        settings.read_token()

    file.write_text("first\n")
    assert settings.read_token() == "first"
    file.write_text("second\n")
    assert settings.read_token() == "second"


def test_who_records_into_a_shared_store_must_name_its_deployment() -> None:
    with pytest.raises(SettingsError, match=r"RUNVIS_DEPLOYMENT is not set.*RUNVIS_DEPLOYMENT=airflow-prod"):
        load_settings(url="https://runvis.example").get_deployment()

    assert load_settings(url="sqlite:////tmp/runvis.db").get_deployment() == "local"
    assert load_settings(url="https://runvis.example", deployment="prod").get_deployment() == "prod"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RUNVIS__LIMITS__DEPTH", "1000", "RUNVIS__LIMITS__DEPTH is wrong"),
        ("RUNVIS__SERVER__IDENTITY_HEADER", "X-User", "identity_header and trusted_proxies go together"),
    ],
)
def test_what_is_wrong_of_a_server_s_is_named_too(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=said):
        load_settings()
