"""Alembic's way into the shop's database: $DATABASE_URL, or a connection that is handed over."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import context


def _models() -> Any:
    """Those of this tree, whatever else is called so."""
    spec = importlib.util.spec_from_file_location("shop_models", Path(__file__).with_name("models.py"))
    if spec is None or spec.loader is None:
        raise ImportError("the tree has no models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


metadata = _models().tables(context.script.get_current_head())


def run(connection: sa.Connection) -> None:
    """Carry out what Alembic was asked for, one transaction a revision."""
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    engine = sa.create_engine(os.environ["DATABASE_URL"], poolclass=sa.NullPool)
    with engine.connect() as own:
        run(own)
