"""Run the flows of prefect_flows/ on a real Prefect and write what its hooks were given as fixtures.

    RUNVIS_TEST_PREFECT_PYTHON=.venv-prefect/bin/python python tests/end_to_end/dump_prefect_hooks.py

One file per flow: a list of calls `{"hook", "definition", "run", "state", "exception_in_flight"}`. Values that JSON
lacks are tagged: `$time`, `$uuid`, `$seconds`, `$exception`, `$repr`.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

from runvis_core.cli.demo.engines import PrefectEngine

FLOWS = Path(__file__).parent / "prefect_flows"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "prefect"


def dump_flow(engine: PrefectEngine, name: str, *, terminate: bool = False) -> None:
    dump, ready = engine.folder / f"{name}.jsonl", engine.folder / f"{name}.ready"
    variables = {"RECORDING": "dump", "DUMP_FILE": str(dump), "READY_FILE": str(ready)}
    with engine.start_flow(FLOWS / f"{name}.py", **variables) as flow:
        if terminate:
            flow.wait_until(ready.exists, what="ready file", timeout_seconds=60)
            flow.send_signal(signal.SIGTERM)
        status = flow.wait(timeout_seconds=90)
    calls = dump.read_text().splitlines()
    (FIXTURES / f"{name}.raw.json").write_text(neutral("[\n" + ",\n".join(calls) + "\n]\n"))
    print(f"{name}: {len(calls)} hook calls, exit status {status}")


def neutral(text: str) -> str:
    """Fixtures name no path of the machine that made them."""
    python = Path(os.environ["RUNVIS_TEST_PREFECT_PYTHON"]).absolute()
    places = {python.parents[1]: "/venv", python.resolve().parents[1]: "/python", FLOWS: "/flows"}
    for place, name in places.items():
        text = text.replace(str(place), name)
    return text


def main() -> None:
    python = Path(os.environ["RUNVIS_TEST_PREFECT_PYTHON"]).absolute()
    FIXTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, PrefectEngine(python, Path(folder)) as engine:
        for name in ("success", "retry", "failure", "cached", "mapped", "subflow"):
            dump_flow(engine, name)
        dump_flow(engine, "waiting", terminate=True)


if __name__ == "__main__":
    main()
