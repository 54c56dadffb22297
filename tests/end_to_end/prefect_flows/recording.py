"""How the flows of this folder are recorded: RECORDING=dump (raw, for fixtures), hooks (by hand), install, or none."""

from __future__ import annotations

import os

FLOW: dict = {}
TASK: dict = {}

match os.environ.get("RECORDING", "none"):
    case "dump":
        from dump import FLOW, TASK
    case "hooks":
        from runvis_prefect import hooks

        FLOW, TASK = hooks.for_flow(), hooks.for_task()
    case "install":
        import runvis_prefect

        runvis_prefect.install()
    case "none":
        pass
    case other:
        raise SystemExit(f"RECORDING={other!r} is none of dump, hooks, install, none")
