"""One consistent view of a store, which all the functions that read for one answer can share."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from sqlalchemy import Connection

from runvis_core.store.database import Store


class _Shared:
    """A view that begins when something is first read in it."""

    def __init__(self, store: Store, stack: ExitStack) -> None:
        self.store = store
        self.caught_up: set[str] = set()
        """The steps that were at the log's head when it began."""
        self._stack = stack
        self._connection: Connection | None = None

    @property
    def has_begun(self) -> bool:
        return self._connection is not None

    def connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._stack.enter_context(_begin(self.store))
        return self._connection


_SHARED: ContextVar[_Shared | None] = ContextVar("runvis_shared_view", default=None)


@contextmanager
def share_view(store: Store) -> Generator[None]:
    """Let everything that is read of the store inside, by this thread or task, be read in one view."""
    with ExitStack() as stack:
        token = _SHARED.set(_Shared(store, stack))
        try:
            yield
        finally:
            _SHARED.reset(token)


@contextmanager
def open_view(store: Store) -> Generator[Connection]:
    """Open one consistent view of the store, or the one that is shared here."""
    shared = _find(store)
    if shared is not None:
        yield shared.connect()
        return
    with _begin(store) as connection:
        yield connection


def may_catch_up(store: Store, steps: Iterable[str]) -> bool:
    """Return whether these steps can still be brought to the log's head for what is read here.

    In a shared view that has begun they can't, and need not if they were brought there before. Raises `RuntimeError`
    if they were not: what is read would be older than what was read before it, and the view would hold one connection
    while another is waited for.
    """
    shared, names = _find(store), set(steps)
    if shared is None:
        return True
    if not shared.has_begun:
        shared.caught_up |= names
        return True
    if missing := names - shared.caught_up:
        raise RuntimeError(f"{', '.join(sorted(missing))}: to be caught up before the shared view begins")
    return False


def _find(store: Store) -> _Shared | None:
    shared = _SHARED.get()
    return shared if shared is not None and shared.store is store else None


@contextmanager
def _begin(store: Store) -> Generator[Connection]:
    with store.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection
