"""Live pages: the switch, and from which position of the log on a page that is live is to be told of changes."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request

from runvis_core.api.scopes import API
from runvis_core.web.page import AskedError, store_of
from runvis_core.web.rendering import with_query

STREAM = f"{API}/stream"


class Live(NamedTuple):
    """Whether a page is live, where its switch leads, and the stream that tells of changes."""

    is_on: bool
    href: str
    stream: str | None


def take_live(request: Request, given: dict[str, Any]) -> Live:
    """Take `live` out of a page's parameters. To be called before what the page shows is read.

    Then all that the page does not show yet comes after the position from which its stream begins. What the address
    says of an engine narrows the stream too. Raises `AskedError`.
    """
    said = given.pop("live", None)
    if said not in (None, "1"):
        raise AskedError("live", "must be 1, or be left out")
    if said is None:
        return Live(is_on=False, href=with_query(request.url.path, {**given, "live": 1}), stream=None)
    of = {name: given[name] for name in ("engine", "deployment") if isinstance(given.get(name), str)}
    stream = with_query(STREAM, {"after": str(store_of(request).log.head().position), **of})
    return Live(is_on=True, href=with_query(request.url.path, given), stream=stream)
