"""`runvis tokens`: who may bring events, ask, and decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.text import Text

from runvis_core.cli.administration import open_administration
from runvis_core.cli.exits import Group
from runvis_core.cli.options import OutputOption, UrlOption
from runvis_core.cli.output import Format, cell, print_list, print_one
from runvis_core.cli.text import clean, name_moment
from runvis_core.model.decision import Scope
from runvis_core.model.state import Witness
from runvis_core.services.decision_answers import DEFAULT_DAYS, MAX_DAYS, TokenRequest, TokenView

tokens = typer.Typer(cls=Group, no_args_is_help=True, help="API tokens: who may bring events, ask, and decide.")


@tokens.command("new")
def new_command(
    name: Annotated[str, typer.Argument(help="Who has it: stands in each entry that comes with the token.")],
    scope: Annotated[list[Scope], typer.Option(help="What it is for; may be given several times.")],
    deployment: Annotated[
        list[str] | None, typer.Option(help="The installation whose events it may bring; may be given several times.")
    ] = None,
    witness: Annotated[
        list[Witness] | None, typer.Option(help="As whom it may tell them; may be given several times.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="The engine's team whose events alone it may bring.")] = None,
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="In how many days it expires.")] = DEFAULT_DAYS,
    output: OutputOption = Format.TABLE,
    url: UrlOption = None,
) -> None:
    """Issue a token. It is shown this once: the store keeps only its SHA-256.

    Two tokens of one name are valid at once, so that one can be exchanged for the next.

    Examples:

      runvis tokens new airflow-prod --scope ingest --deployment airflow-prod --witness worker --witness scheduler

      runvis tokens new ann --scope read --scope admin --days 30
    """
    try:
        request = TokenRequest(
            name=name,
            scopes=frozenset(scope),
            deployments=frozenset(deployment or ()),
            witnesses=frozenset(witness or ()),
            team=team,
            days=days,
        )
    except ValidationError as error:
        fault = error.errors()[0]
        reason = fault["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(f"{'.'.join(map(str, fault['loc']))}: {reason}") from error
    with open_administration(url) as administration:
        issued = administration.issue_token(request)
    if output is not Format.TABLE:
        print_one(issued, output)
        return
    typer.echo(issued.token)
    said = (
        f"token {issued.token_id} of {issued.name} for {', '.join(issued.scopes)}, until {issued.expires_at:%Y-%m-%d}"
    )
    typer.echo(clean(f"{said}; it is not shown again"), err=True)


@tokens.command("list")
def list_command(output: OutputOption = Format.TABLE, url: UrlOption = None) -> None:
    """List all tokens that were ever issued, newest first, without the tokens themselves.

    Examples:

      runvis tokens list
    """
    with open_administration(url) as administration:
        items = administration.list_tokens()
    print_list(items, output, _COLUMNS, of=TokenView, nothing="no tokens")


def _bound_to(token: TokenView) -> str:
    parts = [", ".join(token.deployments), ", ".join(token.witnesses), f"team {token.team}" if token.team else ""]
    return "; ".join(part for part in parts if part) or "–"


_COLUMNS: Final[Mapping[str, Callable[[TokenView], Text | str]]] = {
    "ID": lambda token: cell(token.token_id),
    "NAME": lambda token: cell(token.name),
    "SCOPES": lambda token: cell(", ".join(token.scopes)),
    "FOR": lambda token: cell(_bound_to(token)),
    "ISSUED (UTC)": lambda token: name_moment(token.issued_at),
    "BY": lambda token: cell(token.issued_by),
    "EXPIRES (UTC)": lambda token: name_moment(token.expires_at),
    "VALID": lambda token: "yes" if token.valid else ("revoked" if token.revoked_at else "expired"),
}


@tokens.command("revoke")
def revoke_command(
    token_id: Annotated[str, typer.Argument(help="The token's id, as the list has it.")],
    reason: Annotated[str | None, typer.Option(help="Why: it stands in the log.")] = None,
    url: UrlOption = None,
) -> None:
    """Revoke a token: servers refuse it within two seconds.

    Examples:

      runvis tokens revoke 6f1c7a52 --reason "left the team"
    """
    with open_administration(url) as administration:
        revoked = administration.revoke_token(token_id, reason=reason)
    typer.echo(clean(f"token {revoked.token_id} of {revoked.name} is revoked"))
