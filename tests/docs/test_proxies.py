"""The proxies that the how-tos describe do what the server counts on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runvis_core.settings import Settings

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
BLOCK = re.compile(r"```nginx\n(.*?)```", re.DOTALL)
# What stands within the braces of a location, which have none within them.
LOCATION = re.compile(r"location (?:= )?(\S+) \{(.*?)\n *\}", re.DOTALL)


def to_the_server() -> list[tuple[str, str, str]]:
    """Of each location that leads to RunVis: the file that it is in, the block around it, and the location."""
    return [
        (name, block, body)
        for name in ("server.md", "sign-in-through-a-proxy.md")
        for block in BLOCK.findall((HOW_TO / name).read_text())
        for _, body in LOCATION.findall(block)
        if ":8642" in body
    ]


@pytest.mark.parametrize(("name", "block", "body"), to_the_server())
def test_nginx_hands_on_what_the_server_asks_for(name: str, block: str, body: str) -> None:
    for said in ("Host $http_host", "X-Forwarded-Proto $scheme", "X-Request-ID $request_id"):
        # `$host` has no port, so that a form from a page at another one than 80 and 443 came from elsewhere.
        assert f"proxy_set_header {said};" in body
    assert "proxy_buffering off;" in body
    (limit,) = re.findall(r"client_max_body_size (\d+)m;", block)
    assert int(limit) * 1024**2 == Settings().limits.wire_bytes
    if name == "sign-in-through-a-proxy.md":
        # A header that nobody sets comes through from the caller.
        assert "proxy_set_header X-Forwarded-User " in body


def test_all_that_nginx_is_sent_to_is_there() -> None:
    (block, _) = BLOCK.findall((HOW_TO / "sign-in-through-a-proxy.md").read_text())
    places = [path for path, _ in LOCATION.findall(block)]
    for asked in re.findall(r"(?:auth_request|error_page 401 =) (\S+);", block):
        assert any(asked == path or (path != "/" and path.endswith("/") and asked.startswith(path)) for path in places)
    assert block.count("{") == block.count("}")
