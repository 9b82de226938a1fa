"""What belongs to a database itself, and so into no archive of it: owner, encoding, locale, connection limit, rights,
settings of the database and of roles in it. How one database is given those of another.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.adapters.postgres.connection import PgConnection, quoted, rows
from bot.adapters.postgres.markers import Copy, literal

MAINTENANCE = "postgres"
"""The database from which others are created and renamed."""
_SETTINGS = """
SELECT coalesce(r.rolname, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) c LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = %s) ORDER BY 1, 2
"""
_RIGHTS = """
SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
FROM pg_database d CROSS JOIN aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.datname = %s ORDER BY 1, 2
"""
_LISTS = frozenset({"search_path", "session_preload_libraries", "local_preload_libraries", "temp_tablespaces",
                    "datestyle", "synchronous_standby_names", "unix_socket_directories"})  # fmt: skip
"""Settings that hold a list: its parts are quoted one by one already."""


async def settings_of(c: PgConnection, database: str) -> Mapping[tuple[str, str], str]:
    """Role ("": everybody) and setting -> value, in that database."""
    return {(str(role), str(name)): str(value) for role, name, value in await rows(c, _SETTINGS, database)}


async def rights_of(c: PgConnection, database: str) -> frozenset[tuple[str, str, bool]]:
    """Role ("": everybody), what it may do to the database, and whether it may hand that on."""
    return frozenset((str(r), str(p), bool(g)) for r, p, g in await rows(c, _RIGHTS, database))


def creating(live: Copy, name: str) -> str:
    """The statement that creates a database like another."""
    row = live.row
    parts = [
        f"CREATE DATABASE {quoted(name)} TEMPLATE template0 OWNER {quoted(live.owner)}",
        f"ENCODING {literal(row['encoding'])}",
        f"LC_COLLATE {literal(row['datcollate'])} LC_CTYPE {literal(row['datctype'])}",
    ]
    locale = str(row.get("datlocale") or row.get("daticulocale") or "")
    if row.get("datlocprovider") == "i":
        parts.append(f"LOCALE_PROVIDER icu ICU_LOCALE {literal(locale)}")
        if row.get("daticurules"):
            parts.append(f"ICU_RULES {literal(row['daticurules'])}")
    elif row.get("datlocprovider") == "b":
        parts.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(locale)}")
    elif row.get("datlocprovider") == "c":
        parts.append("LOCALE_PROVIDER libc")
    if row["tablespace"] != "pg_default":  # naming that one takes a right which nobody needs otherwise
        parts.append(f"TABLESPACE {quoted(str(row['tablespace']))}")
    parts.append(f"CONNECTION LIMIT {row['datconnlimit']}")
    return " ".join(parts)


def setting(database: str, role: str, name: str, value: str | None) -> str:
    """The statement that sets it, or (None) takes it back."""
    whose = (
        f"ALTER ROLE {quoted(role)} IN DATABASE {quoted(database)}" if role else f"ALTER DATABASE {quoted(database)}"
    )
    said = ".".join(quoted(part) for part in name.split("."))
    if value is None:
        return f"{whose} RESET {said}"
    return f"{whose} SET {said} TO {value if name.lower() in _LISTS and value else literal(value)}"


async def missing(c: PgConnection, database: str, name: str) -> list[str]:
    """The statements that give one database the settings and rights of another."""
    wanted, there = await settings_of(c, database), await settings_of(c, name)
    found = [setting(name, role, key, None) for role, key in there if (role, key) not in wanted]
    found += [setting(name, role, key, v) for (role, key), v in wanted.items() if there.get((role, key)) != v]
    rights, now = await rights_of(c, database), await rights_of(c, name)
    for role, what, _ in sorted(now - rights):
        found.append(f"REVOKE {what} ON DATABASE {quoted(name)} FROM {_whom(role)}")
    for role, what, on in sorted(rights - now):
        found.append(
            f"GRANT {what} ON DATABASE {quoted(name)} TO {_whom(role)}{' WITH GRANT OPTION' if on and role else ''}"
        )
    return found


def _whom(role: str) -> str:
    return quoted(role) if role else "PUBLIC"
