"""Logging: one line a record, times in UTC, secrets redacted on the way out; as text, or as JSON.

Fields given as `extra` (run, seq, event, person, outage, seconds) are keys of their own in JSON; in text they stand in
the message already. What a library says of an outage that is told anyway (`fold`) is left out.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, TextIO, get_args

from bot.redaction.redactor import Redactor
from bot.steady.outage import Outage
from bot.steady.seldom import SeldomTheSame
from bot.store.log import away, away_by

Form = Literal["text", "json"]
FORMS: tuple[Form, ...] = get_args(Form)

FIELDS = ("run", "seq", "event", "service", "step", "person", "outage", "seconds")
"""What a record may carry beside its message."""


class _Text(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        head, *rest = self.redactor.text(super().format(record)).split("\n")
        return "\n".join([head, *(f"    {line}" for line in rest)])  # only a record begins at the margin


class _Json(_Text):
    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "at": f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03}Z", "level": record.levelname,
            "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        found |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            found["trace"] = self.formatException(record.exc_info)
        return json.dumps(self._clean(found), ensure_ascii=False)

    def _clean(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {k: self.redactor.text(v) if isinstance(v, str) else v for k, v in found.items()}


def set_up(level: str, redactor: Redactor, form: Form = "text", to: TextIO | None = None) -> None:
    """Sends everything from `level` on to standard error, or there."""
    handler = logging.StreamHandler(to or sys.stderr)
    handler.setFormatter((_Json if form == "json" else _Text)(redactor))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for stranger in ("aiohttp.server", "aiohttp.web"):  # garbage on a socket is logged there, with its trace
        logger = logging.getLogger(stranger)
        logger.filters = [SeldomTheSame()]
    for noisy in ("dbos", "aiohttp.access", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def fold(database: Outage) -> None:
    """From now on, whatever is logged because the database is away is told by its outage, in two lines."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Folded(database))


class _Folded(logging.Filter):
    """Drops what only repeats that the database is away, and counts it."""

    def __init__(self, database: Outage) -> None:
        super().__init__()
        self.database = database

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL or not (why := _database_away(record)):
            return True
        self.database.down(why, hearsay=True)
        return record.levelno < logging.WARNING  # who looks at details sees them


def _database_away(record: logging.LogRecord) -> str:
    """Why the database is away, where a record says that and no more; else nothing."""
    args = record.args if isinstance(record.args, tuple) else ()
    given = (record.exc_info[1] if record.exc_info else None, *args)
    if found := next((why for e in given if isinstance(e, BaseException) and (why := away(e))), ""):
        return found
    return away_by(record.getMessage()) if record.name == "dbos" else ""  # DBOS logs its errors as text
