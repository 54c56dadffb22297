from __future__ import annotations

from collections.abc import Callable

import httpx

from runvis_core.model.decision import Binding
from runvis_core.model.event import StateEvent
from runvis_core.model.state import State
from runvis_core.services.ingest import ingest_items
from runvis_core.store.database import Store
from runvis_core.testing.factories import a_run_id, make


def test_a_run_that_two_teams_claim_says_so_on_its_page(store: Store, serve: Callable[..., httpx.Client]) -> None:
    for second, team in enumerate(["pay", "ads-<team>"]):
        said = make(StateEvent, seconds=second, state=State.RUNNING, team=team).model_dump(mode="json")
        ingest_items(store, [{"event": said}], principal=f"worker of {team}", binding=Binding(team=team))
    page = serve().get(f"/runs/{a_run_id()}").text
    _, _, conflicts = page.partition("<caption>Reports that conflict with another one</caption>")
    row, _, _ = conflicts.partition("</table>")
    assert "worker of ads-&lt;team&gt;" in row
    assert "worker of pay" not in row
