"""Logging: one line a record, times in UTC, secrets redacted on the way out."""

from __future__ import annotations

import logging
import sys
import time

from bot.redact import Redactor


class _Redacted(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self.redactor.text(super().format(record))


def set_up(level: str, redactor: Redactor) -> None:
    """Sends everything from `level` on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacted(redactor))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("dbos", "aiohttp.access", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
