"""Search: take me to it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.services.labels import name_run
from runvis_core.services.search import EACH, search
from runvis_core.services.search_answers import Hit, Match
from runvis_core.web.page import AskedError, asked, refuse_unknown, store_of
from runvis_core.web.rendering import dataset_path, definition_path, redirect, render

_BY = {
    Match.ID: "id",
    Match.CORRELATION: "correlation",
    Match.URL: "address",
    Match.DEFINITION: "definition",
    Match.CODE: "code",
    Match.DATASET: "dataset",
    Match.ERROR: "error",
}


def show_search(request: Request) -> Response:
    """Show what the words name; an id in full leads straight to its run, an address to its dataset."""
    given = asked(request)
    refuse_unknown(given, ("q",))
    words = given.get("q", "")
    if isinstance(words, list):
        raise AskedError("q", "there is one at most")
    found = search(store_of(request), words)
    if found.exact is not None:
        return redirect(f"/runs/{found.exact.run_id}")
    if found.items and (dataset := found.items[0].dataset) and f"{dataset.namespace}/{dataset.name}" == words.strip():
        return redirect(dataset_path(dataset.namespace, dataset.name))
    hits = [told for hit in found.items if (told := _told(hit))]
    return render(request, "search.html", words=words, hits=hits, each=EACH)


def _told(hit: Hit) -> dict[str, Any] | None:
    by = _BY[hit.match]
    if hit.run is not None:
        href, name = f"/runs/{hit.run.run_id}", name_run(hit.run) or hit.run.native_id or "unnamed"
        return {"by": by, "href": href, "name": name, "engine": hit.run.engine, "run": hit.run, "more": hit.error}
    if hit.definition is not None:
        one = hit.definition
        href = definition_path(one.engine, one.deployment, one.definition, one.kind)
        named = {"name": one.definition, "engine": one.engine, "run": None}
        return {"by": by, "href": href, **named, "more": one.code_version}
    if hit.dataset is not None:
        return {
            "by": by,
            "href": dataset_path(hit.dataset.namespace, hit.dataset.name),
            "name": hit.dataset.name,
            "engine": None,
            "run": None,
            "more": hit.dataset.namespace,
        }
    return None
