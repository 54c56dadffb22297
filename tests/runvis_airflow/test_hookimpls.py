"""The adapter's way into RunVis: found by its entry point, and light enough for a worker."""

from __future__ import annotations

import json
import subprocess
import sys

from runvis_core.plugins import list_plugins
from runvis_core.services.followers import find_follower

_ASK = """
import json, sys
from runvis_core.plugins import plugin_manager
followers = [answer.value for answer in plugin_manager().ask("runvis_followers")]
print(json.dumps([sorted(name for found in followers for name in found), sorted(sys.modules)]))
"""


def test_the_follower_is_found_by_its_entry_point() -> None:
    assert callable(find_follower("airflow"))
    [plugin] = [plugin for plugin in list_plugins() if plugin.name == "airflow"]
    assert plugin.error is None
    assert plugin.hooks == ("runvis_engines", "runvis_followers")


def test_asking_for_followers_loads_no_store() -> None:
    said = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True).stdout
    followers, modules = json.loads(said)

    assert followers == ["airflow", "prefect"]
    heavy = {"sqlalchemy", "httpx", "runvis_core.store", "runvis_airflow.follower", "runvis_prefect.follower"}
    assert heavy.isdisjoint(modules)
