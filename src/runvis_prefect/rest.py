"""The REST API of a Prefect server, read page by page, and ended within a second."""

from __future__ import annotations

import base64
import queue
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import parse_qs, urlsplit

import httpx

from runvis_core.errors import RunVisError, SettingsError
from runvis_core.model.identity import timestamp
from runvis_core.settings import PrefectSettings

PAGE_SIZE: Final = 200
"""Prefect refuses to give more."""
EVENTS_PAGE_SIZE: Final = 50
EVENT_PAGES: Final = 20
"""Pages of events until a new question begins at the time of the last one: Prefect counts pages from the front."""
PAUSE_SECONDS: Final = 0.02
"""Between two requests, so that the server has time for others."""
TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
LIMITS: Final = httpx.Limits(keepalive_expiry=2.0)
"""Prefect's server closes a connection that was idle for 5 s, and what is sent on it in that moment is lost."""
_LISTEN_SECONDS: Final = 0.2
"""How often a request under way looks whether it is still wanted."""

Json = Any


class PrefectApiError(RunVisError):
    """Prefect's API did not give what was asked; the message says why, and asking again later may help."""


class StoppedError(Exception):
    """Reading was ended from outside."""


class PrefectApi:
    """One server's API. Every call raises `PrefectApiError`, or `StoppedError` once `stop` is set."""

    def __init__(
        self, url: str, settings: PrefectSettings, stop: threading.Event, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self.url = api_url(url)
        self.trust = find_trust(self.url, settings)
        self._settings = settings
        self._stop = stop
        self._pause_seconds = pause_seconds
        self._csrf: dict[str, str] = {}
        self._date: datetime | None = None
        self._client = httpx.Client(
            verify=self.trust if self.trust is not None else not self.url.startswith("http://"),
            timeout=TIMEOUT,
            limits=LIMITS,
            **_through(settings, self.trust),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @property
    def date(self) -> datetime:
        """What the server's clock said in its last answer."""
        if self._date is None:
            raise PrefectApiError(
                f"{self.url} does not say what time it is (no Date header): let a proxy in between leave it in"
            )
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
            try:
                return settings.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise PrefectApiError(
                    f"RUNVIS__PREFECT__TOKEN_FILE={settings.token_file} can't be read: {error}"
                ) from error
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
        status = response.status_code
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise PrefectApiError(
                f"{self.url} refuses {path} ({status}): check RUNVIS__PREFECT__AUTH_STRING or RUNVIS__PREFECT__TOKEN"
            )
        if not response.is_success:
            raise PrefectApiError(f"{self.url} answers {path} with {status}")
        try:
            return response.json()
        except ValueError as error:
            raise PrefectApiError(f"{self.url} answers {path} with what is not JSON: is it a Prefect?") from error

    def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        if self._stop.wait(self._pause_seconds):
            raise StoppedError
        headers = {**self.headers(), **self._csrf}
        # In a thread of its own, since a server that hangs would else hold up the end for as long as it likes.
        said: queue.SimpleQueue[httpx.Response | Exception] = queue.SimpleQueue()

        def send() -> None:
            said.put(_result(lambda: self._client.request(method, f"{self.url}{path}", headers=headers, **options)))

        threading.Thread(target=send, name="runvis-prefect-request", daemon=True).start()
        while True:
            try:
                result = said.get(timeout=_LISTEN_SECONDS)
            except queue.Empty:
                if self._stop.is_set():
                    raise StoppedError from None
                continue
            if not isinstance(result, httpx.Response):
                raise PrefectApiError(f"{self.url} can't be read: {result or type(result).__name__}") from result
            self._note_date(result)
            return result

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


def find_trust(url: str, settings: PrefectSettings) -> ssl.SSLContext | None:
    """Return the certificates to trust; None for the system's. Raises `SettingsError` where they can't be read."""
    if settings.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(settings.ca_file))
    except OSError as error:
        raise SettingsError(
            f"RUNVIS__PREFECT__CA_FILE={settings.ca_file} can't be used for {url} ({error}): "
            "name a file of PEM certificates"
        ) from error


def _result(send: Callable[[], httpx.Response]) -> httpx.Response | Exception:
    try:
        return send()
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
        # A client that was closed meanwhile says RuntimeError.
        return error


def _through(settings: PrefectSettings, trust: ssl.SSLContext | None) -> dict[str, Any]:
    # By mounts, since the argument for a proxy has another name in older versions of httpx.
    if settings.proxy is None:
        return {}
    verify = trust if trust is not None else True
    transport = httpx.HTTPTransport(proxy=httpx.Proxy(settings.proxy), verify=verify, limits=LIMITS)
    return {"mounts": {"all://": transport}}


def _page_token(answer: Json) -> str | None:
    link = answer.get("next_page")
    found = parse_qs(urlsplit(link).query).get("page-token") if isinstance(link, str) else None
    return found[0] if found else None
