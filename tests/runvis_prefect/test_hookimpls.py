from __future__ import annotations

import threading
from pathlib import Path

import pytest

from runvis_core.errors import SettingsError
from runvis_core.plugins import Plugins
from runvis_core.settings import load_settings
from runvis_prefect import hookimpls


@pytest.fixture
def plugins() -> Plugins:
    plugins = Plugins(built_ins=(), group=None)
    plugins.register(hookimpls, name="prefect")
    return plugins


def test_it_names_its_engine_and_brings_its_follower(plugins: Plugins) -> None:
    assert [list(answer.value) for answer in plugins.ask("runvis_engines")] == [["prefect"]]
    [answer] = plugins.ask("runvis_followers")
    assert set(answer.value) == {"prefect"}


def test_the_follower_is_the_one_that_reads_prefect(plugins: Plugins, tmp_path: Path) -> None:
    [answer] = plugins.ask("runvis_followers")
    settings = load_settings(deployment="test", prefect={"ca_file": tmp_path / "none.pem"})
    with pytest.raises(SettingsError, match="RUNVIS__PREFECT__CA_FILE"):
        answer.value["prefect"]("https://prefect.example", store=None, settings=settings, stop=threading.Event())
