from __future__ import annotations

import pytest

from runvis_core.services.trouble import Trouble


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_is_wrong_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble("prefect")
    for _ in range(3):
        trouble.say("it is down")
        trouble.note("a row can't be read")

    assert said(caplog) == ["following prefect: it is down", "following prefect: a row can't be read"]


def test_that_it_is_over_is_said_and_what_comes_again_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble("prefect")
    trouble.over("http://prefect")
    trouble.say("it is down")
    trouble.over("http://prefect")
    trouble.say("it is down")

    assert said(caplog) == [
        "following prefect: it is down",
        "following prefect: http://prefect is read again",
        "following prefect: it is down",
    ]
