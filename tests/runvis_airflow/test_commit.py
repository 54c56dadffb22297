"""What a hook said is told when it is true, against a real database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from runvis_airflow.commit import after_commit


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "rows"
    number: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


@pytest.fixture
def told() -> list[str]:
    return []


def a_row(session: Session, number: int = 1) -> Row:
    row = Row(number=number)
    session.add(row)
    session.flush()
    return row


def test_it_is_told_after_the_commit_and_once(session: Session, told: list[str]) -> None:
    after_commit(a_row(session), lambda: told.append("said"))
    assert told == []
    session.commit()
    assert told == ["said"]
    a_row(session, 2)
    session.commit()
    assert told == ["said"]


def test_it_is_dropped_on_rollback_and_stays_dropped(session: Session, told: list[str]) -> None:
    after_commit(a_row(session), lambda: told.append("said"))
    session.rollback()
    a_row(session, 2)
    session.commit()
    assert told == []


def test_it_is_dropped_when_the_session_closes_without_a_commit(session: Session, told: list[str]) -> None:
    after_commit(a_row(session), lambda: told.append("said"))
    session.close()
    a_row(session, 2)
    session.commit()
    assert told == []


def test_a_savepoint_that_is_rolled_back_takes_only_what_was_said_in_it(session: Session, told: list[str]) -> None:
    after_commit(a_row(session), lambda: told.append("outside"))
    savepoint = session.begin_nested()
    after_commit(a_row(session, 2), lambda: told.append("inside"))
    savepoint.rollback()
    session.commit()
    assert told == ["outside"]


def test_a_released_savepoint_tells_nothing_before_the_commit_around_it(session: Session, told: list[str]) -> None:
    with session.begin_nested():
        after_commit(a_row(session), lambda: told.append("said"))
    assert told == []
    session.commit()
    assert told == ["said"]


def test_a_savepoint_released_into_one_that_is_rolled_back_is_dropped(session: Session, told: list[str]) -> None:
    outer = session.begin_nested()
    with session.begin_nested():
        after_commit(a_row(session), lambda: told.append("said"))
    outer.rollback()
    session.commit()
    assert told == []


def test_a_session_that_is_kept_for_good_gets_its_listeners_once(session: Session, told: list[str]) -> None:
    for number in range(5):
        after_commit(a_row(session, number), lambda: told.append("said"))
        session.commit()
    assert told == ["said"] * 5
    assert len(session.dispatch.after_commit) == 1


def test_a_guard_of_commits_sees_only_those_of_the_host(session: Session, told: list[str]) -> None:
    commits: list[str] = []
    event.listen(session, "before_commit", lambda _: commits.append("commit"))
    after_commit(a_row(session), lambda: told.append("said"))
    assert commits == []
    session.commit()
    assert commits == ["commit"]


def test_what_belongs_to_no_session_is_told_at_once(session: Session, told: list[str]) -> None:
    row = a_row(session)
    session.commit()
    session.expunge(row)
    after_commit(row, lambda: told.append("said"))
    assert told == ["said"]
