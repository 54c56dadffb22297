"""Tokens, legal holds, erasures and the audit trail, at a store and by its server."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from runvis_core.model.decision import Scope
from runvis_core.services.decision_answers import TokenRequest
from runvis_core.services.tokens import issue_token
from runvis_core.store.database import Store
from runvis_core.testing.story import LOAD_1

Run = Callable[..., Result]


@pytest.fixture
def deciding(store: Store, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the story, for somebody who may decide."""
    if address.startswith("http"):
        request = TokenRequest(name="admin", scopes=frozenset({Scope.ADMIN, Scope.READ}))
        monkeypatch.setenv("RUNVIS_TOKEN", issue_token(store, request, principal="test").token)
    return address


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def test_a_token_is_issued_listed_and_revoked(runvis: Run, deciding: str) -> None:
    asked = ("tokens", "new", "prod", "--scope", "ingest", "--deployment", "prod", "--witness", "worker")
    made = json.loads(done(runvis(*asked, "-o", "json", url=deciding)).stdout)
    second = done(runvis(*asked, url=deciding))
    token = second.stdout.strip()
    assert token.startswith("rvt_")
    assert token != made["token"]
    assert "not shown again" in second.stderr
    third = runvis(*asked, url=deciding)
    assert third.exit_code == 2
    assert "two are enough" in third.stderr
    listed = done(runvis("tokens", "list", url=deciding)).stdout
    assert token not in listed
    assert "prod; worker" in listed
    done(runvis("tokens", "revoke", made["token_id"], "--reason", "leaked", url=deciding))
    items = json.loads(done(runvis("tokens", "list", "-o", "json", url=deciding)).stdout)["items"]
    assert {item["token_id"]: item["valid"] for item in items}[made["token_id"]] is False
    trail = json.loads(done(runvis("audit", "list", "-o", "json", "--name", "token revoked", url=deciding)).stdout)
    assert [(item["subject"], item["reason"]) for item in trail["items"]] == [(made["token_id"], "leaked")]
    assert runvis("tokens", "revoke", "nope", url=deciding).exit_code == 3


def test_a_token_for_everybody_is_not_issued(runvis: Run, deciding: str) -> None:
    refused = runvis("tokens", "new", "prod", "--scope", "ingest", url=deciding)
    assert refused.exit_code == 2
    assert "--deployment" in refused.stderr


def test_an_erasure_is_tried_held_back_and_done(runvis: Run, deciding: str) -> None:
    erase = ("erase", str(LOAD_1), "--reason", "a person's request", "--body", "traceback")
    tried = done(runvis(*erase, "--dry-run", url=deciding)).stdout
    assert "1 bodies of run" in tried
    assert "would be erased" in tried
    hold = json.loads(
        done(runvis("holds", "add", "--run", str(LOAD_1), "--reason", "case", "-o", "json", url=deciding)).stdout
    )["hold_id"]
    held = runvis(*erase, url=deciding)
    assert held.exit_code == 1
    assert hold in held.stderr
    assert hold in done(runvis("holds", "list", url=deciding)).stdout
    done(runvis("holds", "release", hold, "--reason", "closed", url=deciding))
    assert "are erased by decision" in done(runvis(*erase, url=deciding)).stdout
    assert "[erased by decision" in done(runvis("runs", "show", str(LOAD_1), url=deciding)).stdout
    trail = done(runvis("audit", "list", url=deciding)).stdout
    assert "a person's request" in trail
    assert "hold released" in trail


def test_a_hold_on_nothing_is_refused(runvis: Run, deciding: str) -> None:
    refused = runvis("holds", "add", "--reason", "case", url=deciding)
    assert refused.exit_code == 2
    assert "--definition" in refused.stderr


def test_who_may_not_decide_is_told_so(runvis: Run, address: str) -> None:
    if address.startswith("http"):
        refused = runvis("tokens", "list", url=address)
        assert refused.exit_code == 2
        assert "admin" in refused.stderr
    else:
        # Who has the database itself needs no leave; the log says who it was.
        done(runvis("holds", "add", "--definition", "etl", "--reason", "case", url=address))
        assert "local" in done(runvis("audit", "list", url=address)).stdout
