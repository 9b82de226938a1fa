"""`ports.databases` over PostgreSQL: where a schema stands, what taking it back costs, and moving it by the migrations
that a release brought."""

from bot.adapters.postgres.connection import DatabaseTarget, PostgresServer
from bot.adapters.postgres.databases import PostgresDatabases

__all__ = ["DatabaseTarget", "PostgresDatabases", "PostgresServer"]
