"""The Prefect adapter: flows and tasks recorded from inside the process that runs them.

`import runvis_prefect; runvis_prefect.install()` records everything made after it; `runvis_prefect.hooks` holds the
hooks to give to a flow or task by hand.
"""

from __future__ import annotations


def install() -> bool:
    """Record all flows and tasks made from now on in this process; return whether they will be."""
    from runvis_prefect import plugin

    return plugin.install()


__all__ = ["install"]
