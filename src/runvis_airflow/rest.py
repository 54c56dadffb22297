"""Airflow's REST API, version 2, read page by page: paced, with a token that is renewed, and ended within a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, cast
from urllib.parse import quote

import httpx

from runvis_airflow.identity import ENGINE
from runvis_core.emit.circuit import public_address
from runvis_core.errors import RunVisError
from runvis_core.services.engine_http import EngineHttp
from runvis_core.settings import AirflowSettings

PAGE_SIZE: Final = 100
"""Airflow silently gives no more than that."""
PAUSE_SECONDS: Final = 0.1
"""Between two requests, so that a large Airflow has time for others."""

Row = dict[str, Any]


class AirflowApiError(RunVisError):
    """Airflow's API did not give what was asked; the message says why, and asking again later may help."""


class Answer(NamedTuple):
    """What the API said, and when, by the server's own clock."""

    path: str
    body: Row
    date: datetime

    def get(self, key: str) -> Any:
        """Return what stands under a key, which may be None. Raises `AirflowApiError` where there is no such key."""
        if key not in self.body:
            raise AirflowApiError(f"{self.path} is answered without '{key}': is it an Airflow 3?")
        return self.body[key]

    def rows(self, key: str) -> list[Any]:
        """Return the list under a key. Raises `AirflowApiError` where there is none."""
        rows: Any = self.get(key)
        if not isinstance(rows, list):
            raise AirflowApiError(f"{self.path} is answered with no list of '{key}': is it an Airflow 3?")
        return cast("list[Any]", rows)


class Page(NamedTuple):
    """Rows of a list, and when they were read, by the server's own clock."""

    rows: list[Any]
    date: datetime


def part(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")


class AirflowApi:
    """One Airflow's API. Every call raises `AirflowApiError`, or `StoppedError` once `stop` is set."""

    def __init__(
        self, url: str, settings: AirflowSettings, stop: threading.Event, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._address = url.rstrip("/")
        self.url = public_address(self._address)
        """The address without the user and password that may be in it: it stands in what is recorded of runs."""
        self._settings = settings
        self._token: str | None = None
        self._http = EngineHttp(
            ENGINE, self._address, settings, stop, failure=AirflowApiError, pause_seconds=pause_seconds
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Answer:
        """Return what is at a path."""
        answer = self.find(path, **params)
        if answer is None:
            raise AirflowApiError(
                f"{self.url} has no /api/v2{path}: is this the address of an Airflow 3.1 or later, without /api?"
            )
        return answer

    def find(self, path: str, **params: Any) -> Answer | None:
        """Return what is at a path; None where there is nothing."""
        response = self._request(path, params)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self._token = None
            response = self._request(path, params)
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        body = self._read(response, f"/api/v2{path}")
        try:
            date = parsedate_to_datetime(response.headers["date"])
        except (KeyError, ValueError) as error:
            raise self._http.no_date() from error
        return Answer(f"{self.url}/api/v2{path}", body, date)

    def pages(self, path: str, key: str, **params: Any) -> Iterator[Page]:
        """Yield a list's pages: by cursor where this Airflow has one for the list, else by offset."""
        params |= {"limit": PAGE_SIZE}
        place: dict[str, Any] = {"cursor": ""}
        seen = 0
        while True:
            answer = self.get(path, **params, **place)
            rows = answer.rows(key)
            yield Page(rows, answer.date)
            seen += len(rows)
            if "next_cursor" in answer.body:
                place = {"cursor": answer.body["next_cursor"]}
                ended = not place["cursor"]
            else:
                place = {"offset": seen}
                ended = len(rows) < PAGE_SIZE
            if ended:
                return

    def _request(self, path: str, params: dict[str, Any]) -> httpx.Response:
        if self._token is None:
            self._token = self._new_token()
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._http.send("GET", f"{self._address}/api/v2{path}", params=params, headers=headers)

    def _new_token(self) -> str:
        settings = self._settings
        if settings.token_file is not None:
            return self._http.read_token(settings.token_file)
        if settings.token is not None:
            return settings.token.get_secret_value()
        address = f"{self._address}/auth/token"
        if settings.username is None:
            response = self._http.send("GET", address)
        else:
            password = settings.password.get_secret_value() if settings.password else ""
            said = {"username": settings.username, "password": password}
            response = self._http.send("POST", address, json=said)
        token = self._read(response, "/auth/token").get("access_token")
        if not isinstance(token, str):
            raise AirflowApiError(f"{self.url} answers /auth/token without a token: set RUNVIS__AIRFLOW__TOKEN")
        return token

    def _read(self, response: httpx.Response, path: str) -> Row:
        body = self._http.read(
            response,
            path,
            if_refused="RUNVIS__AIRFLOW__USERNAME and PASSWORD, or TOKEN, and that this user may read DAG runs, task "
            "instances and the audit log",
        )
        if not isinstance(body, dict):
            raise AirflowApiError(f"{self.url} answers {path} with JSON that is no object: is it an Airflow 3?")
        return cast("Row", body)
