"""Makes a Prefect server's tables in the database of PREFECT_API_DATABASE_CONNECTION_URL; run in Prefect's environment.

Prefect's own migrations need PostgreSQL's extension pg_trgm, which the PostgreSQL out of a wheel does not have: only
for the indexes of its search boxes. So the tables are made from Prefect's models, without those indexes.
"""

from __future__ import annotations

import asyncio

from prefect.server.database import provide_database_interface
from prefect.server.database.alembic_commands import alembic_stamp
from prefect.server.database.orm_models import Base
from prefect.utilities.asyncutils import run_sync_in_worker_thread


def leave_out_what_can_not_be_made() -> None:
    for table in Base.metadata.tables.values():
        names = set()
        # Some are declared twice, once for the column and once for the table.
        for index in sorted(table.indexes, key=lambda index: not index.unique):
            if str(index.name).startswith("trgm") or index.name in names:
                table.indexes.remove(index)
            names.add(index.name)


async def make_tables() -> None:
    engine = await provide_database_interface().engine()
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await run_sync_in_worker_thread(alembic_stamp, revision="heads")


if __name__ == "__main__":
    leave_out_what_can_not_be_made()
    asyncio.run(make_tables())
