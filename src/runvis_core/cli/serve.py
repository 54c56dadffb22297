"""`runvis serve` and `runvis follow`: what goes on until it is ended."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from runvis_core.cli.options import StoreOption
from runvis_core.cli.source import open_store_at, settings_for
from runvis_core.cli.text import clean
from runvis_core.errors import SettingsError
from runvis_core.plugins import plugin_manager

DEFAULT_PORT = 8642


def serve_command(
    host: Annotated[
        str, typer.Option(help="The address to listen on; beyond this machine only with a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    url: StoreOption = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that callers must have.", show_default="RUNVIS_TOKEN_FILE"),
    ] = None,
    follow: Annotated[
        list[str] | None,
        typer.Option(metavar="ENGINE=URL", help="Read this engine's own API, too; may be given several times."),
    ] = None,
) -> None:
    """Take events over HTTP, keep the store, answer questions.

    Examples:

      runvis serve

      runvis serve --host 0.0.0.0 --token-file /run/secrets/runvis --url postgresql://runvis@db/runvis

      runvis serve --follow airflow=http://localhost:8080
    """
    settings = settings_for(url, token_file=token_file)
    followers = dict(_follower_at(said) for said in follow or [])
    _log_to_stderr()
    with open_store_at(settings) as store:
        try:
            from runvis_core.api.server import serve
            from runvis_core.web.app import create_site
        except ImportError as error:
            raise SettingsError(
                f"serving needs more than is installed here ({error.name}): pip install 'runvis[server]'"
            ) from error
        with _ended_by_sigterm():
            serve(
                store,
                settings,
                host=host,
                port=port,
                followers=followers,
                on_ready=_say_ready,
                make_app=create_site,
            )


def _say_ready(address: str) -> None:
    typer.echo(f"RunVis serves at {address}")


def _follower_at(said: str) -> tuple[str, tuple[Callable[..., None], str]]:
    engine, equals, address = said.partition("=")
    if not equals or "://" not in address:
        raise typer.BadParameter(
            f"{said!r}: say an engine and its address, e.g. airflow=http://localhost:8080", param_hint="--follow"
        )
    return engine, (find_follower(engine), address)


def find_follower(engine: str) -> Callable[..., None]:
    """Return the follower of an engine. Raises `SettingsError`, naming those that there are."""
    found: dict[str, Any] = {}
    for answer in plugin_manager().ask("runvis_followers"):
        found |= dict(answer.value or {})
    if engine not in found:
        there = ", ".join(sorted(found)) or "none"
        raise SettingsError(
            f"no plugin follows {engine!r}; followers that are installed: {there} (see `runvis plugins`)"
        )
    return found[engine]


def follow_command(
    engine: Annotated[str, typer.Argument(help="The engine: airflow, …")],
    address: Annotated[str, typer.Argument(help="The address of its API.")],
    url: StoreOption = None,
) -> None:
    """Read an engine's own API as it goes, into the store, until ended. `runvis serve --follow` does so, too.

    Examples:

      runvis follow airflow http://localhost:8080 --url postgresql://runvis@db/runvis
    """
    follow = find_follower(engine)
    settings = settings_for(url)
    _log_to_stderr()
    stop = threading.Event()
    with open_store_at(settings) as store, _ended_by_sigterm():
        try:
            follow(address, store=store, settings=settings, stop=stop)
        except KeyboardInterrupt:
            stop.set()
            typer.echo(f"no longer following {clean(engine)}", err=True)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # They say each request and each step of an upgrade.
    for name in ("httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """Let SIGTERM end this as Ctrl-C does, so that what was begun is ended in order."""

    def interrupt(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
