"""What becomes of a page's values when the page is written."""

from __future__ import annotations

import gc
import weakref

from starlette.requests import Request

from runvis_core.web.rendering import render


class Told(str):
    """A text whose end can be watched."""


def a_request() -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [],
            "server": ("127.0.0.1", 80),
            "scheme": "http",
            "state": {},
        }
    )


def test_a_pages_values_go_with_it_and_wait_for_no_search_for_garbage() -> None:
    detail = Told("nothing here")
    watched = weakref.ref(detail)
    was_on = gc.isenabled()
    gc.disable()
    try:
        said = {"title": "Gone", "detail": detail, "parameter": None, "back": None, "near": []}
        page = render(a_request(), "error.html", **said)
        del detail, said
        assert watched() is None
    finally:
        if was_on:
            gc.enable()
    assert b"nothing here" in page.body
