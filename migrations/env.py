"""Alembic's way in. Within the bot a connection is handed over (`migrations.upgrade`); a developer who makes a
revision names a database: `alembic -x url=postgresql+psycopg://... revision --autogenerate -m "what"`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from bot.store.tables import metadata


def run(connection: sa.Connection) -> None:
    """Carry out what Alembic was asked for, in the transaction of the connection."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


given: sa.Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with sa.create_engine(context.get_x_argument(as_dictionary=True)["url"]).begin() as own:
        run(own)
