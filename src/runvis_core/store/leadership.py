"""Which of the processes that share a store does what only one has to do: follow, notify, extend what is derived."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from runvis_core.store.database import Store

_LOCK: Final = 0x4C656164
"""The PostgreSQL advisory lock that the leader holds."""
_SUFFIX: Final = ".leader"


class Leadership(Protocol):
    """One process's share in the lead. It goes with the process, however that ends."""

    def hold(self) -> bool:
        """Take the lead if nobody has it; return whether this process has it now. Asked again and again."""
        ...

    def release(self) -> None:
        """Leave the lead to others."""
        ...


def leadership_of(store: Store) -> Leadership:
    """Return this process's share in the lead of a store."""
    if store.engine.dialect.name == "postgresql":
        return _AdvisoryLock(store.engine)
    return _FileLock(Path(f"{store.engine.url.database}{_SUFFIX}"))


class _AdvisoryLock:
    """Leads as long as its database session lives: when the connection breaks, another process may lead at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Connection | None = None

    def hold(self) -> bool:
        try:
            if self._session is not None:
                self._session.scalar(text("SELECT 1"))
                return True
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if session.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
                self._session = session
            else:
                session.close()
        except SQLAlchemyError:
            self.release()
        return self._session is not None

    def release(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            # Now, and not when the server sees that the client is gone.
            with suppress(SQLAlchemyError):
                session.scalar(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            # Ended, not handed back to the pool, where a session that could not say so would keep the lock.
            with suppress(SQLAlchemyError):
                session.invalidate()
            session.close()


class _FileLock:
    """Leads as long as it holds the lock of a file beside the database. A SQLite file is for one machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def hold(self) -> bool:
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
