"""The floors of DESIGN hold, and the check that says so sees what breaks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# What an adapter may import of the core; the contract forbids the rest by name.
OPEN_TO_ADAPTERS = {
    *("model", "emit", "context", "errors", "settings", "worker_settings", "settings_sources", "hookspecs", "plugins")
}


def check_floors(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copied_project(tmp_path: Path) -> Path:
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    shutil.copytree(PROJECT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_floors_hold(copied_project: Path) -> None:
    result = check_floors(copied_project)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_folder_that_no_floor_names_is_refused(copied_project: Path) -> None:
    folder = copied_project / "src/runvis_core/undeclared"
    folder.mkdir()
    (folder / "__init__.py").write_text("")

    result = check_floors(copied_project)

    assert result.returncode != 0
    assert "undeclared" in result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("runvis_core/model", "import runvis_core.emit"),
        ("runvis_core/model", "import sqlalchemy"),
        ("runvis_core/model", "import httpx"),
        ("runvis_core/emit", "import runvis_core.store"),
        ("runvis_core/store", "import runvis_core.emit"),
        ("runvis_core/services", "import runvis_core.cli"),
        ("runvis_core/services", "import runvis_airflow"),
        ("runvis_airflow", "import runvis_core.store"),
        ("runvis_airflow", "import runvis_core.services"),
        ("runvis_airflow", "import runvis_prefect"),
        ("runvis_prefect", "import fastapi"),
        ("runvis_prefect", "import runvis_airflow"),
    ],
)
def test_an_import_from_a_floor_that_is_not_below_is_refused(copied_project: Path, module: str, line: str) -> None:
    (copied_project / "src" / module / "trespass.py").write_text(f"{line}\n")

    result = check_floors(copied_project)

    assert result.returncode != 0
    assert "trespass" in result.stdout


@pytest.mark.parametrize("adapter", ["runvis_airflow", "runvis_prefect"])
@pytest.mark.parametrize("module", ["follower", "importer"])
def test_what_runs_beside_an_engine_may_use_the_services(copied_project: Path, adapter: str, module: str) -> None:
    (copied_project / "src" / adapter / f"{module}.py").write_text("import runvis_core.services\n")

    result = check_floors(copied_project)

    assert result.returncode == 0, result.stdout + result.stderr


def test_every_part_of_the_core_is_either_open_or_closed_to_adapters() -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [worker] = [contract for contract in contracts if contract["name"].startswith("A worker needs")]
    closed = {
        name.removeprefix("runvis_core.") for name in worker["forbidden_modules"] if name.startswith("runvis_core.")
    }
    parts = {path.stem for path in (PROJECT / "src/runvis_core").iterdir() if path.suffix in {"", ".py"}}

    assert parts - {"__init__", "__pycache__"} - OPEN_TO_ADAPTERS == closed
