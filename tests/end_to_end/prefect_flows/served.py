"""`waiting` served as a deployment: its runs are started, and may be cancelled, through the server."""

from __future__ import annotations

from waiting import waiting

if __name__ == "__main__":
    waiting.serve(name="served", tags=["served"], pause_on_shutdown=False)
