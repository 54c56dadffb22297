"""`install()` and the hooks, each tried in a real Prefect's own environment, where no flow needs to run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SETUP = """
import prefect
from prefect import Flow, Task, flow, task
import runvis_prefect
from runvis_prefect import hooks
"""


@pytest.fixture
def run(tmp_path: Path):
    def run_in_prefect(code: str, **variables: str) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RUNVIS", "PREFECT"))}
        env |= {
            "RUNVIS_URL": "http://127.0.0.1:9",
            "RUNVIS_DEPLOYMENT": "test",
            "RUNVIS_SPOOL_DIR": str(tmp_path / "spool"),
            "PREFECT_HOME": str(tmp_path / "home"),
            "DO_NOT_TRACK": "1",
            **variables,
        }
        python = os.environ["RUNVIS_TEST_PREFECT_PYTHON"]
        done = subprocess.run(
            [python, "-c", SETUP + code], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run_in_prefect


def test_flows_and_tasks_made_after_it_have_the_hooks_once(run) -> None:
    run("""
before = flow(lambda: None, name="before")
assert runvis_prefect.install() and runvis_prefect.install()
after = flow(lambda: None, name="after").with_options(name="other")
assert before.on_running_hooks == []
for name in ("on_running", "on_completion", "on_failure", "on_cancellation", "on_crashed"):
    assert getattr(after, name + "_hooks") == [hooks.flow_hook], name
made = task(lambda: None, name="made").with_options(retries=1)
for name in ("on_running", "on_completion", "on_failure"):
    assert getattr(made, name + "_hooks") == [hooks.task_hook], name
assert hooks.is_recorded(made.retry_condition_fn)
""")


def test_a_users_own_hooks_stay_and_their_list_is_left_alone(run) -> None:
    run("""
runvis_prefect.install()
def mine(flow, flow_run, state): ...
shared = [mine]
first, second = (flow(lambda: None, name=name, on_running=shared) for name in ("first", "second"))
assert shared == [mine]
assert first.on_running_hooks == second.on_running_hooks == [mine, hooks.flow_hook]
""")


def test_a_users_own_retry_condition_decides(run) -> None:
    run("""
import asyncio
never = hooks.recorded_retry_condition(lambda task, task_run, state: False)
assert never(None, None, None) is False
async def later(task, task_run, state):
    return False
assert asyncio.run(hooks.recorded_retry_condition(later)(None, None, None)) is False
""")


def test_a_condition_that_is_no_function_stays_as_prefect_knows_it(run) -> None:
    run("""
runvis_prefect.install()
class Condition:
    def __call__(self, task, task_run, state):
        return True
condition = Condition()
assert task(lambda: None, name="made", retry_condition_fn=condition).retry_condition_fn is condition
""")


def test_without_an_address_nothing_is_changed(run) -> None:
    run(
        """
assert runvis_prefect.install() is False
assert flow(lambda: None, name="made").on_running_hooks == []
""",
        RUNVIS_URL="",
    )


def test_a_prefect_that_it_does_not_know_is_left_alone_and_that_is_said(run) -> None:
    said = run("""
prefect.__version__ = "4.0.0"
init = Flow.__init__
assert runvis_prefect.install() is False
assert Flow.__init__ is init
""")
    assert "Prefect 4.0.0" in said


def test_a_moved_private_interface_is_left_alone(run) -> None:
    said = run("""
class Moved(Task):
    def __init__(self, fn): ...
from runvis_prefect import plugin
plugin.Task = Moved
assert runvis_prefect.install() is False
""")
    assert "hooks by hand" in said


def test_a_hook_that_fails_hurts_no_flow(run) -> None:
    """What it is handed here is nothing that Prefect would: it is counted, and nothing is raised."""
    run("""
hooks.process_watch().recorder.record([])
from types import SimpleNamespace
hooks.task_hook(None, None, SimpleNamespace(type="RUNNING"))
assert hooks.process_watch().recorder.refused == 1
""")


def test_the_adapter_brings_no_store_and_no_server(run) -> None:
    run("""
import sys
mine = {name for name in sys.modules if name.startswith("runvis_core")}
assert not {name for name in mine if name.startswith(("runvis_core.store", "runvis_core.api", "runvis_core.services"))}
""")


def test_prefect_loads_it_by_itself_where_plugins_are_enabled(run) -> None:
    run(
        """
made = flow(lambda: None, name="made")
assert made.on_running_hooks == [hooks.flow_hook], made.on_running_hooks
""",
        PREFECT_PLUGINS_ENABLED="1",
    )
    run('assert flow(lambda: None, name="made").on_running_hooks == []')


def test_as_a_plugin_without_an_address_it_is_quiet(run) -> None:
    made = 'assert flow(lambda: None, name="made").on_running_hooks == []'
    said = run(made, PREFECT_PLUGINS_ENABLED="1", RUNVIS_URL="")
    assert "ERROR" not in said


def test_where_prefect_is_first_imported_inside_an_event_loop_install_does_it(run) -> None:
    """Prefect loads no plugins there."""
    run(
        """
import subprocess, sys
inside = '''
import asyncio
async def main():
    from prefect import flow
    import runvis_prefect
    from runvis_prefect import hooks
    assert flow(lambda: None, name="by itself").on_running_hooks == []
    assert runvis_prefect.install()
    assert flow(lambda: None, name="installed").on_running_hooks == [hooks.flow_hook]
asyncio.run(main())
'''
subprocess.run([sys.executable, "-c", inside], check=True)
""",
        PREFECT_PLUGINS_ENABLED="1",
    )
