"""Databases of the bot with all their tables, its own and those of DBOS: made once for a worker, then copied."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from dbos import DBOS

import migrations
from bot.engine.executor import beside
from bot.store.database import parse_url


def whole(url: str) -> None:
    """Makes every table in the empty database of this URL."""
    migrations.upgrade(url)
    DBOS.migrate(beside(url) if url.startswith("sqlite") else url)


def filled(url: str) -> str:
    """The same URL, of a database that was empty and has all the bot's tables now."""
    if url.startswith("sqlite"):
        copy_to(Path(parse_url(url).database or ""))
    else:
        migrations.upgrade(url)
    return url


def copy_to(database: Path) -> str:
    """The URL of a SQLite database at this path with all its tables."""
    for file in _made().iterdir():
        shutil.copy(file, database.parent / file.name.replace("bot", database.stem, 1))
    return f"sqlite:///{database}"


@functools.cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="rollback-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    whole(f"sqlite:///{folder / 'bot.db'}")
    return folder
