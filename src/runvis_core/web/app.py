"""The whole server: the API, and the pages beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI
from starlette.routing import Route

from runvis_core.api.access import BearerTokens
from runvis_core.api.app import create_app
from runvis_core.model.decision import Scope
from runvis_core.settings import Settings
from runvis_core.store.database import Store
from runvis_core.web.assets import asset_routes
from runvis_core.web.door import BrowserDoor
from runvis_core.web.page import install_error_pages, page
from runvis_core.web.pages.compare import show_comparison
from runvis_core.web.pages.completeness import show_completeness
from runvis_core.web.pages.definitions import show_definition, show_definitions
from runvis_core.web.pages.feed import show_feed
from runvis_core.web.pages.graph import show_edge, show_graph, show_turns
from runvis_core.web.pages.overview import show_overview
from runvis_core.web.pages.run import show_run
from runvis_core.web.pages.search import show_search
from runvis_core.web.pages.sign_in import SIGN_OUT, sign_in_routes

PAGES: Final[tuple[Route, ...]] = (
    page("/", show_overview),
    page("/runs", show_feed),
    page("/runs/{name:path}", show_run),
    page("/definitions", show_definitions, has_past=False),
    page("/definition", show_definition),
    page("/compare", show_comparison, has_past=False),
    page("/search", show_search, has_past=False),
    page("/graph", show_graph),
    page("/graph/edge", show_edge),
    page("/graph/turns", show_turns),
    page("/completeness", show_completeness, has_past=False),
)


SCOPES: Final[Mapping[tuple[str, str], Scope]] = {
    **{("GET", route.path): Scope.READ for route in PAGES},
    ("POST", SIGN_OUT): Scope.READ,
}


def create_site(store: Store, settings: Settings) -> FastAPI:
    """Return the application over a store: `create_app`'s, with the pages."""
    signing: list[Route] = []

    def make_door(bearers: BearerTokens) -> BrowserDoor:
        signing.extend(sign_in_routes(bearers))
        return BrowserDoor(store, settings, bearers, SCOPES)

    app = create_app(store, settings, make_door=make_door)
    app.router.routes.extend([*PAGES, *signing, *asset_routes()])
    install_error_pages(app)
    return app
