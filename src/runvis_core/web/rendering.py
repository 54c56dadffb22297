"""From values to a page: templates, and the headers that every page has."""

from __future__ import annotations

import gzip
import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import urlencode, urlsplit

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from runvis_core.services.labels import name_run
from runvis_core.web import assets
from runvis_core.web.drawing import looks, markup, text
from runvis_core.web.drawing.verdict import reason_of

HEADERS: Final = {"Cache-Control": "private, no-store", "Vary": "Accept-Encoding, Cookie"}
"""Beside those that everything has which is served (`api.headers`)."""
COOKIE: Final = "runvis_session"
"""Holds the secret of who signed in by the form."""
MAX_JSON: Final = 20_000
"""How many characters of a value a page shows."""
_SMALLEST_TO_COMPRESS: Final = 1000
_EFFORT: Final = 4
"""Of 9: more takes twice as long for a twentieth less of a large page."""


def _finalize(value: object) -> object:
    """Make whatever a template puts out safe to stand on a page; escaping comes after it."""
    if value is None:
        return ""
    return text.safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def as_json(value: object) -> str:
    """Return a value as a person reads it: text as it is, all else as JSON; cut where it is too long."""
    said = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    if len(said) <= MAX_JSON:
        return said
    return f"{said[:MAX_JSON]}\n… {text.count_of(len(said) - MAX_JSON, 'character')} more"


def web_address(address: str | None) -> str | None:
    """Return an address that a browser may be sent to, or None: others run script, or open what is on its machine."""
    if address is None:
        return None
    try:
        return address if urlsplit(address).scheme in ("http", "https") else None
    except ValueError:
        return None


def with_query(path: str, values: Mapping[str, Any]) -> str:
    """Return a path with a query of those values that are set."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        several = cast("list[Any]", value) if isinstance(value, list) else [value]
        pairs += [(name, _as_parameter(one)) for one in several if one not in (None, "", False)]
    return f"{path}?{urlencode(pairs, errors='replace')}" if pairs else path


def _as_parameter(value: Any) -> str:
    if value is True:
        return "true"
    return text.exact_moment(value) if isinstance(value, datetime) else str(value)


def definition_path(engine: str, deployment: str, name: str | None, kind: str | None) -> str:
    """Return where a definition's page is. Its name stands in the query: in a path a browser would tidy it up.

    With its kind: a DAG may be called as a task of another one is.
    """
    return with_query("/definition", {"name": name, "engine": engine, "deployment": deployment, "kind": kind})


def dataset_path(namespace: str, name: str) -> str:
    """Return where a dataset's neighbourhood is drawn."""
    return with_query("/graph", {"node": f"{namespace}/{name}"})


def stacked(shares: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return shares of a whole beside each other: of each its kind, its place and its width in per cent."""
    whole = sum(shares.values())
    places: list[tuple[str, str, str]] = []
    at = 0.0
    for kind, share in shares.items():
        if share > 0:
            places.append((kind, f"{at / whole * 100:.3f}%", f"{share / whole * 100:.3f}%"))
            at += share
    return places


EDGE_WORDS: Final = {"reads": "is read by", "writes": "writes", "triggers": "starts"}
"""How one node of the lineage leads to another."""
SHARE_WORDS: Final = {
    "running": "Running",
    "retry": "Waiting to try again",
    "queued": "Waiting for a worker",
    "idle": "Nothing going on",
}


_CONTEXTS: Final = "contexts of the page"
"""Under this name a page's values have a list of the contexts made of them. No template can say it."""


class _PageContext(Context):
    """What a template sees.

    Its macros lead back to it, in circles: without `_let_go` all values of a page would stay in memory until Python
    looks for garbage, and make that long.
    """

    def __init__(self, environment: Environment, parent: dict[str, Any], *rest: Any, **named: Any) -> None:
        super().__init__(environment, parent, *rest, **named)
        parent.get(_CONTEXTS, []).append(self)


def _let_go(contexts: Iterable[Context]) -> None:
    for context in contexts:
        context.vars.clear()
        context.parent.clear()


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("runvis_core.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "age": text.name_age,
        "count": text.count_of,
        "duration": text.name_duration,
        "exact": text.exact_moment,
        "exact_duration": text.exact_duration,
        "first_line": text.first_line,
        "json": as_json,
        "label": name_run,
        "moment": text.name_moment,
        "reason": reason_of,
        "shell": shlex.quote,
        "short": text.shorten,
        "stacked": stacked,
        "web": web_address,
    }
    shared: dict[str, Any] = {
        "asset": assets.path_of,
        "dataset_path": dataset_path,
        "definition_path": definition_path,
        "how": EDGE_WORDS,
        "icon": looks.icon,
        "look_at": looks.look_at,
        "look_of": looks.look_of,
        "markup": markup,
        "share_words": SHARE_WORDS,
        "sprite": looks.sprite(),
        "with_query": with_query,
    }
    made.context_class = _PageContext
    made.filters.update(filters)
    made.globals.update(shared)
    return made


_TEMPLATES: Final = _environment()


def now_of(request: Request) -> datetime:
    """Return the moment that a page counts from; the same for the whole request."""
    state = request.scope.setdefault("state", {})
    return state.setdefault("now", datetime.now(UTC))


def _signed_in(request: Request) -> Any:
    """Return who signed in by the form; None for who needs none, or signed in elsewhere."""
    principal = request.scope["state"].get("principal")
    return principal if principal is not None and COOKIE in request.cookies else None


def keep_past(pin: Mapping[str, Any]) -> dict[str, str]:
    """Return what keeps a past in a page's links to others: `then` after a path, `and_then` after a query."""
    kept = with_query("", pin)[1:]
    return {"then": f"?{kept}" if kept else "", "and_then": f"&{kept}" if kept else ""}


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page made of a template, with the headers that every page has."""
    moment = values.get("moment")
    values = {
        "now": now_of(request),
        "moment": None,
        "live": None,
        **keep_past({"as_of": moment.as_of, "known_at": moment.known_at} if moment else {}),
        "session": _signed_in(request),
        "path": request.url.path,
        "address_here": str(request.url),
        **values,
    }
    contexts: list[Context] = []
    page = _TEMPLATES.get_template(template).render({**values, _CONTEXTS: contexts}).encode("utf-8", "replace")
    _let_go(contexts)
    headers = dict(HEADERS)
    if len(page) >= _SMALLEST_TO_COMPRESS and "gzip" in request.headers.get("accept-encoding", ""):
        # There is no secret in a page: what proves a POST to be ours is the request's origin.
        page = gzip.compress(page, _EFFORT, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(page, status_code=status, media_type="text/html", headers=headers)


def redirect(address: str) -> Response:
    """Return a reply that sends the browser to a page of ours."""
    return RedirectResponse(address, status_code=303, headers=HEADERS)
