"""What a person types to refuse writes in a database, or to restore one beside it and switch, without the bot. Pure.

Each command can be typed again; none of them deletes a database.
"""

from __future__ import annotations

import re
import shlex

from bot.adapters.postgres.connection import PostgresServer, quoted
from bot.adapters.postgres.copies import reached, typed
from bot.adapters.postgres.markers import beside, cut, literal
from bot.adapters.postgres.quiet import SETTING

SYSTEM = "postgres"
_FROM = re.compile(r"restored from (.+) \((sha256:[0-9a-f]{12})\)")


def quiet(server: PostgresServer, role: str, value: str | None) -> str:
    """Sets it, and ends the sessions for which it would not count."""
    name = server.target.at.database
    whose = f"ALTER ROLE {quoted(role)} IN DATABASE {quoted(name)}" if role else f"ALTER DATABASE {quoted(name)}"
    statement = f"{whose} RESET {SETTING}" if value is None else f"{whose} SET {SETTING} = {value}"
    return typed(server, SYSTEM, statement, _ended(name))


def switched(server: PostgresServer, before: str, after: str) -> list[str]:
    """Restores where that is meant, and exchanges the names."""
    name = server.target.at.database
    if came := _FROM.fullmatch(after):
        coming = beside(name, came[2])
        lines = [
            _created(server, name, coming),
            f"pg_restore --dbname={reached(server, coming)} --jobs=4 --exit-on-error "
            f"<the folder of the backups>/{came[1]}",
        ]
    else:
        coming = f"<the database that is {after}: psql -c '\\l+' names it>"
        lines = []
    aside = cut(name, "_before_restore")
    return [
        *lines,
        typed(server, SYSTEM, f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS false", _ended(name, coming)),
        typed(
            server, SYSTEM,
            f"BEGIN; ALTER DATABASE {quoted(name)} RENAME TO {quoted(aside)}; "
            f"ALTER DATABASE {quoted(coming)} RENAME TO {quoted(name)}; COMMIT",
        ),
        typed(server, SYSTEM, f"ALTER DATABASE {quoted(aside)} ALLOW_CONNECTIONS true"),
    ]  # fmt: skip


def _created(server: PostgresServer, name: str, coming: str) -> str:
    """Like the one that is there: whose it is, the server knows."""
    made = "CREATE DATABASE %I TEMPLATE template0 OWNER %I"
    asked = f"SELECT format({literal(made)}, {literal(coming)}, pg_get_userbyid(datdba)) FROM pg_database"
    return f"echo {shlex.quote(f'{asked} WHERE datname = {literal(name)} {chr(92)}gexec')} | {typed(server, SYSTEM)}"


def _ended(*names: str) -> str:
    listed = ", ".join(literal(n).strip() for n in names)
    others = f"datname IN ({listed}) AND pid <> pg_backend_pid()"
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
