"""`runvis evidence`: an auditor's pack."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runvis_core.cli.options import DeploymentOption, EngineOption, StoreOption, parse_moment
from runvis_core.cli.source import open_store_at, settings_for


def evidence_command(
    definition: Annotated[str, typer.Option(help="The definition whose runs it is about.")],
    since: Annotated[datetime, typer.Option("--from", parser=parse_moment, metavar="TIME", help="From then on.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder, or a new file that ends in .zip.")],
    until: Annotated[
        datetime | None,
        typer.Option("--to", parser=parse_moment, metavar="TIME", help="Before then.", show_default="now"),
    ] = None,
    engine: EngineOption = None,
    deployment: DeploymentOption = None,
    url: StoreOption = None,
) -> None:
    """Write an auditor's pack: a definition's runs, corrections, what is missing, erasures, and how to check it all.

    The same log gives the same pack, byte for byte.

    Examples:

      runvis evidence --definition etl --from 2024-05-01 --to 2024-06-01 --output evidence.zip

      runvis evidence --definition forecast --engine prefect --from 30d --output evidence/
    """
    with open_store_at(settings_for(url), must_exist=True) as store:
        from runvis_core.services.evidence import Subject, collect_evidence, write_pack

        now = datetime.now(UTC)
        pack = collect_evidence(store, Subject(definition, since, until or now, engine, deployment), now=now)
        write_pack(pack, output)
    typer.echo(f"{output}: {pack.runs} runs in {pack.entries} entries, up to position {pack.position} of the log")
