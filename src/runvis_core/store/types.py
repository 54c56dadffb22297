"""Column types that mean the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Dialect, Integer, LargeBinary, String, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

from runvis_core.model.identity import timestamp

Position: Final = BigInteger().with_variant(Integer(), "sqlite")
"""A log position. `INTEGER` makes it SQLite's row id."""

Word: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""A text that is looked up by its beginning: in the order of its characters, whatever the database's language."""


class Id(TypeDecorator[UUID]):
    """A UUID: 16 bytes in SQLite, `uuid` in PostgreSQL."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the database has for it."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.UUID(as_uuid=True))
        return dialect.type_descriptor(LargeBinary(16))

    # The processors themselves, not the methods that the decorator would wrap: an answer has thousands of ids.

    def bind_processor(self, dialect: Dialect) -> Any:
        """Return what makes a UUID that which the driver takes."""
        return _as_bytes if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return what makes that which the driver gave a UUID."""
        return _as_uuid if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _as_bytes(value: UUID | None) -> bytes | None:
    return None if value is None else value.bytes


def _as_uuid(value: bytes | None) -> UUID | None:
    return None if value is None else UUID(bytes=value)


class Moment(TypeDecorator[datetime]):
    """A time: fixed-width UTC text in SQLite, so that text order is time order; `timestamptz` in PostgreSQL."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the database has for it."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(String(27))

    def bind_processor(self, dialect: Dialect) -> Any:
        """Return what makes a time that which the driver takes."""
        return _as_timestamp if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return what makes that which the driver gave an aware UTC time."""
        del coltype
        return _as_moment if dialect.name == "sqlite" else _as_utc


def _as_timestamp(value: datetime | None) -> str | None:
    return None if value is None else timestamp(value)


def _as_moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _as_utc(value: datetime | None) -> datetime | None:
    # Which it mostly is: an answer has thousands of times.
    return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)
