"""Plugins: what loads them, and what one that fails does to the others."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from runvis_core import plugins as module
from runvis_core.hookspecs import hookimpl
from runvis_core.plugins import Plugins


class Raises:
    @hookimpl
    def runvis_engines(self) -> list[str]:
        raise RuntimeError("a plugin of somebody else's")


class Answers:
    @hookimpl
    def runvis_engines(self) -> list[str]:
        return ["dagster"]


@pytest.fixture
def plugins() -> Plugins:
    return Plugins(built_ins=(), group=None)


def test_a_hook_that_raises_is_reported_and_the_others_are_asked(
    plugins: Plugins, caplog: pytest.LogCaptureFixture
) -> None:
    plugins.register(Answers(), name="answers")
    plugins.register(Raises(), name="raises")

    first, second = plugins.ask("runvis_engines")

    assert first.plugin == "raises"
    assert isinstance(first.error, RuntimeError)
    assert second == ("answers", ["dagster"], None)
    assert "the hook runvis_engines of the plugin raises raised" in caplog.text


def test_a_plugin_that_can_t_be_loaded_is_listed_with_the_reason_and_hurts_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "runvis_test_broken.py").write_text("raise ValueError('no licence')\n")
    (folder / "runvis_test_whole.py").write_text(
        "from runvis_core.hookspecs import hookimpl\n@hookimpl\ndef runvis_engines():\n    return ['whole']\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    found = [EntryPoint(name, f"runvis_test_{name}", "runvis") for name in ("broken", "absent", "whole")]
    monkeypatch.setattr(module, "entry_points", lambda **_: found)

    loaded = {plugin.name: plugin for plugin in Plugins(built_ins=()).loaded()}

    assert loaded["broken"].error == "ValueError: no licence"
    assert "ModuleNotFoundError" in str(loaded["absent"].error)
    assert loaded["whole"].error is None
    assert loaded["whole"].hooks == ("runvis_engines",)
    assert "the plugin broken of unknown could not be loaded: ValueError: no licence" in caplog.text
    sys.modules.pop("runvis_test_whole", None)


def test_a_plugin_whose_hook_does_not_fit_is_refused(plugins: Plugins) -> None:
    class Misfit:
        @hookimpl
        def runvis_engines(self, colour: str) -> list[str]:
            return [colour]

    with pytest.raises(Exception, match="colour"):
        plugins.register(Misfit(), name="misfit")
