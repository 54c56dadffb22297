"""`runvis notify`: whom the server tells of what, and whether they take it."""

from __future__ import annotations

from typing import Annotated

import typer

from runvis_core.cli.exits import Exit, Group
from runvis_core.cli.options import OutputOption, UrlOption
from runvis_core.cli.output import Format, cell, console, print_page, table
from runvis_core.cli.source import open_source
from runvis_core.cli.text import clean, name_moment
from runvis_core.errors import NotFoundError, SettingsError
from runvis_core.services.filters import RunFilter
from runvis_core.services.notify.answers import RuleStatus
from runvis_core.settings import load_settings

notify = typer.Typer(cls=Group, no_args_is_help=True, help="Whom the server tells of what, and whether they take it.")


@notify.command("status")
def status_command(url: UrlOption = None, output: OutputOption = Format.TABLE) -> None:
    """Say how each rule is doing: what waits, what was sent. Exits with 1 if a receiver doesn't take notices.

    Examples:

      runvis notify status

      runvis notify status --url https://runvis.example -o json
    """
    with open_source(url) as source:
        rules = source.list_notice_rules().items
    if output is not Format.TABLE:
        print_page(rules, output, of=RuleStatus)
    elif not rules:
        typer.echo("no rule has begun: set RUNVIS__NOTIFY__RULES where `runvis serve` runs")
    else:
        rows = table("RULE", "PENDING", "SENT", "QUIET", "REFUSED", "BEHIND", "LAST", "TROUBLE")
        for rule in rules:
            numbers = (rule.pending, rule.sent, rule.quiet, rule.refused, rule.behind)
            rows.add_row(
                cell(rule.rule), *map(str, numbers), name_moment(rule.last_settled_at), cell(rule.error or rule.refusal)
            )
        console().print(rows)
    if any(rule.error or rule.refused for rule in rules):
        raise typer.Exit(Exit.FAILED)


@notify.command("test")
def try_command(
    rule: Annotated[str, typer.Argument(help="The rule's name, as in the settings.")],
    url: UrlOption = None,
) -> None:
    """Send a notice that is marked as a test, about the newest run that the rule's filter lets through.

    Needs the same settings as the server has. Exits with 4 if the receiver can't be reached, with 1 if it refuses.

    Examples:

      runvis notify test failures
    """
    try:
        from runvis_core.services.notify.rules import get_rule
        from runvis_core.services.notify.sample import send_test
    except ImportError as error:
        raise SettingsError(
            f"notices need more than is installed here ({error.name}): pip install 'runvis[server]'"
        ) from error
    settings = load_settings(url=url)
    found = get_rule(settings, rule)
    with open_source(url) as source:
        runs = source.list_runs(found.filters, limit=1).items or source.list_runs(RunFilter(), limit=1).items
    if not runs:
        raise NotFoundError("there is no run yet to tell of: record one first")
    answer = send_test(found, settings.find_public_url(), run=runs[0])
    if answer.is_taken:
        typer.echo(f"{clean(found.public_receiver)} took the test notice")
        return
    typer.echo(f"runvis: {clean(answer.reason)}", err=True)
    raise typer.Exit(Exit.FAILED if answer.is_answered else Exit.UNREACHABLE)
