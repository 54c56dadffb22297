"""The whole server: the API, and the pages beside it."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.routing import Route

from runvis_core.api.app import create_app
from runvis_core.api.tokens import read_tokens
from runvis_core.settings import Settings
from runvis_core.store.database import Store
from runvis_core.web.assets import asset_routes
from runvis_core.web.door import BrowserDoor
from runvis_core.web.page import install_error_pages, page
from runvis_core.web.pages.compare import show_comparison
from runvis_core.web.pages.definitions import show_definition, show_definitions
from runvis_core.web.pages.feed import show_feed
from runvis_core.web.pages.overview import show_overview
from runvis_core.web.pages.run import show_run
from runvis_core.web.pages.sign_in import sign_in_routes

PAGES: Final[tuple[Route, ...]] = (
    page("/", show_overview),
    page("/runs", show_feed),
    page("/runs/{name:path}", show_run),
    page("/definitions", show_definitions),
    page("/definition", show_definition),
    page("/compare", show_comparison),
)


def create_site(store: Store, settings: Settings) -> FastAPI:
    """Return the application over a store: `create_app`'s, with the pages."""
    app = create_app(store, settings, door=BrowserDoor(store, settings))
    app.router.routes.extend([*PAGES, *sign_in_routes(read_tokens(settings)), *asset_routes()])
    install_error_pages(app)
    return app
