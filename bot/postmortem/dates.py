"""When a postmortem is held: some working days on, at a sensible hour where the team lives. Pure.

Days are counted in the team's zone: late in the evening in UTC may be tomorrow there. What is chosen from is the moment
of the end, so that trying again gives the same day, unless that has passed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from bot.ports.history import Arrangement

LONGEST = 400
"""Days in which a working day must come: a calendar without one is a mistake."""


def meeting(ended: datetime, now: datetime, how: Arrangement) -> datetime:
    """When it begins, in UTC: `how.days` working days after the local day of `ended`, the next ones where that is over.

    ValueError where no day of the coming year is a working day; both moments are aware.
    """
    zone = ZoneInfo(how.zone)
    day, left = ended.astimezone(zone).date(), max(how.days, 0)
    for _ in range(LONGEST):
        begins = datetime.combine(day, how.at, zone).astimezone(UTC)
        works = day.weekday() not in how.weekend and day not in how.holidays
        if left <= 0 and works and begins > now:
            return begins
        day += timedelta(days=1)
        left -= day.weekday() not in how.weekend and day not in how.holidays
    raise ValueError("no day of the coming year is a working day: look at weekend and holidays of `postmortem`")


def words(at: datetime, zone: str) -> str:
    """ "Tue 24 Nov 2026, 10:00 (Europe/Berlin)"."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year}, {local:%H:%M} ({zone})"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
