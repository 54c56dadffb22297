"""Readers of a server's streams, in one process: `stream_readers.py PORT NUMBER`.

One in ten follows all events; each other one follows a run that there is, as the page of a run does. To a question it
answers once the streams of all events have been quiet for a while: when the last of them was told of something.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
import urllib.request

QUIET_SECONDS = 0.6


def main(port: int, number: int) -> None:
    """Open the streams, say so, and read until standard input ends."""
    selector = selectors.DefaultSelector()
    of_all = dict.fromkeys(_open_streams(selector, port, number), 0.0)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print(json.dumps({"versions": {}}), flush=True)
    asked_at: float | None = None
    # Readers are elsewhere, where their memory is no work for this machine: what is read goes to one place.
    read = bytearray(1 << 18)
    while True:
        for key, _ in selector.select(0.05):
            if not isinstance(key.fileobj, socket.socket):
                if not sys.stdin.readline():
                    return
                asked_at = time.monotonic()
            elif not key.fileobj.recv_into(read):
                raise SystemExit("a stream ended")
            elif key.fileobj in of_all:
                of_all[key.fileobj] = time.monotonic()
        quiet_for = time.monotonic() - max(*of_all.values(), asked_at or 0.0)
        if asked_at is not None and quiet_for > QUIET_SECONDS:
            print(json.dumps({"last_at": max(of_all.values())}), flush=True)
            asked_at = None


def _open_streams(selector: selectors.BaseSelector, port: int, number: int) -> list[socket.socket]:
    """Open streams that the selector reads; return those of all events."""
    of_all: list[socket.socket] = []
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/runs?limit={number}") as answer:
        runs = [run["run_id"] for run in json.load(answer)["items"]]
    for index in range(number):
        query = "" if index % 10 == 0 else f"?run={runs[index % len(runs)]}"
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(f"GET /api/v1/stream{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        if not connection.recv(1 << 16).startswith(b"HTTP/1.1 200"):
            raise SystemExit("a stream was refused")
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        if not query:
            of_all.append(connection)
    return of_all


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
