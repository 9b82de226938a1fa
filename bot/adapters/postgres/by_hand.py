"""What a person types to move a schema without the bot. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.adapters.postgres.connection import DatabaseTarget
from bot.contract import Edit
from bot.ports.databases import Direction

SCHEMA = "schema"
"""Between target and revision in what a move edits: "db/schema/0042"."""


def moved(target: DatabaseTarget, to: str, direction: Direction, folder: Path | str) -> str:
    """The command that brings the database to a revision, by the migrations in a folder."""
    login = f"${target.admin or target.reader}"
    verb = "downgrade" if direction == "down" else "upgrade"
    url = f"postgresql+{target.driver}://{login}@{target.address}"
    if target.host.startswith("/"):
        url = f"postgresql+{target.driver}://{login}@/{target.at.database}?host={target.host}&port={target.port}"
    return f'cd {shlex.quote(str(folder))} && {target.url}="{url}" alembic {verb} {shlex.quote(to)}'


def commands(targets: Mapping[str, DatabaseTarget], edits: Sequence[Edit]) -> list[str]:
    """The lines for edits of schemas, one a revision, in their order; other edits give none."""
    found = []
    for e in edits:
        name, _, rest = e.target.partition("/")
        kind, _, revision = rest.partition("/")
        if kind != SCHEMA or name not in targets or not isinstance(e.after, str):
            continue
        up = e.after == revision
        release = f"<the release that has {revision}>"
        where = f"{targets[name].folder}/{release}" if targets[name].folder else release
        found.append(moved(targets[name], e.after, "up" if up else "down", where))
    return found
