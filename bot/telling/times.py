"""Times and their lengths, as people read them. Pure; UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime


def duration(seconds: float) -> str:
    """ "45 s", "5 min 15 s", "2 h 5 min", "6 d 4 h"."""
    s = round(max(0.0, seconds))
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if s >= size:
            rest = s % size // next_size
            return f"{s // size} {unit} {rest} {next_unit}" if rest else f"{s // size} {unit}"
    return f"{s} s"


def seat(role: str, young: Mapping[str, int]) -> str:
    """A role; where somebody has come to hold it lately, since when: "approver, first seen as one 4 min before"."""
    return f"{role}, first seen as one {duration(young[role])} before" if role in young else role


def newcomer(young: Mapping[str, int]) -> str:
    """ " (commander, first seen as one 5 s before)"; empty where nothing is new."""
    return f" ({'; '.join(seat(role, young) for role in sorted(young))})" if young else ""


def clock(at: float) -> str:
    """ "14:05:07 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def dated(at: float) -> str:
    """ "2026-11-23 14:05 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
