"""A real RunVis server over a store of its own, and the questions that end-to-end tests ask of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from tests.end_to_end.waiting import until

from runvis_core.services.answers import EntryView, RunDetail, TreeNode
from runvis_core.services.definitions import get_definition
from runvis_core.services.entries import list_entries, list_run_entries
from runvis_core.services.filters import DefinitionFilter, RunFilter
from runvis_core.services.run_details import get_run
from runvis_core.services.run_trees import get_tree
from runvis_core.services.runs import list_runs
from runvis_core.store.database import open_store

_SERVE = """
import sys
from runvis_core.api.server import serve
from runvis_core.settings import load_settings
from runvis_core.store.database import open_store
serve(open_store(sys.argv[1]), load_settings(), host="127.0.0.1", port=0, followers={},
      on_ready=lambda address: print(address, flush=True))
"""


class History:
    """A server in a process of its own; questions go to its store directly."""

    def __init__(self, folder: Path, *, token: str = "a-token-for-end-to-end-tests") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.token = token
        self.store_url = f"sqlite:///{folder / 'runvis.db'}"
        self.store = open_store(self.store_url)
        self.url = ""
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUNVIS")}
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-c", _SERVE, self.store_url],
                env=inherited | {"RUNVIS_TOKEN": self.token},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._server.stdout is not None
        self.url = self._server.stdout.readline().strip()
        if not self.url:
            self._end()
            raise RuntimeError(f"the server did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        server = self._server
        if server is None:
            return
        server.terminate()
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        assert server.stdout is not None
        server.stdout.close()
        self.store.close()

    def engine_env(self, deployment: str, *, spool: Path | None = None) -> dict[str, str]:
        """Return the variables that make an engine record here."""
        return {
            "RUNVIS_URL": self.url,
            "RUNVIS_TOKEN": self.token,
            "RUNVIS_DEPLOYMENT": deployment,
            "RUNVIS_SPOOL_DIR": str(spool or self.folder / "spool"),
        }

    def runs(self, definition: str, **filters: Any) -> list[RunDetail]:
        """Return all runs of a definition, the oldest first."""
        page = list_runs(self.store, RunFilter(definition=definition, **filters), limit=500, now=datetime.now(UTC))
        return [self.run(item.run_id) for item in reversed(page.items)]

    def run(self, name: str | UUID) -> RunDetail:
        return get_run(self.store, str(name), now=datetime.now(UTC))

    def tree(self, name: str | UUID) -> TreeNode:
        return get_tree(self.store, str(name))

    def definition(self, name: str) -> Any:
        return get_definition(self.store, name, DefinitionFilter())

    def entries(self, name: str | UUID) -> list[EntryView]:
        return list_run_entries(self.store, str(name), after=0, limit=10_000).items

    def all_entries(self) -> list[EntryView]:
        return list_entries(self.store, after=0, limit=100_000).items

    def wait_for(
        self, definition: str, check: Callable[[RunDetail], bool], *, seconds: float = 30, number: int = 1
    ) -> list[RunDetail]:
        """Return a definition's runs once ``number`` of them satisfy ``check``."""

        def satisfied() -> list[RunDetail]:
            runs = self.runs(definition)
            return runs if sum(map(check, runs)) >= number else []

        return until(f"{number} recorded run(s) of {definition}", satisfied, seconds=seconds)
