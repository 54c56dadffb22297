"""`runvis keys`: the keys that sign a log's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runvis_core.cli.exits import Group
from runvis_core.cli.options import StoreOption
from runvis_core.cli.source import open_store_at, settings_for
from runvis_core.cli.text import clean
from runvis_core.errors import NotFoundError, SettingsError
from runvis_core.settings import Settings

keys = typer.Typer(
    cls=Group, no_args_is_help=True, help="The keys that sign the log's checkpoints: made, added, revoked."
)

ReasonOption = Annotated[str, typer.Option(help="Why, in one line; it is signed and kept.")]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="The key file.", show_default="RUNVIS__LEDGER__KEY_FILE")
]


@keys.command("new")
def new_command(
    name: Annotated[str, typer.Argument(help="The log's name, e.g. `example.com/runvis`: for good, and yours alone.")],
    file: Annotated[Path, typer.Option("--file", help="Where to write the key; a file that is there stays.")] = Path(
        "runvis.key"
    ),
) -> None:
    """Make a log's first signing key, and say the verifier key: hand that one to whoever is to verify.

    Examples:

      runvis keys new example.com/runvis --file /etc/runvis/ledger.key
    """
    from runvis_core.ledger.keyring import Keyring, write_keys
    from runvis_core.ledger.notes import new_key

    key = new_key(name)
    write_keys(file, Keyring([key], []))
    typer.echo(clean(key.verifier.encode()))
    typer.echo(f"the signing key is in {file}, which only you can read: set RUNVIS__LEDGER__KEY_FILE to it", err=True)


@keys.command("list")
def list_command(file: FileOption = None) -> None:
    """Say the verifier keys of a key file: those that sign, and those that did.

    Examples:

      runvis keys list
    """
    from runvis_core.ledger.keyring import read_keys

    keyring = read_keys(_file_of(file, settings_for(None)))
    for key in keyring.signing:
        typer.echo(f"signs    {clean(key.verifier.encode())}")
    for verifier in keyring.retired:
        typer.echo(f"retired  {clean(verifier.encode())}")


@keys.command("add")
def add_command(reason: ReasonOption, file: FileOption = None, url: StoreOption = None) -> None:
    """Make one more key, declared by those that there are; from then on all of them sign.

    Whoever trusts one of the older keys then trusts the new one. Once all verifiers have it, revoke the older one.

    Examples:

      runvis keys add --reason "the yearly rotation"
    """
    settings = settings_for(url)
    key_file = _file_of(file, settings)
    with open_store_at(settings, must_exist=True) as store:
        from runvis_core.ledger.declarations import ADD_KEY
        from runvis_core.ledger.keyring import read_keys, write_keys
        from runvis_core.ledger.notes import new_key
        from runvis_core.services.checkpoints import current_name, declare
        from runvis_core.services.decisions import local_principal

        keyring = read_keys(key_file)
        key = new_key(keyring.signing[0].name)
        name = current_name(store, keyring.signing)
        added = keyring._replace(signing=[*keyring.signing, key])
        write_keys(key_file, added, replace=True)
        subject = key.verifier._replace(name=name).encode()
        declare(store, added.signing, ADD_KEY, subject, reason=reason, principal=local_principal())
    typer.echo(clean(key.verifier.encode()))


@keys.command("revoke")
def revoke_command(
    key_id: Annotated[str, typer.Argument(help="The key's id: the 8 digits in the middle of its verifier key.")],
    reason: ReasonOption,
    file: FileOption = None,
    url: StoreOption = None,
) -> None:
    """Let a key sign no more: declare so by the other keys, and forget its secret.

    What it signed up to now stays valid; what it alone signs of a longer log is refused.

    Examples:

      runvis keys revoke 1fd8a0ad --reason "its machine was broken into"
    """
    settings = settings_for(url)
    key_file = _file_of(file, settings)
    with open_store_at(settings, must_exist=True) as store:
        from runvis_core.ledger.declarations import REVOKE_KEY
        from runvis_core.ledger.keyring import read_keys, write_keys
        from runvis_core.services.checkpoints import current_name, declare
        from runvis_core.services.decisions import local_principal

        keyring = read_keys(key_file)
        gone = [key for key in keyring.signing if key.verifier.key_id.hex() == key_id.lower()]
        left = [key for key in keyring.signing if key not in gone]
        if not gone:
            raise NotFoundError(f"no key of {key_file} that signs has the id {key_id}: see `runvis keys list`")
        if not left:
            raise SettingsError("this is the only key: add another one first, with `runvis keys add`")
        revoked = gone[0].verifier._replace(name=current_name(store, keyring.signing))
        declare(store, left, REVOKE_KEY, revoked.key_id.hex(), reason=reason, principal=local_principal())
        write_keys(key_file, keyring._replace(signing=left, retired=[*keyring.retired, gone[0].verifier]), replace=True)
    typer.echo(f"{clean(gone[0].verifier.encode())} signs no more")


def _file_of(file: Path | None, settings: Settings) -> Path:
    found = file or settings.ledger.key_file
    if found is None:
        raise SettingsError("name a key file with --file, or set RUNVIS__LEDGER__KEY_FILE")
    return found
