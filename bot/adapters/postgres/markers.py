"""What the bot notes of a database in its comment, a line each, behind what people have written there. Pure.

A comment is the one thing of a database that its owner may write, that everybody on the server can read, and that a
rename takes along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.adapters.postgres.connection import quoted

OURS = "rollback-bot: "
_FROM = re.compile(r"(being restored|restored) for (.+?) from (.+) \((sha256:[0-9a-f]{64})\)")
_KEPT = re.compile(r"(kept|undone) of (.+) since (.+)")


@dataclass(frozen=True)
class Copy:
    """A database as pg_database has it. row: its columns."""

    row: Mapping[str, Any]
    owner: str
    size: int
    comment: str

    @property
    def name(self) -> str:
        """Under which it stands."""
        return str(self.row["datname"])

    @property
    def oid(self) -> int:
        """Which stays through renames."""
        return int(self.row["oid"])

    @property
    def open(self) -> bool:
        """Whether new sessions are let in."""
        return bool(self.row["datallowconn"])

    @property
    def theirs(self) -> str:
        """What people have written."""
        return "\n".join(line for line in self.comment.splitlines() if not line.startswith(OURS))

    @property
    def notes(self) -> list[str]:
        """What the bot has."""
        return [line.removeprefix(OURS) for line in self.comment.splitlines() if line.startswith(OURS)]

    def note(self, begins: str) -> str:
        """The note that begins so; "" where there is none."""
        return next((n for n in self.notes if n.startswith(begins)), "")

    @property
    def digest(self) -> str:
        """Of the backup that it was restored from, or is being."""
        found = next((m for n in self.notes if (m := _FROM.fullmatch(n))), None)
        return found[4] if found else ""

    @property
    def label(self) -> str:
        """What it is, whatever it is called."""
        found = next((m for n in self.notes if (m := _FROM.fullmatch(n))), None)
        return came_from(found[3], found[4]) if found and found[1] == "restored" else f"oid {self.oid}"

    def of(self, database: str) -> bool:
        """Whether it was, or is to be, the database of this name."""
        return any(m[2] == database for n in self.notes if (m := _KEPT.fullmatch(n) or _FROM.fullmatch(n)))

    @property
    def aside(self) -> str:
        """Since when and why it is not in use; "" where it may come to be."""
        return next((n for n in self.notes if _KEPT.fullmatch(n)), "")


def came_from(name: str, digest: str) -> str:
    """ "restored from shop.dump (sha256:1234567890ab)"."""
    return f"restored from {name} ({digest[:19]})"


def restoring(database: str, name: str, digest: str, *, done: bool = False) -> str:
    """What stands in the comment of one that is being restored, or was."""
    return f"{'restored' if done else 'being restored'} for {database} from {name} ({digest})"


def beside(database: str, digest: str) -> str:
    """The name under which it is restored: of at most 63 bytes, which is all that PostgreSQL keeps."""
    return cut(database, f"_restore_{digest.removeprefix('sha256:')[:8]}")


def cut(database: str, end: str) -> str:
    """A name with this end."""
    return database.encode()[: 63 - len(end.encode())].decode(errors="ignore") + end


def comment(database: str, *lines: str) -> str:
    """The statement that sets a comment."""
    text = "\n".join(line for line in lines if line)
    return f"COMMENT ON DATABASE {quoted(database)} IS {literal(text) if text else 'NULL'}"


def noted(*notes: str) -> list[str]:
    """Lines of ours."""
    return [OURS + note for note in notes if note]


def literal(text: str) -> str:
    """A text in SQL."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'" if "\\" not in text else " E'" + escaped.replace("\\", "\\\\") + "'"
