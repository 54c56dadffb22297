"""The command `runvis demo`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from runvis_core.cli.demo.engines import (
    AirflowEngine,
    EngineError,
    EngineProcess,
    PrefectEngine,
    answers,
    clean_environment,
    free_port,
)
from runvis_core.cli.lineage import loops_command
from runvis_core.cli.output import console
from runvis_core.cli.runs import compare_command, list_command, show_command
from runvis_core.cli.source import open_source
from runvis_core.emit.drain import drain_spool
from runvis_core.errors import SettingsError
from runvis_core.model.state import State
from runvis_core.services.answers import RunSummary
from runvis_core.services.filters import RunFilter
from runvis_core.settings import load_settings

STORY: Final = Path(__file__).parent / "story"
AIRFLOW_PYTHON: Final = "RUNVIS_DEMO_AIRFLOW_PYTHON"
PREFECT_PYTHON: Final = "RUNVIS_DEMO_PREFECT_PYTHON"
DEPLOYMENT: Final = "demo"
LOOP: Final = "restock"
"""The DAG that has Prefect make a forecast, which starts it again."""
TURNS: Final = 2
"""How often it does: as `story/airflow/shop.py` says."""
RETURNS: Final = "returns"
"""The DAG that pays order 3 back, and fails at order 4."""
RETURNED: Final = {3: "success", 4: "failed"}
TRIGGERED: Final = (LOOP, "orders")
"""The DAGs that the demo starts besides; `orders` goes on to start the others."""
DAGS: Final = {"orders": "success", "invoice": "success", "report": "success"}
"""How the run of each DAG is meant to end."""
STORY_SECONDS: Final = 240
LIMIT: Final = 200


def demo_command(
    folder: Annotated[
        Path, typer.Option(help="Where the engines, their logs and the store go; the store is kept from run to run.")
    ] = Path(".demo"),
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep the pages up over the store, until interrupted.")
    ] = False,
) -> None:
    """Run a real Airflow and a real Prefect into one history, and look at it.

    The engines' environments are named by RUNVIS_DEMO_AIRFLOW_PYTHON and RUNVIS_DEMO_PREFECT_PYTHON; `make demo` makes
    them and sets both.

    Examples:

      make demo

      make demo SERVE=1
    """
    airflow_python, prefect_python = _python(AIRFLOW_PYTHON), _python(PREFECT_PYTHON)
    folder = folder.absolute()
    store = folder / "runvis.db"
    begun_at = datetime.now(UTC)
    with _ended_by_sigterm(), ExitStack() as running:
        server, url = running.enter_context(_server(folder, store))
        spool = folder / "spool"
        variables = {"RUNVIS_URL": url, "RUNVIS_DEPLOYMENT": DEPLOYMENT, "RUNVIS_SPOOL_DIR": str(spool)}
        with _forecasts(prefect_python, folder, variables) as (api_url, is_served):
            _tell_the_story(airflow_python, folder, {**variables, "SHOP_PREFECT_API": api_url}, is_served)
        with _step("The last events reach the store"):
            # On a slow machine a process may have ended before it had delivered all it said.
            drain_spool(load_settings(url=url, deployment=DEPLOYMENT, spool_dir=spool))
            server.wait_until(lambda: _all_ended(url, begun_at), what="end of every run", timeout_seconds=30)
    _show(f"sqlite:///{store}", begun_at)
    _say_what_next(folder, store)
    if serve:
        _keep_serving(folder, store)


def _python(variable: str) -> Path:
    named = os.environ.get(variable)
    if not named:
        raise SettingsError(
            f"{variable} is not set: it names the Python of an environment with that engine; use make demo"
        )
    if not Path(named).is_file():
        raise SettingsError(f"{variable}={named}: there is no such file; `make demo` makes the environment and sets it")
    # Not resolved: the link in the environment is what makes it that environment's Python.
    return Path(named).absolute()


@contextmanager
def _server(folder: Path, store: Path) -> Generator[tuple[EngineProcess, str]]:
    """Serve the store on loopback; yield the server and its address."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-c", "from runvis_core.cli import main; main()", "serve"]
    server = EngineProcess(
        "runvis serve",
        [*command, "--url", f"sqlite:///{store}", "--port", url.rpartition(":")[2]],
        environment=clean_environment(),
        log_path=folder / "server.log",
        folder=folder,
    )
    with server:
        with _step("RunVis serves a SQLite store"):
            server.wait_until(lambda: answers(f"{url}/health/ready"), what="ready server", timeout_seconds=60)
        yield server, url


def _keep_serving(folder: Path, store: Path) -> None:
    with _ended_by_sigterm(), _server(folder, store) as (server, url):
        console().print(f"\nLook at it: [bold]{url}[/bold] (Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):
            server.wait(timeout_seconds=float("inf"))


@contextmanager
def _forecasts(python: Path, folder: Path, variables: dict[str, str]) -> Generator[tuple[str, Callable[[], None]]]:
    """Serve the flow as a deployment of a Prefect server of its own; yield its API, and a wait for the deployment."""
    home = folder / "prefect"
    _empty(home)
    with ExitStack() as running:
        with _step("Prefect starts its server"):
            engine = running.enter_context(PrefectEngine(python, home))
        api_url = engine.api_url
        assert api_url is not None, "this engine has a server"
        script = STORY / "prefect" / "forecast.py"
        often = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_LOGGING_LEVEL": "WARNING"}
        # It gets ready while Airflow starts.
        served = running.enter_context(engine.start_flow(script, **variables, **often))

        def wait() -> None:
            known = f"{api_url}/deployments/name/forecast/shop"
            served.wait_until(lambda: answers(known), what="deployment forecast/shop", timeout_seconds=120)

        yield api_url, wait


def _tell_the_story(python: Path, folder: Path, variables: dict[str, str], is_served: Callable[[], None]) -> None:
    """Run the DAGs in an Airflow of their own, one of them in a loop with Prefect's flow, and end it again."""
    home = folder / "airflow"
    _empty(home)
    with ExitStack() as running:
        with _step("Airflow starts"):
            engine = AirflowEngine(python, home, dags=STORY / "airflow", variables=variables)
            running.enter_context(engine)
            engine.wait_for_dags(*DAGS, RETURNS, LOOP)
            is_served()
        with _step("Airflow and Prefect run, and start one another"):
            for dag_id in TRIGGERED:
                engine.trigger(dag_id)
            returned: list[str] = []
            for order in RETURNED:
                engine.trigger(RETURNS, order=order)
                returned = engine.wait_for_chain(RETURNS, runs=len(returned) + 1, timeout_seconds=STORY_SECONDS)
            states = engine.wait_for_runs(*DAGS, timeout_seconds=STORY_SECONDS)
            turns = engine.wait_for_chain(LOOP, runs=TURNS + 1, timeout_seconds=STORY_SECONDS)
        if states != DAGS or returned != list(RETURNED.values()) or turns != ["success"] * (TURNS + 1):
            raise EngineError(
                f"the story went otherwise: {states}, {returned} and {turns}; see the logs in {home / 'logs'}"
            )
        with _step("Airflow ends"):
            engine.stop()


def _empty(folder: Path) -> None:
    """Engines begin anew each time; what they did before is in the store."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


@contextmanager
def _step(what: str) -> Generator[None]:
    """Show a step while it goes on, and how long it took."""
    begun_at = datetime.now(UTC)
    screen = Console(stderr=True, highlight=False)
    with screen.status(f"{what} …"):
        yield
    seconds = (datetime.now(UTC) - begun_at).total_seconds()
    screen.print(f"[green]✓[/green] {what} [dim]{seconds:.0f} s[/dim]")


@contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """Let SIGTERM end this as Ctrl-C does: what was started must be ended."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _runs_since(url: str, moment: datetime, **filters: Any) -> list[RunSummary]:
    with open_source(url) as source:
        return source.list_runs(RunFilter(since=moment, deployment=DEPLOYMENT, **filters), limit=LIMIT).items


def _all_ended(url: str, since: datetime) -> bool:
    """Whether every run that was heard of has ended, each DAG's and those of the flow among them."""
    runs = _runs_since(url, since)
    told = {run.definition for run in runs}
    ended = all(run.effective_state is not None and run.effective_state.is_terminal for run in runs)
    names = [run.definition for run in runs]
    turned = names.count("forecast") >= TURNS and names.count(RETURNS) >= len(RETURNED)
    return ended and turned and told >= {*DAGS, RETURNS, LOOP}


def _show(url: str, since: datetime) -> None:
    screen = console()
    screen.print("\n[bold]$ runvis runs list[/bold]")
    list_command(url=url, since=since, deployment=DEPLOYMENT, limit=LIMIT)
    for definition in ("orders", LOOP):
        # The first one: what it started is under it.
        name = str(_runs_since(url, since, definition=definition, state=[State.SUCCEEDED])[-1].run_id)[:8]
        screen.print(f"\n[bold]$ runvis runs show {name} --tree[/bold]")
        show_command(name, tree=True, url=url)
    name = str(_runs_since(url, since, definition=RETURNS, state=[State.FAILED])[0].run_id)[:8]
    screen.print(f"\n[bold]$ runvis runs compare {name} --last-success[/bold]")
    compare_command(name, last_success=True, url=url)
    screen.print("\n[bold]$ runvis lineage loops[/bold]")
    loops_command(url=url)


def _say_what_next(folder: Path, store: Path) -> None:
    screen = console()
    screen.print(f"\nAll that was started has ended. The store is [bold]{store}[/bold], logs are in {folder}.")
    screen.print("Ask it more:\n")
    screen.print(f"  export RUNVIS_URL=sqlite:///{store}", soft_wrap=True)
    for command in ("runs list --state Failed", "lineage show s3://shop/forecast", "definitions list", "serve"):
        screen.print(f"  runvis {command}")
    screen.print('\nThe engines have ended too, so a page\'s "Open in airflow" or "Open in prefect" leads nowhere now.')
