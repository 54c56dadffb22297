"""What alembic runs for a store: always on a connection that `schema` opened and locked."""

from __future__ import annotations

from alembic import context

from runvis_core.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # True of SQLite as well, since our connections begin transactions themselves.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
