"""The command line: `runvis`."""

from __future__ import annotations


def main() -> None:
    """Run the command that the process was started with."""
    # Not before it is needed: whoever imports this package for a part of it doesn't pay for all commands.
    from runvis_core.cli.app import app

    app()
