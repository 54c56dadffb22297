"""Several processes that serve on one socket. One of them leads; one that dies is replaced."""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import Final

from prometheus_client.multiprocess import mark_process_dead  # pyright: ignore[reportUnknownVariableType]

from runvis_core.api.app import create_app
from runvis_core.api.metrics import MULTIPROCESS_FOLDER
from runvis_core.api.server import GRACE_SECONDS, MakeApp, address_of, listen, require_token, serve_on
from runvis_core.errors import StoreError
from runvis_core.services.followers import find_follower
from runvis_core.services.logs import set_up_logs
from runvis_core.services.notify.rules import read_rules
from runvis_core.services.signals import ended_by_sigterm
from runvis_core.settings import Settings
from runvis_core.store.database import open_store

_log = logging.getLogger(__name__)

# Begun anew rather than forked: nothing of this process, no connection and no lock, is to be shared but the socket.
_CONTEXT: Final = multiprocessing.get_context("spawn")
_READY: Final = b"ready"
RESTART_SECONDS: Final = 1.0
END_SECONDS: Final = 3 * GRACE_SECONDS
NEW_SECONDS: Final = 60.0
_COUNTERS: Final = "runvis-metrics-"


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    voice: Connection
    """By it the worker says that it is ready; and when its other end is gone, so is its server."""
    is_ready: bool = False


def serve_with_workers(
    settings: Settings,
    *,
    number: int,
    host: str,
    port: int,
    followers: Mapping[str, str],
    on_ready: Callable[[str], None],
    make_app: MakeApp = create_app,
) -> None:
    """Serve with `number` processes until interrupted; `on_ready` is given the address once all take requests.

    `followers` are by engine the address of its API. Raises `SettingsError` as `serve` does, and `StoreError` if a
    worker ends before it was ready.
    """
    assert settings.url is not None
    store = open_store(settings.url)
    try:
        require_token(store, settings, host)
    finally:
        store.close()
    read_rules(settings)  # Said here, once, if there is something wrong with them.
    with listen(host, port) as listener, _shared_counters():

        def start() -> _Worker:
            ours, theirs = _CONTEXT.Pipe()
            process = _CONTEXT.Process(
                target=work, args=(settings, listener, dict(followers), theirs, make_app), name="runvis-worker"
            )
            process.start()
            theirs.close()
            return _Worker(process, ours)

        workers = [start() for _ in range(number)]
        try:
            with suppress(KeyboardInterrupt):
                _watch(workers, start, lambda: on_ready(address_of(listener)))
        finally:
            _end(workers)


@contextmanager
def _shared_counters() -> Generator[None]:
    _remove_left_behind()
    with TemporaryDirectory(prefix=_COUNTERS) as folder:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        # Let go by the kernel however this process ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.environ[MULTIPROCESS_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[MULTIPROCESS_FOLDER]
            os.close(descriptor)


def _remove_left_behind() -> None:
    """Remove the counters of this user's servers that were killed."""
    for path in Path(gettempdir()).glob(f"{_COUNTERS}*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                found = os.fstat(descriptor)
                # One that is being made is not locked yet.
                if found.st_uid == os.getuid() and time.time() - found.st_mtime > NEW_SECONDS:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    rmtree(path)
            finally:
                os.close(descriptor)


def _watch(workers: list[_Worker], start: Callable[[], _Worker], on_ready: Callable[[], None]) -> None:
    was_ready = False
    while True:
        speaking = [worker.voice for worker in workers if not worker.is_ready]
        wait([*(worker.process.sentinel for worker in workers), *speaking])
        for place, worker in enumerate(workers):
            if not worker.process.is_alive():
                if not was_ready:
                    raise StoreError(
                        f"a worker ended at its start with status {worker.process.exitcode}; the log says why"
                    )
                workers[place] = _replace(worker, start)
            elif not worker.is_ready and worker.voice.poll():
                worker.is_ready = _has_spoken(worker.voice)
        if not was_ready and all(worker.is_ready for worker in workers):
            was_ready = True
            on_ready()


def _has_spoken(voice: Connection) -> bool:
    try:
        return voice.recv_bytes() == _READY
    except EOFError:  # It has just ended, which is seen next.
        return False


def _replace(worker: _Worker, start: Callable[[], _Worker]) -> _Worker:
    pid, status = worker.process.pid, worker.process.exitcode
    _log.warning("worker %d ended with status %d; another one takes its place", pid, status)
    mark_process_dead(pid)
    worker.voice.close()
    time.sleep(RESTART_SECONDS)  # One that can't live must not be begun a hundred times a second.
    return start()


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    deadline = time.monotonic() + END_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            _log.warning("worker %d did not end in %d s, and is killed", worker.process.pid, END_SECONDS)
            worker.process.kill()
            worker.process.join()
        worker.voice.close()


def work(
    settings: Settings,
    listener: socket.socket,
    followers: Mapping[str, str],
    voice: Connection,
    make_app: MakeApp = create_app,
) -> None:
    """Serve on the server's socket: what a worker's process runs."""
    set_up_logs(settings.server.log_format)
    threading.Thread(target=_end_with_server, args=(voice,), name="runvis-server-watch", daemon=True).start()
    with suppress(KeyboardInterrupt), ended_by_sigterm():
        assert settings.url is not None
        store = open_store(settings.url)
        try:
            serve_on(
                listener,
                store,
                settings,
                followers={engine: (find_follower(engine), url) for engine, url in followers.items()},
                on_ready=lambda: voice.send_bytes(_READY),
                make_app=make_app,
            )
        finally:
            store.close()


def _end_with_server(voice: Connection) -> None:
    # Nothing ever comes this way but the end.
    with suppress(EOFError, OSError):
        voice.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)
