"""When a CronJob is due: its schedule as Kubernetes reads it (five fields, or a nickname like @hourly).

Pure: the same schedule, zone and moments always give the same times. No I/O beyond the machine's time zones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

TOO_MANY = 100
"""Missed runs above which a CronJob controller gives up (before Kubernetes 1.21) or warns (kubernetes#45825)."""

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def due(
    schedule: str, zone: str | None, since: datetime, until: datetime, limit: int = TOO_MANY + 1
) -> Sequence[datetime]:
    """When it is due after `since` and up to `until`, in UTC, the first `limit` of them.

    zone: of the schedule, None for UTC. ValueError for a schedule or a zone that cannot be computed.
    """
    try:
        start = since.astimezone(ZoneInfo(zone) if zone else UTC)
        ticks = CronSim(_NICKNAMES.get(schedule.strip(), schedule).replace("?", "*"), start)
    except (CronSimError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"schedule {schedule!r} in {zone or 'UTC'} cannot be computed: {error}") from error
    return [t.astimezone(UTC) for t in islice(takewhile(lambda t: t <= until, ticks), limit)]
