"""`runvis doctor`: what is in order here, and what is not."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import typer
from pydantic import BaseModel, SecretStr
from rich.text import Text

from runvis_core.cli.exits import Exit
from runvis_core.cli.options import OutputOption, UrlOption
from runvis_core.cli.output import Format, cell, console, print_page, table
from runvis_core.cli.source import is_server, open_store_at, settings_for
from runvis_core.client import Client
from runvis_core.emit.circuit import public_address
from runvis_core.emit.drain import SpoolStatus, spool_status
from runvis_core.errors import RunVisError
from runvis_core.plugins import list_plugins
from runvis_core.services.answers import Check
from runvis_core.services.clock import check_clock
from runvis_core.settings import Settings, find_toml, variable_name

_PACKAGES: Final = (
    "runvis",
    "pydantic",
    "httpx",
    "orjson",
    "SQLAlchemy",
    "alembic",
    "psycopg",
    "fastapi",
    "uvicorn",
    "apache-airflow",
    "prefect",
)
_MARKS: Final = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "problem": ("✖", "red")}


def doctor_command(output: OutputOption = Format.TABLE, url: UrlOption = None) -> None:
    """Look at settings, store or server, adapters, spool, clock. Exits with 1 if there is a problem.

    Examples:

      runvis doctor

      runvis doctor --url http://runvis:8642 -o json
    """
    settings = settings_for(url)
    checks = [
        *_check_settings(settings),
        _check_versions(),
        *_check_plugins(),
        *_check_spool(settings),
        *_check_far_end(settings),
    ]
    if output is Format.TABLE:
        _print_table(checks)
    else:
        print_page(checks, output, of=Check)
    if any(check.outcome == "problem" for check in checks):
        raise typer.Exit(Exit.FAILED)


def _print_table(checks: Iterable[Check]) -> None:
    rows = table("", "CHECK", "FOUND")
    for check in checks:
        mark, style = _MARKS.get(check.outcome, ("?", "dim"))
        found = cell(check.detail)
        if check.remedy:
            found.append_text(Text("\n→ ").append_text(cell(check.remedy)))
        rows.add_row(Text(mark, style=style), cell(check.name), found)
    console().print(rows)


def _check_settings(settings: Settings) -> list[Check]:
    said = ", ".join(f"{name}={value}" for name, value in _in_force(settings))
    toml = find_toml()
    checks = [
        Check(name="settings", outcome="ok", detail=f"{said}; from variables{f' and {toml.resolve()}' if toml else ''}")
    ]
    if settings.disabled:
        checks.append(
            Check(
                name="settings",
                outcome="warning",
                detail="RUNVIS_DISABLED is set: nothing is recorded here",
                remedy="unset it",
            )
        )
    for outcome, read in (("warning", settings.get_deployment), ("problem", settings.read_token)):
        try:
            read()
        except RunVisError as error:
            # Who only asks needs no deployment.
            checks.append(Check(name="settings", outcome=outcome, detail=str(error)))
    return checks


def _in_force(settings: Settings) -> Iterable[tuple[str, str]]:
    """Yield each setting that is not empty, by its variable; of a secret only that there is one."""
    for name, value in settings:
        if name == "url" and value is not None:
            yield variable_name(name), public_address(value)
        elif isinstance(value, BaseModel):
            for key, inner in value:
                if inner not in ((), {}, None, False):
                    yield variable_name(name, key), _shown(inner)
        elif value not in (None, False):
            yield variable_name(name), _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(hidden)"
    if isinstance(value, dict):
        return f"(hidden: {', '.join(map(str, value))})"  # pyright: ignore[reportUnknownArgumentType]
    return str(value)


def _check_versions() -> Check:
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return Check(name="versions", outcome="ok", detail=", ".join(found))


def _check_plugins() -> list[Check]:
    loaded = list_plugins()
    checks = [
        Check(
            name="plugins",
            outcome="ok",
            detail=", ".join(plugin.name for plugin in loaded if not plugin.error) or "none",
        )
    ]
    return checks + [
        Check(
            name="plugins",
            outcome="problem",
            detail=f"{plugin.name} of {plugin.source} could not be loaded: {plugin.error}",
            remedy="upgrade or uninstall it",
        )
        for plugin in loaded
        if plugin.error
    ]


def _check_spool(settings: Settings) -> list[Check]:
    folder = settings.spool_dir
    try:
        status = spool_status(folder)
        writable = _is_writable(folder)
    except OSError as error:
        return [
            Check(
                name="spool",
                outcome="problem",
                detail=f"{folder} can't be read: {error}",
                remedy="set RUNVIS_SPOOL_DIR",
            )
        ]
    if not writable:
        return [
            Check(
                name="spool",
                outcome="problem",
                detail=f"{folder} can't be written: a process would keep its events in memory only",
                remedy="set RUNVIS_SPOOL_DIR to a folder that this user may write",
            )
        ]
    return _spool_checks(folder, status)


def _is_writable(folder: Path) -> bool:
    if not folder.exists():
        nearest = next(parent for parent in folder.absolute().parents if parent.exists())
        return os.access(nearest, os.W_OK)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _spool_checks(folder: Path, status: SpoolStatus) -> list[Check]:
    waiting = sum(file.pending_events for file in status.files)
    gone = sum(not file.is_alive for file in status.files)
    left = f", {gone} of them left by processes that are gone" if gone else ""
    checks = [
        Check(
            name="spool",
            outcome="warning" if gone else "ok",
            detail=f"{folder}: {waiting} events wait in {len(status.files)} files{left}",
            remedy="run `runvis spool drain`" if gone else None,
        )
    ]
    if status.is_disabled:
        checks.append(
            Check(
                name="spool",
                outcome="warning",
                detail=f"{folder / 'disabled'} switches recording off",
                remedy="remove it",
            )
        )
    if status.dead_letters:
        detail = f"{status.dead_letters} events were refused for good"
        checks.append(
            Check(name="spool", outcome="problem", detail=detail, remedy=f"{folder / 'dead'}/*.jsonl says why")
        )
    if status.lines_set_aside:
        detail = f"{status.lines_set_aside} lines were cut short and set aside"
        checks.append(Check(name="spool", outcome="warning", detail=detail, remedy=f"look at {folder / 'aside'}"))
    if status.outage is not None:
        outage = status.outage
        detail = f"processes here met an outage of {outage.url}: {outage.reason}"
        checks.append(
            Check(name="spool", outcome="warning", detail=detail, remedy="it ends by itself once the store answers")
        )
    return checks


def _check_far_end(settings: Settings) -> list[Check]:
    assert settings.url is not None
    try:
        if not is_server(settings.url):
            with open_store_at(settings, must_exist=True) as store:
                from runvis_core.services.doctor import examine_store

                return examine_store(store, now=datetime.now(UTC))
        with Client(settings) as client:
            asked_at = datetime.now(UTC)
            checks, headers = client.examine()
            answered_at = datetime.now(UTC)
    except RunVisError as error:
        remedy = "see that it runs, and that RUNVIS_URL and RUNVIS_TOKEN are right"
        return [Check(name="store", outcome="problem", detail=str(error), remedy=remedy)]
    server = [
        Check(
            name="server",
            outcome="ok",
            detail=f"{client.url} answered in {(answered_at - asked_at).total_seconds():.2f} s",
        )
    ]
    if "Date" in headers:
        # It names a whole second, taken somewhere between the question and the answer.
        theirs = parsedate_to_datetime(headers["Date"])
        server.append(check_clock("server", theirs - asked_at.replace(microsecond=0)))
    return server + checks
