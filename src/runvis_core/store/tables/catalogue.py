"""What can run, and which datasets were declared."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Text, text

from runvis_core.store.tables.builders import declare_position, declare_table
from runvis_core.store.types import Id, Moment

definitions: Final = declare_table(
    "definitions",
    Column("engine", Text, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("definition", Text, primary_key=True),
    Column("definition_kind", Text, primary_key=True),
    Column("first_position", BigInteger, nullable=False),
    Column("first_seen_at", Moment, nullable=False),
    Index("definitions_name", "definition", postgresql_ops={"definition": "text_pattern_ops"}),
)

definition_versions: Final = declare_table(
    "definition_versions",
    Column("definition_version_id", Id, primary_key=True),
    declare_position(),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("definition_kind", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("native_version", Text),
    Column("code_version", Text),
    Column("schedule", Text),
    Column("owner", Text),
    Column("parent_definition", Text),
    Column("tags", Text, nullable=False),  # JSON list
    Column("bodies", Text, nullable=False),  # JSON: {name: {digest, size}}
    Column("occurred_at", Moment, nullable=False),
    Index("definition_versions_definition", "definition", "position"),
    Index(
        "definition_versions_code",
        "code_version",
        sqlite_where=text("code_version IS NOT NULL"),
        postgresql_where=text("code_version IS NOT NULL"),
        postgresql_ops={"code_version": "text_pattern_ops"},
    ),
)

definition_errors: Final = declare_table(
    "definition_errors",
    declare_position(primary_key=True, autoincrement=False),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    rowid=True,
)

dataset_declarations: Final = declare_table(
    "dataset_declarations",
    declare_position(primary_key=True, autoincrement=False),
    Column("engine", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("dataset_group", Text),
    Column("occurred_at", Moment, nullable=False),
    Index("dataset_declarations_name", "name", "namespace"),
    rowid=True,
)
