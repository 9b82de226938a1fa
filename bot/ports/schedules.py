"""When a CronJob is due: its schedule as Kubernetes reads it (five fields, or a descriptor like @every 15m).

Pure: the same schedule, zone and moments always give the same times. No I/O beyond the machine's time zones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice, takewhile

from bot.cron import times

TOO_MANY = 100
"""Missed runs above which a CronJob controller gives up (before Kubernetes 1.21) or warns (kubernetes#45825)."""


def due(
    schedule: str, zone: str | None, since: datetime, until: datetime, limit: int = TOO_MANY + 1
) -> Sequence[datetime]:
    """When it is due after `since` and up to `until`, in UTC, the first `limit` of them.

    zone: of the schedule, None for UTC. ValueError for a schedule or a zone that cannot be computed.
    """
    try:
        ticks = times(schedule, zone, since)
    except ValueError as error:
        raise ValueError(f"schedule {schedule!r} in {zone or 'UTC'} cannot be computed: {error}") from error
    return [*islice(takewhile(lambda t: t <= until, ticks), limit)]
