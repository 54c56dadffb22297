"""Write the examples of the OpenAPI document: `python docs/examples.py`.

A small history is recorded into a store of its own, and each route that reads is asked about it; what it says is the
example. The history is that of the tests, at the clock of its own time.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
from fastapi import FastAPI

from runvis_core.api import examples
from runvis_core.api.app import create_app
from runvis_core.lineage.facts import Node
from runvis_core.model.decision import Scope
from runvis_core.model.event import DatasetEvent, EventBase
from runvis_core.model.state import State
from runvis_core.services.decision_answers import HoldRequest, TokenRequest
from runvis_core.services.holds import place_hold
from runvis_core.services.ingest import ingest_events
from runvis_core.services.tokens import issue_token
from runvis_core.settings import load_settings
from runvis_core.store.database import Store, open_store
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, MORNING, a_run_id, make
from runvis_core.testing.runs import a_run
from runvis_core.testing.story import LOAD_1, LOAD_2, a_story

TARGET: Final = Path(examples.__file__).with_name(examples.FILE)
SPAN: Final = "since=2026-11-24T00:00:00Z&until=2026-11-25T00:00:00Z"
FEATURES: Final = Node("definition", "features", engine=ENGINE, deployment=DEPLOYMENT).node_id
STORED: Final = Node("dataset", "labels", namespace="s3://shop").node_id
QUERIES: Final = {
    "/api/v1/events": "after=0&limit=2",
    "/api/v1/runs": "definition=etl.load&limit=1",
    "/api/v1/runs/{name}/events": "limit=2",
    "/api/v1/definitions": "limit=2",
    "/api/v1/definitions/{name}/trend": SPAN,
    "/api/v1/stats": f"by=kind&by=day&{SPAN}",
    "/api/v1/search": "q=upstream+returned",
    "/api/v1/audit": "limit=2",
    "/api/v1/lineage": "node=features",
    "/api/v1/lineage/proofs": f"source={STORED}&target={FEATURES}&kind=reads",
}
"""By path: what is asked of it."""
HERE: Final = "http://localhost"
LEFT_OUT: Final = frozenset({"/api/v1/doctor", "/api/v1/openapi.json"})
"""What says where and on which machine it runs."""


def ask_all() -> dict[str, dict[str, Any]]:
    """Return by the path of each route that reads what it was asked and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/story.db"
        store = open_store(url, clock=lambda: MORNING + timedelta(hours=2))
        try:
            failed = a_run("nightly", begins=3600, definition="etl.load", kind="task", state=State.FAILED)
            ingest_events(store, [*a_story(), *failed, *a_loop()], principal="airflow-prod")
            token = decide(store)
            return asyncio.run(_ask_each(create_app(store, load_settings(url=url, token=None)), token))
        finally:
            store.close()


def a_loop() -> list[EventBase]:
    """Return two definitions that lead to one another: what each writes the other one reads."""
    said: list[EventBase] = []
    for place, (definition, reads, writes) in enumerate(
        [("features", "labels", "features"), ("train", "features", "labels"), ("features", "labels", "features")]
    ):
        name, begins = f"{definition} {place}", 1800.0 + place * 60
        said += a_run(name, begins=begins, definition=definition)
        for direction, dataset in (("read", reads), ("write", writes)):
            about = {"direction": direction, "namespace": "s3://shop", "name": dataset}
            said.append(make(DatasetEvent, run_id=a_run_id(name), seconds=begins + 5, **about))
    return said


def decide(store: Store) -> str:
    """Place a legal hold and issue a token; return the token."""
    place_hold(store, HoldRequest(definition="etl", reason="the audit of the year"), principal="person:ann")
    asked = TokenRequest(name="audit", scopes=frozenset({Scope.READ, Scope.ADMIN}))
    return issue_token(store, asked, principal="person:ann").token


async def _ask_each(app: FastAPI, token: str) -> dict[str, dict[str, Any]]:
    paths = app.openapi()["paths"]
    transport = httpx.ASGITransport(app)
    said: dict[str, dict[str, Any]] = {}
    client = httpx.AsyncClient(transport=transport, base_url=HERE, headers={"Authorization": f"Bearer {token}"})
    async with app.router.lifespan_context(app), client:
        for path in sorted(paths):
            example = await _ask(client, path) if _is_told(path, paths[path]) else None
            if example is not None:
                said[path] = example
    return said


def _is_told(path: str, operations: dict[str, Any]) -> bool:
    content = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    return "application/json" in content and path.startswith("/api/v1/") and path not in LEFT_OUT


async def _ask(client: httpx.AsyncClient, path: str) -> dict[str, Any] | None:
    name = "etl" if "/definitions/" in path else str(a_run_id("nightly") if path.endswith("/compare") else LOAD_1)
    filled = path.replace("{node_id}", str(FEATURES)).replace("{name}", name).replace("{other}", str(LOAD_2))
    asked = filled + (f"?{QUERIES[path]}" if path in QUERIES else "")
    answer = await client.get(asked)
    if not answer.is_success:
        return None
    return {"asked": asked, "answer": answer.json()}


if __name__ == "__main__":
    TARGET.write_bytes(orjson.dumps(ask_all(), option=orjson.OPT_INDENT_2) + b"\n")
