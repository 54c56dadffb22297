"""`runvis audit`, `runvis erase`: what was decided about the store itself, and the decision that removes bodies."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from runvis_core.cli.administration import open_administration
from runvis_core.cli.exits import Exit, Group
from runvis_core.cli.options import LimitOption, OutputOption, UrlOption, understand
from runvis_core.cli.output import Format, cell, console, print_one, print_page, table
from runvis_core.cli.text import clean, name_moment
from runvis_core.services.decision_answers import AuditItem, AuditQuery, ErasureRequest

audit = typer.Typer(cls=Group, no_args_is_help=True, help="What people and tokens decided and did.")


@audit.command("list")
def list_command(
    name: Annotated[
        str | None, typer.Option(help="Only what has this name, e.g. 'erasure', 'token issued', 'read'.")
    ] = None,
    before: Annotated[int | None, typer.Option(min=1, help="Only what came before this position.")] = None,
    limit: LimitOption = 50,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """List what was decided about the store and who looked at it, newest first. Each is an entry of the log.

    Examples:

      runvis audit list

      runvis audit list --name erasure -o json
    """
    asked = understand(AuditQuery, before=before, name=name, limit=limit)
    with open_administration(url) as administration:
        page = administration.list_audit(limit=asked.limit, before=asked.before, name=asked.name)
    if output in (Format.JSONL, Format.CSV):
        print_page(page.items, output, of=AuditItem)
        return
    if output is Format.JSON:
        print_one(page, output)
        return
    if not page.items:
        typer.echo("nothing was decided yet", err=True)
        return
    rows = table("POSITION", "WHEN (UTC)", "WHO", "WHAT", "ABOUT", "WHY")
    for item in page.items:
        rows.add_row(
            str(item.position),
            name_moment(item.occurred_at),
            cell(item.principal),
            cell(item.name),
            cell(_about(item)),
            cell(item.reason),
        )
    console().print(rows)
    if page.before is not None:
        typer.echo(f"there are more: --before {page.before}", err=True)


def _about(item: AuditItem) -> str:
    if item.name == "erasure":
        bodies = item.details.get("bodies")
        return f"{item.subject}: {len(bodies) if isinstance(bodies, list) else 0} bodies"
    return f"{item.subject} {json.dumps(item.details, ensure_ascii=False)}" if item.details else item.subject


def erase_command(
    run: Annotated[str, typer.Argument(help="The run, by any of its names.")],
    reason: Annotated[str, typer.Option(help="Why. It stays in the log for good: say nothing of what is erased.")],
    body: Annotated[
        list[str] | None,
        typer.Option(help="Only this body: parameters, conf, message, traceback, tail, …; may be given several times."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")] = False,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Erase the bodies of a run: inputs, messages, tracebacks, log lines, people's names, with their salts.

    What happened, and that something was erased, by whom and why, stays in the log. A legal hold wins: then nothing
    is erased, and the exit status is 1.

    Examples:

      runvis erase 6f1c7a52 --dry-run --reason "a person's request"

      runvis erase 6f1c7a52 --body traceback --reason "a password in it"
    """
    request = understand(ErasureRequest, run=run, bodies=frozenset(body or ()), reason=reason, dry_run=dry_run)
    with open_administration(url) as administration:
        done = administration.erase(request)
    if output is not Format.TABLE:
        print_one(done, output)
    else:
        for item in done.bodies:
            typer.echo(clean(f"entry {item.position}: {item.name}"))
        said = "would be erased" if dry_run else "are erased"
        by = f" by decision {', '.join(map(str, done.decisions))}" if done.decisions else ""
        typer.echo(clean(f"{len(done.bodies)} bodies of run {done.run_id} {said}{by}"))
        if done.remaining:
            typer.echo(clean(f"what may be left: {done.remaining}"), err=True)
    if done.held_by:
        typer.echo(clean(f"a legal hold covers the run: {', '.join(done.held_by)}"), err=True)
        raise typer.Exit(Exit.FAILED)
