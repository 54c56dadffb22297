from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from click.testing import Result

from runvis_core.services.notify.queue import begin
from runvis_core.services.notify.rules import get_rule
from runvis_core.settings import load_settings
from runvis_core.store.database import Store, utc_now

Run = Callable[..., Result]


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What a receiver gets whom the rule `ends` tells; the rules `refused` and `away` have none who takes them."""
    taken: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = 200 if self.path == "/secret" else 400
            if status == 200:
                taken.append(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        host = f"http://127.0.0.1:{server.server_address[1]}"
        rules = [
            {"name": "ends", "webhook": f"{host}/secret", "filter": {"state": ["Succeeded"]}},
            {"name": "refused", "webhook": f"{host}/another-secret"},
            {"name": "away", "webhook": "http://127.0.0.1:9/secret"},
            {"name": "unfit", "webhook": f"{host}/secret", "template": "{{ run.run_id | round(1) }}"},
        ]
        monkeypatch.setenv("RUNVIS__NOTIFY__RULES", json.dumps(rules))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield taken
        server.shutdown()
        thread.join()


def test_a_test_notice_tells_of_the_newest_run_that_the_rule_is_for(
    runvis: Run, address: str, posts: list[Any]
) -> None:
    result = runvis("notify", "test", "ends", url=address)
    assert result.exit_code == 0, result.output
    (notice,) = posts
    assert notice["kind"] == "test"
    assert notice["run"]["effective_state"] == "Succeeded"
    assert "secret" not in result.output


@pytest.mark.parametrize(
    ("rule", "status", "said"),
    [
        ("refused", 1, "answered 400"),
        ("away", 4, "can't be reached"),
        ("unfit", 2, "the template of the rule 'unfit' can't be filled in: TypeError"),
        ("none", 3, "there are away, ends, refused, unfit"),
    ],
)
def test_what_is_wrong_with_a_receiver_is_said_without_its_secret(
    runvis: Run, told: str, posts: list[Any], rule: str, status: int, said: str
) -> None:
    result = runvis("notify", "test", rule, url=told)
    assert result.exit_code == status
    assert said in result.output
    assert "secret" not in result.output
    assert posts == []


def test_the_status_names_each_rule_that_began(runvis: Run, address: str, store: Store, posts: list[Any]) -> None:
    assert "no rule has begun" in runvis("notify", "status", url=address).stdout
    begin(store, get_rule(load_settings(), "ends"), now=utc_now())
    said = runvis("notify", "status", url=address)
    assert said.exit_code == 0, said.output
    assert "ends" in said.stdout
    (rule,) = json.loads(runvis("notify", "status", "-o", "json", url=address).stdout)["items"]
    assert (rule["rule"], rule["pending"], rule["behind"]) == ("ends", 0, 0)
