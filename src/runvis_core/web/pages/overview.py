"""The overview: is anything wrong, and can I trust this page?"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from runvis_core.services.overview import Overview, get_overview
from runvis_core.web.drawing.text import count_of
from runvis_core.web.page import store_of
from runvis_core.web.rendering import now_of, render


def show_overview(request: Request) -> Response:
    """Show what fails, what is silent, and who was heard."""
    view = get_overview(store_of(request), now=now_of(request))
    return render(
        request, "overview.html", view=view, sentence=_sentence(view), address=str(request.base_url).rstrip("/")
    )


def _sentence(view: Overview) -> str:
    if not view.position:
        return "Nothing was recorded yet, so nothing can be said."
    silent = f"{len(view.silent)}{'+' if view.has_more_silent else ''}"
    wrong = [f"{count_of(view.failing_count, 'definition')} failing"] if view.failing_count else []
    wrong += [f"{silent} {'run' if silent == '1' else 'runs'} silent"] if view.silent else []
    heard = f"{count_of(view.definition_count, 'definition')} of {count_of(len(view.sources), 'deployment')}"
    if not wrong:
        return f"Nothing is known to be wrong with {heard}."
    return f"{', '.join(wrong)}; {heard} heard of."
