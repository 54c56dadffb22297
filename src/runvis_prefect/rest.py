"""The REST API of a Prefect server, read page by page, and ended within a second."""

from __future__ import annotations

import base64
import ssl
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import parse_qs, urlsplit

import httpx

from runvis_core.emit.circuit import public_address
from runvis_core.errors import RunVisError
from runvis_core.model.identity import timestamp
from runvis_core.services.engine_http import EngineHttp
from runvis_core.settings import PrefectSettings
from runvis_prefect.identity import ENGINE

PAGE_SIZE: Final = 200
"""Prefect refuses to give more."""
EVENTS_PAGE_SIZE: Final = 50
EVENT_PAGES: Final = 20
"""Pages of events until a new question begins at the time of the last one: Prefect counts pages from the front."""
PAUSE_SECONDS: Final = 0.02
"""Between two requests, so that the server has time for others."""

Json = Any


class PrefectApiError(RunVisError):
    """Prefect's API did not give what was asked; the message says why, and asking again later may help."""


class PrefectApi:
    """One server's API. Every call raises `PrefectApiError`, or `StoppedError` once `stop` is set."""

    def __init__(
        self, url: str, settings: PrefectSettings, stop: threading.Event, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self.address = api_url(url)
        self.url = public_address(self.address)
        """The address without the user and password that may be in it: it stands in what is recorded of runs."""
        self._settings = settings
        self._csrf: dict[str, str] = {}
        self._date: datetime | None = None
        self._http = EngineHttp(
            ENGINE, self.address, settings, stop, failure=PrefectApiError, pause_seconds=pause_seconds
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    @property
    def trust(self) -> ssl.SSLContext | None:
        """The certificates to trust; None for the system's."""
        return self._http.trust

    @property
    def date(self) -> datetime:
        """What the server's clock said in its last answer."""
        if self._date is None:
            raise self._http.no_date()
        return self._date

    def get(self, path: str, **params: Any) -> Json:
        """Return what is at a path."""
        found = self.find(path, **params)
        if found is None:
            raise PrefectApiError(
                f"{self.url} has no {path}: is this the address of a Prefect 3 server's API, with /api?"
            )
        return found

    def find(self, path: str, **params: Any) -> Json | None:
        """Return what is at a path; None where there is nothing."""
        response = self._request("GET", path, params=params)
        return None if response.status_code == HTTPStatus.NOT_FOUND else self._read(response, path)

    def rows(self, path: str, body: dict[str, Any]) -> list[Json]:
        """Return the first page of a list."""
        response = self._request("POST", path, json=body)
        rows = self._read(response, path)
        if not isinstance(rows, list):
            raise PrefectApiError(f"{self.url} answers {path} with no list: is it a Prefect 3?")
        return cast("list[Json]", rows)

    def pages(self, path: str, body: dict[str, Any]) -> Iterator[list[Json]]:
        """Yield a list's pages. What moves into the list meanwhile may show twice; what leaves it, not at all."""
        offset = 0
        while True:
            rows = self.rows(path, {**body, "limit": PAGE_SIZE, "offset": offset})
            yield rows
            offset += len(rows)
            if len(rows) < PAGE_SIZE:
                return

    def events(self, filters: dict[str, Any], *, since: datetime, until: datetime) -> Iterator[list[Json]]:
        """Yield the events that occurred in a time, the earliest first; at the turn of a question some come twice."""
        token, turned = None, 0
        while True:
            page, token = self._events_page(filters, since, until, token)
            yield page
            if token is None:
                return
            turned += 1
            last = datetime.fromisoformat(page[-1]["occurred"]) if page else since
            if turned >= EVENT_PAGES and last > since:
                since, token, turned = last, None, 0

    def _events_page(
        self, filters: dict[str, Any], since: datetime, until: datetime, token: str | None
    ) -> tuple[list[Json], str | None]:
        """Return a page, and the token of the next one if there is one."""
        path = "/events/filter" if token is None else "/events/filter/next"
        if token is None:
            occurred = {"since": timestamp(since), "until": timestamp(until)}
            body = {"filter": {**filters, "occurred": occurred, "order": "ASC"}, "limit": EVENTS_PAGE_SIZE}
            response = self._request("POST", path, json=body)
        else:
            # By its token at our own address: the server may not know by which one it is reached.
            response = self._request("GET", path, params={"page-token": token})
        answer = self._read(response, path)
        page: Any = cast("dict[str, Any]", answer).get("events") if isinstance(answer, dict) else None
        if not isinstance(page, list):
            raise PrefectApiError(f"{self.url} answers {path} without events: is it a Prefect 3?")
        return cast("list[Json]", page), _page_token(answer)

    def headers(self) -> dict[str, str]:
        """Return the headers of a request, as the settings are now."""
        settings = self._settings
        found = {name: value.get_secret_value() for name, value in settings.headers.items()}
        token = self.token()
        if settings.auth_string is not None and token is not None:
            found["Authorization"] = f"Basic {base64.b64encode(token.encode()).decode()}"
        elif token is not None:
            found["Authorization"] = f"Bearer {token}"
        return found

    def token(self) -> str | None:
        """Return what stands for us: the auth string or the bearer token."""
        settings = self._settings
        if settings.auth_string is not None:
            return settings.auth_string.get_secret_value()
        if settings.token_file is not None:
            return self._http.read_token(settings.token_file)
        return settings.token.get_secret_value() if settings.token is not None else None

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._send(method, path, options)
        if response.status_code == HTTPStatus.FORBIDDEN and "CSRF" in response.text:
            client = str(uuid.uuid4())
            said = self._read(self._send("GET", "/csrf-token", {"params": {"client": client}}), "/csrf-token")
            self._csrf = {"Prefect-Csrf-Client": client, "Prefect-Csrf-Token": str(said.get("token"))}
            response = self._send(method, path, options)
        return response

    def _read(self, response: httpx.Response, path: str) -> Json:
        return self._http.read(response, path, if_refused="RUNVIS__PREFECT__AUTH_STRING or RUNVIS__PREFECT__TOKEN")

    def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        headers = {**self.headers(), **self._csrf}
        response = self._http.send(method, f"{self.address}{path}", headers=headers, **options)
        self._note_date(response)
        return response

    def _note_date(self, response: httpx.Response) -> None:
        try:
            self._date = parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return  # An answer of a proxy; `date` says so if no other has one.


def api_url(url: str) -> str:
    """Return the address of the API, as `PREFECT_API_URL` has it, where only the server's may be given."""
    url = url.rstrip("/")
    return url if "api" in urlsplit(url).path.split("/") else f"{url}/api"


def ui_url(url: str) -> str:
    """Return the address of the pages of the server whose API is at `url`."""
    return url.removesuffix("/api")


def _page_token(answer: Json) -> str | None:
    link = answer.get("next_page")
    found = parse_qs(urlsplit(link).query).get("page-token") if isinstance(link, str) else None
    return found[0] if found else None
