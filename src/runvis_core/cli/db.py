"""`runvis db`: the store's own state."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from runvis_core.cli.exits import Exit, Group
from runvis_core.cli.options import StoreOption
from runvis_core.cli.output import progress_bar
from runvis_core.cli.source import open_store_at, settings_for
from runvis_core.cli.text import clean

db = typer.Typer(cls=Group, no_args_is_help=True, help="The store's schema and its own state.")


@db.command("upgrade")
def upgrade_command(url: StoreOption = None) -> None:
    """Bring the store to the schema that this RunVis works on; one that is there already is left as it is.

    Examples:

      runvis db upgrade --url postgresql://runvis@db/runvis
    """
    with open_store_at(settings_for(url), upgrade=True) as store:
        from runvis_core.store.schema import schema_version

        typer.echo(f"{clean(store.url)} has schema {schema_version(store.engine)}")


@db.command("check")
def check_command(url: StoreOption = None) -> None:
    """Recompute what can be recomputed: hashes, positions, triggers, projections. Exits with 1 if something is wrong.

    Examples:

      runvis db check
    """
    with open_store_at(settings_for(url), must_exist=True) as store, progress_bar("checking") as progress:
        from runvis_core.store.check import check_store

        problems = check_store(store, progress=progress)
    for problem in problems:
        typer.echo(clean(problem))
    if problems:
        typer.echo(f"runvis: {len(problems)} problems", err=True)
        raise typer.Exit(Exit.FAILED)
    typer.echo("the log and what is derived from it agree")


@db.command("rebuild")
def rebuild_command(url: StoreOption = None) -> None:
    """Derive all projections anew from the log. Stop the server and other writers first.

    Examples:

      runvis db rebuild --url sqlite:///runvis.db
    """
    with open_store_at(settings_for(url), must_exist=True) as store, progress_bar("rebuilding") as progress:
        from runvis_core.services.steps import STEPS
        from runvis_core.store.rebuild import rebuild_store
        from runvis_core.store.steps import catch_up

        rebuild_store(store, progress=progress)
        catch_up(store, STEPS)
    typer.echo("the projections are derived anew")


@db.command("new-epoch")
def new_epoch_command(
    reason: Annotated[str, typer.Option(help="Why the log can't go on from what was signed before, in one line.")],
    url: StoreOption = None,
) -> None:
    """Declare that the log goes on under a new name, after an older copy of the store was restored.

    What was signed before and is not in this store stays what it is: a lost end, declared, and no second history.

    Examples:

      runvis db new-epoch --reason "restored from the backup of 3 May after the disk failed"
    """
    settings = settings_for(url)
    with open_store_at(settings, must_exist=True) as store:
        from runvis_core.services.checkpoints import declare_epoch
        from runvis_core.services.decisions import local_principal

        note = declare_epoch(store, settings, reason=reason, principal=local_principal(), now=datetime.now(UTC))
    typer.echo(clean(note, keep_lines=True), nl=False)


@db.command("roles")
def roles_command(
    prefix: Annotated[str, typer.Option(help="What the roles' names begin with.")] = "runvis",
    url: StoreOption = None,
) -> None:
    """Set up the roles of a PostgreSQL store: owner, writer, reader, archivist. It needs a superuser.

    To do it again puts right what was changed. Nobody logs in as the owner. The others have no password yet: give them
    one, or another way to log in.

    Examples:

      runvis db roles --url postgresql://postgres@db/runvis
    """
    with open_store_at(settings_for(url), must_exist=True) as store:
        from runvis_core.store.roles import create_roles

        roles = create_roles(store.engine, prefix=prefix)
    typer.echo(f"{roles.owner} owns all and can't log in; servers connect as {roles.writer},")
    typer.echo(f"who only looks as {roles.reader}, the archive as {roles.archivist}")
