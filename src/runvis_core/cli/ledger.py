"""`runvis checkpoint`, `verify`, `prove` and `verify-proof`: the log is shown to be what it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runvis_core.cli.exits import Exit
from runvis_core.cli.options import StoreOption, UrlOption
from runvis_core.cli.output import progress_bar
from runvis_core.cli.source import Source, is_server, open_source, open_store_at, settings_for
from runvis_core.cli.text import clean
from runvis_core.errors import LedgerError, NotFoundError, SettingsError
from runvis_core.settings import Settings

if TYPE_CHECKING:
    from runvis_core.ledger.notes import VerifierKey

KeyOption = Annotated[
    list[str] | None,
    typer.Option("--key", help="A verifier key that you trust, from whoever runs the log; several if there are more."),
]
AgainstOption = Annotated[
    list[Path] | None,
    typer.Option(help="A file with a checkpoint, or several, that was kept elsewhere; may be given several times."),
]


def checkpoint_command(against: AgainstOption = None, key: KeyOption = None, url: UrlOption = None) -> None:
    """Sign what the log is now and say so; without a key or from a server, say what was signed last.

    With --against nothing is signed: it is shown that the log goes on from an older checkpoint, by a consistency proof
    that is made here from the log's tiles. Exits with 1 if it does not.

    Examples:

      runvis checkpoint

      runvis checkpoint --against /media/usb/checkpoints --key example.com/runvis+1fd8a0ad+AT…
    """
    settings = settings_for(url)
    assert settings.url is not None
    if against:
        _check_against(against, _keys(key, settings), url)
        return
    if is_server(settings.url) or settings.ledger.key_file is None:
        with open_source(url) as source:
            typer.echo(clean(_last_note(source), keep_lines=True), nl=False)
        return
    with open_store_at(settings, must_exist=True) as store:
        from runvis_core.services.checkpoints import order_checkpoint
        from runvis_core.services.decisions import local_principal

        made = order_checkpoint(store, settings, principal=local_principal())
    typer.echo(clean(made.checkpoint.note, keep_lines=True), nl=False)
    for trouble in made.troubles:
        typer.echo(f"runvis: {clean(trouble)}", err=True)
    if made.troubles:
        raise typer.Exit(Exit.FAILED)


def _last_note(source: Source) -> str:
    items = source.list_checkpoints(limit=1).items
    if not items:
        raise NotFoundError("this log has no checkpoint yet: set RUNVIS__LEDGER__KEY_FILE and run `runvis checkpoint`")
    return items[0].note


def _check_against(files: Sequence[Path], keys: Sequence[VerifierKey], url: str | None) -> None:
    from runvis_core.ledger.consistency import check_consistency
    from runvis_core.services.checkpoint_file import read_checkpoints

    if not keys:
        raise SettingsError("say with --key whom you trust: a checkpoint says nothing without a key")
    with open_source(url) as source:
        now = _last_note(source)
        for file in files:
            for note in read_checkpoints(file):
                old, new = check_consistency(note, now, keys, source.get_tile)
                typer.echo(f"{clean(str(file))}: the log goes on from {old.size} to {new.size} entries")


def verify_command(
    key: KeyOption = None,
    against: AgainstOption = None,
    first: Annotated[int | None, typer.Option("--from", min=1, help="Only entries from this position on.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Only entries up to this position.")] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="A file that keeps how far it got, so that the same command goes on after an interruption."),
    ] = None,
    url: StoreOption = None,
) -> None:
    """Recompute everything from the stored bytes, and name what does not agree. Exits with 1 if something does not.

    The entries' hashes, the tree over them, the signed checkpoints, what is derived from the entries, and the
    database's own guards. A range looks at its entries and the tree above them only.

    Examples:

      runvis verify

      runvis verify --key example.com/runvis+1fd8a0ad+AT… --against /media/usb/checkpoints

      runvis verify --from 1000000 --to 2000000
    """
    settings = settings_for(url)
    keys = _keys(key, settings)
    span = None if first is None and last is None else (first or 1, last or 2**62)
    with open_store_at(settings, must_exist=True) as store, progress_bar("verifying") as progress:
        from runvis_core.services.checkpoint_file import read_checkpoints
        from runvis_core.services.verification import verify_store

        held = {str(file): read_checkpoints(file) for file in against or []}
        verified = verify_store(
            store,
            keys=keys,
            held=held,
            span=span,
            state=state,
            progress=lambda _what, done, total: progress(done, total),
        )
    for note in verified.notes:
        typer.echo(f"note: {clean(note)}", err=True)
    for problem in verified.problems:
        typer.echo(clean(problem))
    if verified.problems:
        typer.echo(f"runvis: {len(verified.problems)} problems", err=True)
        raise typer.Exit(Exit.FAILED)
    typer.echo(f"{verified.entries} entries and {verified.checkpoints} checkpoints agree")


def prove_command(
    run: Annotated[str, typer.Argument(help="The run's id or the beginning of it, a native id or an alias.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write.", show_default="the standard output")
    ] = None,
    url: UrlOption = None,
) -> None:
    """Write the proof bundle of a run: its entries, where they stand in the log, and the checkpoint that says so.

    Examples:

      runvis prove 3f2a9c1b -o proof.json
    """
    with open_source(url) as source:
        data = source.prove_run(run)
    if output is None:
        typer.echo(data, nl=False)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise SettingsError(f"{output} can't be written: {error}") from error


def verify_proof_command(
    file: Annotated[Path, typer.Argument(help="The bundle that `runvis prove` wrote.")],
    key: Annotated[
        list[str],
        typer.Option("--key", help="The log's verifier key, as you have it from whoever runs the log; not from FILE."),
    ],
) -> None:
    """Check a proof bundle: no store and no network is needed. Exits with 1 if it does not hold.

    Examples:

      runvis verify-proof proof.json --key example.com/runvis+1fd8a0ad+AT…
    """
    from runvis_core.ledger.bundles import verify_bundle

    try:
        data = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error}") from error
    bundle = verify_bundle(data, _parse_keys(key))
    positions = [entry.position for entry in bundle.entries]
    typer.echo(
        f"{len(positions)} entries about the run {bundle.run_id}, positions {positions[0]} to {positions[-1]}, "
        f"stand in the log {clean(bundle.checkpoint.origin)} of {bundle.checkpoint.size} entries"
    )
    if bundle.newer_entries:
        typer.echo(f"its keeper says that {bundle.newer_entries} more came after that", err=True)


def _keys(given: Sequence[str] | None, settings: Settings) -> list[VerifierKey]:
    """Return whom to trust: those that were named, else this machine's own key and the witnesses of the settings."""
    if given:
        return _parse_keys(given)
    if settings.ledger.key_file is None:
        return []
    from runvis_core.ledger.keyring import read_keys

    return [*read_keys(settings.ledger.key_file).verifiers, *_parse_keys(list(settings.ledger.witnesses.values()))]


def _parse_keys(given: Sequence[str]) -> list[VerifierKey]:
    try:
        from runvis_core.ledger.notes import parse_verifier_key
    except ImportError as error:
        raise SettingsError(f"verifying needs {error.name}: pip install cryptography") from error
    try:
        return [parse_verifier_key(key) for key in given]
    except LedgerError as error:
        raise SettingsError(f"--key: {error}") from error
