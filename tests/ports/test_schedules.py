"""When a CronJob is due: schedules as Kubernetes reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.ports.schedules import TOO_MANY, due

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
DAY = NOON + timedelta(days=1)


def times(schedule: str, zone: str | None = None, until: datetime = DAY) -> list[str]:
    return [f"{t:%d %H:%M}" for t in due(schedule, zone, NOON, until)]


def test_the_moment_itself_is_not_due_again_and_the_end_is() -> None:
    assert times("*/30 * * * *", until=NOON + timedelta(hours=1)) == ["15 12:30", "15 13:00"]


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        ("@daily", ["16 00:00"]),
        ("0 0 16 * 1", ["16 00:00"]),
        ("? 4 * * ?", [f"16 04:{m:02}" for m in range(60)]),
        ("0 9 * * SUN", []),
    ],
)
def test_a_schedule_is_read_as_kubernetes_does(schedule: str, found: list[str]) -> None:
    assert times(schedule) == found


def test_a_schedule_follows_its_zone_and_is_told_in_utc() -> None:
    assert times("30 13 * * *", "Europe/Berlin") == ["15 12:30"]


def test_no_more_are_computed_than_tell_too_many() -> None:
    assert len(due("* * * * *", None, NOON, DAY)) == TOO_MANY + 1


@pytest.mark.parametrize(("schedule", "zone"), [("nonsense", None), ("@every often", None), ("* * * * *", "Mars/Base")])
def test_what_cannot_be_computed_is_said(schedule: str, zone: str | None) -> None:
    with pytest.raises(ValueError, match="cannot be computed"):
        due(schedule, zone, NOON, DAY)
