"""A `postgres:` target of `rollback.yaml`: a database of the service, and how its migrations are run.

    db: {postgres: "db.internal:5432/shop", login: SHOP_DB_LOGIN, admin: SHOP_DB_ADMIN, migrations: /srv/shop}

Invariants: its logins are named here and stand in the environment, and so does whatever migrations are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from bot.catalogued.shapes import Variable, several
from bot.located.strict import Duration, Text, Word

_KNOWN_KEYS = ConfigDict(extra="forbid")


def _database(address: str) -> str:
    host, slash, name = address.rpartition("/")
    where, colon, port = host.rpartition(":")
    if not (slash and colon and name and where and port.isdigit() and 0 < int(port) < 65536) or "@" in address:
        raise ValueError("must be host:port/database, like db.internal:5432/shop; logins come from the environment")
    return address


@dataclass(frozen=True, slots=True)
class UnreadableQuery:
    """Rows that the releases before some revision cannot read."""

    __pydantic_config__ = _KNOWN_KEYS

    since: Annotated[Word, Field(description="The revision from which on there may be such rows.")]
    query: Annotated[str, Field(min_length=1, description="A SELECT that finds them.")]


@dataclass(frozen=True, slots=True)
class PostgresTarget:
    """A PostgreSQL database of the service. Its logins are named here and stand in the environment: user:password."""

    __pydantic_config__ = _KNOWN_KEYS

    postgres: Annotated[
        str,
        AfterValidator(_database),
        Field(description="host:port/database; a host that begins with / is a socket."),
    ]
    login: Annotated[Variable, Field(description="Variable with user:password of a role that may read its tables.")]
    admin: Annotated[
        Variable | None, Field(description="Variable with user:password of the role that owns its tables.")
    ] = None
    schema: Annotated[Word, Field(description="Schema that its tables are in.")] = "public"
    tls: Annotated[bool, Field(description="Whether the server must prove who it is; false only on loopback.")] = True
    timeout: Annotated[Duration, Field(gt=0, description="How long one answer, or one count, may take.")] = 5.0
    statement_timeout: Annotated[
        Duration, Field(gt=0, description="How long one statement of a migration may take.")
    ] = 300.0
    lock_timeout: Annotated[
        Duration, Field(gt=0, description="How long a migration waits for a lock, and others behind it.")
    ] = 2.0
    migrations: Annotated[
        Word | None, Field(description="Folder below which each release's Alembic migrations lie, on the bot's host.")
    ] = None
    python: Annotated[Word | None, Field(description="Python that runs them; the bot's own otherwise.")] = None
    url: Annotated[Variable, Field(description="Variable that their env.py reads the address from.")] = "DATABASE_URL"
    driver: Annotated[Literal["psycopg", "psycopg2"], Field(description="SQLAlchemy's driver in that address.")] = (
        "psycopg"
    )
    environment: Annotated[
        tuple[Variable, ...],
        BeforeValidator(several),
        Field(description="Variables of the bot that migrations get as well; they get no others."),
    ] = ()
    rows: Annotated[int, Field(ge=0, description="Rows that a downgrade may lose before people are asked again.")] = 500
    integrity: Annotated[Mapping[Text, str], Field(description="What must not be there -> a SELECT that finds it.")] = (
        field(default_factory=dict)
    )
    unreadable: Annotated[
        Mapping[Text, UnreadableQuery], Field(description="What older releases cannot read -> how it is found.")
    ] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, int, str]:
        """Host, port and name of the database."""
        host, _, name = self.postgres.rpartition("/")
        where, _, port = host.rpartition(":")
        return where.removeprefix("[").removesuffix("]"), int(port), name

    @property
    def variables(self) -> frozenset[str]:
        """Those that hold its logins."""
        return frozenset((self.login, *([self.admin] if self.admin else ())))
