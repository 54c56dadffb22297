"""Whom the server tells of what."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Text

from runvis_core.store.tables.builders import declare_position, declare_table
from runvis_core.store.types import Id, Moment

notice_rules: Final = declare_table(
    "notice_rules",
    Column("rule", Text, primary_key=True),
    # How far the rule has looked through the log, and through the turns of loops.
    declare_position(),
    Column("loop_position", BigInteger, nullable=False),
    # Ends that the log says up to here are not told of: the rule began after them, or forgot that it told of them.
    Column("floor_position", BigInteger, nullable=False),
    # The kinds of occasions, as the settings had them last.
    Column("tells_of", Text),
    Column("begun_at", Moment, nullable=False),
    # Since the receiver last took one: how often it did not, when it is tried again, and why it did not.
    Column("failures", Integer, nullable=False),
    Column("retry_at", Moment),
    Column("error", Text),
)

notices: Final = declare_table(
    "notices",
    Column("notice_id", Id, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("run_id", Id, nullable=False),
    Column("state", Text),  # in which the run ended
    Column("made_at", Moment, nullable=False),
    declare_position(),
    Column("outcome", Text, nullable=False),  # pending, sent, refused, quiet
    Column("tries", Integer, nullable=False),
    Column("claimed_until", Moment),
    Column("retry_at", Moment),  # until when it lets others pass
    Column("settled_at", Moment),
    Column("error", Text),
    Index("notices_rule", "rule", "outcome", "made_at", "position"),
    Index("notices_run", "run_id"),
)
