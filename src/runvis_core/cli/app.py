"""All commands of `runvis`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from runvis_core.cli.audit import audit, erase_command
from runvis_core.cli.completeness import completeness_command
from runvis_core.cli.corrections import corrections
from runvis_core.cli.db import db
from runvis_core.cli.definitions import definitions
from runvis_core.cli.demo.command import demo_command
from runvis_core.cli.doctor import doctor_command
from runvis_core.cli.evidence import evidence_command
from runvis_core.cli.exits import Group
from runvis_core.cli.holds import holds
from runvis_core.cli.keys import keys
from runvis_core.cli.ledger import checkpoint_command, prove_command, verify_command, verify_proof_command
from runvis_core.cli.lineage import lineage
from runvis_core.cli.notify import notify
from runvis_core.cli.plugins import plugins_command
from runvis_core.cli.redact import redact
from runvis_core.cli.runs import runs
from runvis_core.cli.search import search_command
from runvis_core.cli.serve import follow_command, serve_command
from runvis_core.cli.spool import spool
from runvis_core.cli.stats import health_command, stats_command
from runvis_core.cli.tokens import tokens
from runvis_core.plugins import plugin_manager

app = typer.Typer(cls=Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runvis {version('runvis')}")
        raise typer.Exit


@app.callback()
def runvis(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and exit.")
    ] = False,
) -> None:
    """The flight recorder of orchestrators: what ran, when, why, and how it ended.

    Exit status: 0 all is well, 1 it failed or found a problem, 2 the command line or a setting is wrong, 3 there is no
    such thing, 4 the store or server can't be reached.
    """


app.add_typer(runs, name="runs")
app.add_typer(definitions, name="definitions")
app.add_typer(corrections, name="corrections")
app.add_typer(lineage, name="lineage")
app.add_typer(spool, name="spool")
app.add_typer(db, name="db")
app.add_typer(tokens, name="tokens")
app.add_typer(audit, name="audit")
app.add_typer(redact, name="redact")
app.add_typer(holds, name="holds")
app.add_typer(notify, name="notify")
app.command("demo")(demo_command)
app.command("stats")(stats_command)
app.command("health")(health_command)
app.command("search")(search_command)
app.command("serve")(serve_command)
app.command("follow")(follow_command)
app.command("completeness")(completeness_command)
app.command("evidence")(evidence_command)
app.command("erase")(erase_command)
app.command("doctor")(doctor_command)
app.add_typer(keys, name="keys")
app.command("checkpoint")(checkpoint_command)
app.command("verify")(verify_command)
app.command("prove")(prove_command)
app.command("verify-proof")(verify_proof_command)
app.command("plugins")(plugins_command)
for _ in plugin_manager().ask("runvis_cli", group=app):
    pass
