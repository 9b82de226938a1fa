"""Cron schedules against what the real reader of Kubernetes made of them (tests/cron_times.txt)."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from bot.cron import times

ROWS = [
    line.split("|") for line in (Path(__file__).parent / "cron_times.txt").read_text().splitlines() if line[0] != "#"
]


@pytest.mark.parametrize(("zone", "schedule", "after", "many", "wanted"), ROWS)
def test_it_is_due_when_the_real_one_is(zone: str, schedule: str, after: str, many: str, wanted: str) -> None:
    if wanted == "error":
        with pytest.raises(ValueError, match=r"."):
            times(schedule, zone or None, datetime.fromisoformat(after))
        return
    found = [
        f"{t:%Y-%m-%dT%H:%M:%SZ}"
        for t in islice(times(schedule, zone or None, datetime.fromisoformat(after)), int(many))
    ]
    assert " ".join(found if len(found) == int(many) else [*found, "never"]) == wanted


def test_a_zone_that_leaves_a_whole_day_out_goes_on_after_it() -> None:
    found = next(times("0 12 31 12 *", "Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC)))
    assert found == datetime(2011, 12, 30, 22, tzinfo=UTC)


def test_a_zone_that_there_is_not_is_said() -> None:
    with pytest.raises(ValueError, match="there is no time zone 'Mars/Olympus'"):
        times("* * * * *", "Mars/Olympus", datetime(2026, 3, 1, tzinfo=UTC))
