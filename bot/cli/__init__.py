"""`rollback-bot`: everything a person can do from a terminal, one module a kind of command.

Invariants:
- a command speaks to the running bot, as one person, by token; `init`, `serve`, `db`, `token`, `doctor`, `plan`,
  `rights` and `--direct` alone open anything themselves, and import what that needs when they run: `--help` is there
  at once;
- every end has an exit code that scripts can rely on (`bot.cli.output.Code`), every "no" its reason on stderr;
- what came from others is printed without control characters.
"""

from __future__ import annotations

from bot.cli import (
    auditing,
    beginning,
    deciding,
    doctoring,
    evidence,
    freezing,
    frontends,
    host,
    looking,
    plans,
    playing,
    releases,
    reporting,
    rights,
    steering,
    tokens,
)
from bot.cli.root import root

__all__ = [
    "auditing", "beginning", "deciding", "doctoring", "evidence", "freezing", "frontends", "host", "looking", "main",
    "plans", "playing", "releases", "reporting", "rights", "root", "steering", "tokens",
]  # fmt: skip


def main() -> None:
    """The entry point."""
    root(prog_name="rollback-bot")
