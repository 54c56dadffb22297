"""`runvis serve` and `runvis follow`: what goes on until it is ended."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from runvis_core.cli.options import StoreOption
from runvis_core.cli.source import open_store_at, settings_for
from runvis_core.cli.text import clean
from runvis_core.errors import SettingsError
from runvis_core.services.followers import find_follower
from runvis_core.services.logs import set_up_logs
from runvis_core.services.signals import ended_by_sigterm

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
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="How many processes serve; one of them leads.")
    ] = 1,
) -> None:
    """Take events over HTTP, keep the store, answer questions.

    Examples:

      runvis serve

      runvis serve --host 0.0.0.0 --token-file /run/secrets/runvis --url postgresql://runvis@db/runvis

      runvis serve --follow airflow=http://localhost:8080

      runvis serve --follow prefect=http://localhost:4200/api

      runvis serve --workers 4 --url postgresql://runvis@db/runvis
    """
    settings = settings_for(url, token_file=token_file)
    followers = dict(_follower_at(said) for said in follow or [])
    set_up_logs(settings.server.log_format)
    # Opened here even where workers do the work: what is wrong with it is said once, before anything is begun.
    with open_store_at(settings) as store:
        try:
            from runvis_core.api.server import serve
            from runvis_core.api.workers import serve_with_workers
            from runvis_core.web.app import create_site
        except ImportError as error:
            raise SettingsError(
                f"serving needs more than is installed here ({error.name}): pip install 'runvis[server]'"
            ) from error
        if workers == 1:
            found = {engine: (find_follower(engine), address) for engine, address in followers.items()}
            with ended_by_sigterm():
                serve(
                    store,
                    settings,
                    host=host,
                    port=port,
                    followers=found,
                    on_ready=_say_ready,
                    make_app=create_site,
                )
            return
    for engine in followers:
        find_follower(engine)
    with ended_by_sigterm():
        serve_with_workers(
            settings,
            number=workers,
            host=host,
            port=port,
            followers=followers,
            on_ready=_say_ready,
            make_app=create_site,
        )


def _say_ready(address: str) -> None:
    typer.echo(f"RunVis serves at {address}")


def _follower_at(said: str) -> tuple[str, str]:
    engine, equals, address = said.partition("=")
    if not equals or "://" not in address:
        raise typer.BadParameter(
            f"{said!r}: say an engine and its address, e.g. airflow=http://localhost:8080", param_hint="--follow"
        )
    return engine, address


def follow_command(
    engine: Annotated[str, typer.Argument(help="The engine: airflow, prefect, …")],
    address: Annotated[str, typer.Argument(help="The address of its API.")],
    url: StoreOption = None,
) -> None:
    """Read an engine's own API as it goes, into the store, until ended. `runvis serve --follow` does so, too.

    Examples:

      runvis follow airflow http://localhost:8080 --url postgresql://runvis@db/runvis

      runvis follow prefect http://localhost:4200/api --url postgresql://runvis@db/runvis
    """
    follow = find_follower(engine)
    settings = settings_for(url)
    set_up_logs(settings.server.log_format)
    stop = threading.Event()
    with open_store_at(settings) as store, ended_by_sigterm():
        try:
            follow(address, store=store, settings=settings, stop=stop)
        except KeyboardInterrupt:
            stop.set()
            typer.echo(f"no longer following {clean(engine)}", err=True)
