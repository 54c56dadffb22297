from __future__ import annotations

import json
import subprocess
import sys

HEAVY = [
    "sqlalchemy",
    "alembic",
    "networkx",
    "fastapi",
    "uvicorn",
    "rich",
    "typer",
    "psycopg",
    "httpx",
    "runvis_core.settings",
    "runvis_core.store",
]


def loaded_after(code: str) -> list[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    return json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)


def test_a_worker_loads_nothing_that_it_does_not_need() -> None:
    assert loaded_after("import runvis_core.emit.process, runvis_core.emit.logring, runvis_core.emit.current") == []


def test_the_package_itself_loads_nothing_at_all() -> None:
    script = (
        "import runvis_core, sys; print('pydantic' in sys.modules); print(runvis_core.current_run().metric('x', 1))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert said.split() == ["False", "None"]
