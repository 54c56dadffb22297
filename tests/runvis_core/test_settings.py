"""Settings: where they come from, which wins, and what is said of a wrong one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runvis_core.errors import SettingsError
from runvis_core.settings import Settings, load_settings
from runvis_core.worker_settings import WorkerSettings, load_worker_settings


@pytest.fixture(autouse=True)
def _nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RUNVIS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def test_an_argument_wins_over_a_variable_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runvis.toml").write_text(
        'url = "https://file"\ndeployment = "of-the-file"\n[emit]\nsecret_keys = ["badge"]\n'
    )
    assert load_settings().url == "https://file"
    monkeypatch.setenv("RUNVIS_URL", "https://variable")
    assert load_settings().url == "https://variable"

    settings = load_settings(url="https://argument", deployment=None)

    assert settings.url == "https://argument"
    assert settings.deployment == "of-the-file"
    assert settings.emit.secret_keys == ("badge",)


def test_the_working_folder_s_file_counts_before_the_user_s(tmp_path: Path) -> None:
    user = tmp_path / "config" / "runvis"
    user.mkdir(parents=True)
    (user / "runvis.toml").write_text('deployment = "the-users"\n')
    assert load_settings().deployment == "the-users"

    (tmp_path / "runvis.toml").write_text('deployment = "here"\n')

    assert load_settings().deployment == "here"


def test_a_section_s_key_is_set_by_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNVIS__LIMITS__DEPTH", "8")
    monkeypatch.setenv("RUNVIS__SERVER__TRUSTED_PROXIES", '["10.0.0.0/8"]')
    monkeypatch.setenv("RUNVIS__SERVER__IDENTITY_HEADER", "X-Forwarded-User")

    settings = load_settings()

    assert settings.limits.depth == 8
    assert [str(network) for network in settings.server.trusted_proxies] == ["10.0.0.0/8"]


def test_a_variable_that_is_empty_is_as_if_it_were_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNVIS_URL", "")
    assert load_settings().url is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RUNVIS_URL", "runvis.example", r"RUNVIS_URL is no address: begin it with http://"),
        ("RUNVIS_DEPLOYMENT", "dead", r"RUNVIS_DEPLOYMENT may have letters"),
        ("RUNVIS_DEPLOYMENT", "a/../b", r"RUNVIS_DEPLOYMENT may have letters"),
        ("RUNVIS_PUBLIC_URL", "ftp://x", r"RUNVIS_PUBLIC_URL is no address of a web page"),
        ("RUNVIS__LIMITS__DEPTH", "1000", r"RUNVIS__LIMITS__DEPTH is wrong"),
        ("RUNVIS__EMIT__SECRET_KEY", '["badge"]', r"RUNVIS__EMIT__SECRET_KEY is wrong"),
        ("RUNVIS__SERVER__IDENTITY_HEADER", "X-User", r"identity_header and trusted_proxies go together"),
        ("RUNVIS__EMIT__SECRET_KEYS", "badge", r"the settings can't be read"),
    ],
)
def test_a_wrong_setting_is_named_by_its_variable_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=said):
        load_settings()


def test_a_file_that_is_no_toml_is_said(tmp_path: Path) -> None:
    (tmp_path / "runvis.toml").write_text("url = \n")
    with pytest.raises(SettingsError, match="the settings can't be read"):
        load_settings()


@pytest.mark.parametrize(
    ("toml", "variable", "said"),
    [
        ("[servre]\nport = 8470\n", None, "RUNVIS_SERVRE"),
        ("[limits]\ndept = 8\n", None, "RUNVIS__LIMITS__DEPT"),
        ('ulr = "https://runvis.example"\n', None, "RUNVIS_ULR"),
        ("", "RUNVIS__SERVRE__PORT", "RUNVIS_SERVRE"),
    ],
)
def test_a_setting_that_there_is_not_is_said_but_to_no_worker(
    monkeypatch: pytest.MonkeyPatch, toml: str, variable: str | None, said: str
) -> None:
    Path("runvis.toml").write_text(toml)
    if variable:
        monkeypatch.setenv(variable, "8470")
    with pytest.raises(SettingsError, match=f"{said} is wrong: there is no such setting or section"):
        load_settings()
    if "limits" not in toml:
        assert load_worker_settings().url is None


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


def test_a_section_is_put_together_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("runvis.toml").write_text("[limits]\ndepth = 8\nbatch_items = 7\nevent_bytes = 2048\n")
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


def test_a_workers_settings_are_part_of_all_settings_and_pass_over_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert issubclass(Settings, WorkerSettings)
    monkeypatch.setenv("RUNVIS__LEDGER__INTERVAL_SECONDS", "no number")
    assert load_worker_settings().emit.secret_keys == ()
    with pytest.raises(SettingsError, match="RUNVIS__LEDGER__INTERVAL_SECONDS"):
        load_settings()


def test_a_variable_may_be_spelled_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("runvis_deployment", "small")
    assert load_settings().deployment == "small"
