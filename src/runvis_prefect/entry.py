"""What Prefect's own plugin system loads (entry-point group `prefect.plugins`) where `PREFECT_PLUGINS_ENABLED` is set.

It is called at the end of `import prefect`: in scripts, in `serve`, in workers and in the processes that they start. It
is not where prefect is imported inside of a running event loop: `runvis_prefect.install()` is for that.
"""

from __future__ import annotations

from typing import Any

import pluggy

from runvis_core.emit.notice import report_failure

hookimpl = pluggy.HookimplMarker("prefect-experimental")
"""Prefect's name for its plugins, which it keeps."""


@hookimpl
def setup_environment(*, ctx: Any) -> None:  # noqa: ARG001 - Prefect gives it by this name
    """Record all flows and tasks that this process makes."""
    try:
        from runvis_prefect import plugin

        plugin.install()
    except Exception as error:  # noqa: BLE001 - Prefect goes on without RunVis, whatever it is that fails
        report_failure("record flows", error)
