"""`python -m runvis_core.cli` is `runvis`."""

from __future__ import annotations

from runvis_core.cli import main

main()
