"""Cron schedules as Kubernetes reads them: five fields or a descriptor, by the rules of robfig/cron 3.0.1.

Pure, and the one reader of schedules here: what is told beforehand, and the playground's own CronJob controller. The
rules that other readers of cron do not share:
- where neither day field is a plain star a day counts if either of them holds, else only if both do; a step above 1
  takes the star away (`*/2` is no star, `*/1` is);
- time goes on in the schedule's zone: in an hour that is left out nothing runs, in one that comes twice it runs twice;
- `@every 15m` counts from the run before; a date that does not come within five years never does;
- weekdays are 0 to 6 or names, `N/step` means from N to the end, `?` is a star.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from zoneinfo import ZoneInfo

_MONTHS = dict(jan=1, feb=2, mar=3, apr=4, may=5, jun=6, jul=7, aug=8, sep=9, oct=10, nov=11, dec=12)
_DAYS = dict(sun=0, mon=1, tue=2, wed=3, thu=4, fri=5, sat=6)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_UNITS = {"ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6), "μs": Fraction(1, 10**6),
          "ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}  # fmt: skip
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([a-zµμ]+)")
_YEARS = 5
"""How far ahead a date is looked for."""
_HOUR, _MINUTE, _DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CronField:
    """What one field allows. star: it does not restrict, which matters where the two day fields meet."""

    values: frozenset[int]
    star: bool

    def __contains__(self, value: int) -> bool:
        return value in self.values


@dataclass
class _Clock:
    """A moment of a zone: it goes on in real time, and is set by what a clock on the wall shows. moved: it stands at
    the beginning of something already, and is not set back to one any more."""

    at: datetime
    zone: tzinfo
    moved: bool = False

    @property
    def wall(self) -> datetime:
        """What the wall shows, without a zone."""
        return self.at.astimezone(self.zone).replace(tzinfo=None)

    def begin(self, wall: datetime) -> None:
        """Set it back to where its month, day or hour begins, at the first move only."""
        if not self.moved:
            self.set(wall)
        self.moved = True

    def set(self, wall: datetime) -> None:
        """Where the wall shows this twice or never, a moment beside it."""
        shown = wall.replace(tzinfo=UTC)
        offset = self._offset(shown)
        self.at = shown - self._offset(shown - offset)

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self.zone).utcoffset() or timedelta()


@dataclass(frozen=True, slots=True)
class Spec:
    """Five fields."""

    minute: CronField
    hour: CronField
    day: CronField
    month: CronField
    weekday: CronField

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The first time after this one, in UTC; None where there is none within five years."""
        t = _Clock(after.replace(second=0, microsecond=0) + _MINUTE, zone)
        last = t.wall.year + _YEARS
        if not all(f.values for f in (self.minute, self.hour, self.day, self.month, self.weekday)):
            return None  # a field of commas alone
        while t.wall.year <= last:
            if self._month(t) and self._day(t) and self._hour(t) and self._minute(t):
                return t.at
        return None

    def _month(self, t: _Clock) -> bool:
        """Go on to a month that fits; False where the year ended first."""
        while t.wall.month not in self.month:
            t.begin(t.wall.replace(day=1, hour=0, minute=0))
            years, month = divmod(t.wall.month, 12)
            t.set(t.wall.replace(year=t.wall.year + years, month=month + 1))
            if month == 0:
                return False
        return True

    def _day(self, t: _Clock) -> bool:
        """Go on to a day that fits; False where the month ended first."""
        while not self._fits(t.wall):
            t.begin(t.wall.replace(hour=0, minute=0))
            before = t.at
            t.set(t.wall + _DAY)
            if t.at <= before:  # a zone may leave a whole day out
                t.at = before + _DAY
            if t.wall.hour != 0:  # that day has no midnight
                t.at += (24 - t.wall.hour if t.wall.hour > 12 else -t.wall.hour) * _HOUR
            if t.wall.day == 1:
                return False
        return True

    def _fits(self, wall: datetime) -> bool:
        day, weekday = wall.day in self.day, wall.isoweekday() % 7 in self.weekday
        return (day and weekday) if self.day.star or self.weekday.star else (day or weekday)

    def _hour(self, t: _Clock) -> bool:
        """Go on to an hour that fits; False where the day ended first."""
        while t.wall.hour not in self.hour:
            t.begin(t.wall.replace(minute=0))
            t.at += _HOUR
            if t.wall.hour == 0:
                return False
        return True

    def _minute(self, t: _Clock) -> bool:
        """Go on to a minute that fits; False where the hour ended first."""
        while t.wall.minute not in self.minute:
            t.moved = True
            t.at += _MINUTE
            if t.wall.minute == 0:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Every:
    """The same distance each time, in whole seconds."""

    delay: timedelta

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """The first time after this one."""
        return after.replace(microsecond=0) + self.delay


def times(schedule: str, zone: str | None, after: datetime) -> Iterator[datetime]:
    """When it is due after this moment, one time after the other, in UTC; it ends where it never is again.

    zone: of the schedule, None for UTC. ValueError for a schedule or a zone that there is not.
    """
    spec = parse(schedule)
    try:
        where = ZoneInfo(zone) if zone else UTC
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {zone!r}") from error
    return _times(spec, where, after.astimezone(UTC))


def _times(spec: Spec | Every, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    at = spec.next(after, zone)
    while at is not None:
        yield at
        at = spec.next(at, zone)


# -- reading ---------------------------------------------------------------------------------------------------------


def parse(schedule: str) -> Spec | Every:
    """ValueError, with what is wrong, for what is no schedule."""
    if schedule.startswith("@every "):
        return Every(timedelta(seconds=max(1, int(_duration(schedule.removeprefix("@every "))))))
    if schedule.startswith("@") and schedule not in _DESCRIPTORS:
        raise ValueError(f"unrecognized descriptor: {schedule}")
    fields = _DESCRIPTORS.get(schedule, schedule).split()
    if len(fields) != 5:
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    minute, hour, day, month, weekday = fields
    return Spec(
        _field(minute, 0, 59), _field(hour, 0, 23), _field(day, 1, 31),
        _field(month, 1, 12, _MONTHS), _field(weekday, 0, 6, _DAYS),
    )  # fmt: skip


def _field(text: str, least: int, most: int, names: Mapping[str, int] | None = None) -> CronField:
    values, star = set[int](), False
    for part in filter(None, text.split(",")):
        found, plain = _range(part, least, most, names or {})
        values.update(found)
        star = star or plain
    return CronField(frozenset(values), star)


def _range(part: str, least: int, most: int, names: Mapping[str, int]) -> tuple[range, bool]:
    """The values of one part, and whether it is a star."""
    span, *steps = part.split("/")
    low, *high = span.split("-")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {part}")
    star = low in ("*", "?")
    if not star and len(high) > 1:
        raise ValueError(f"too many hyphens: {part}")
    start = least if star else _number(low, names)
    end = most if star or (steps and not high) else _number(high[0], names) if high else start
    step = _number(steps[0], {}) if steps else 1
    if start < least:
        raise ValueError(f"beginning of range ({start}) below minimum ({least}): {part}")
    if end > most:
        raise ValueError(f"end of range ({end}) above maximum ({most}): {part}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")
    return range(start, end + 1, step), star and step == 1


def _number(text: str, names: Mapping[str, int]) -> int:
    if (named := names.get(text.lower())) is not None:
        return named
    if not re.fullmatch(r"\+?[0-9]+", text, re.ASCII):
        raise ValueError(f"failed to parse int from {text}")
    return int(text)


def _duration(text: str) -> Fraction:
    """Seconds, as Go writes a duration: "1h30m"."""
    body = text.lstrip("+-") if text[:1] in ("+", "-") else text
    parts = _PART.findall(body)
    if body == "0":
        return Fraction(0)
    if not parts or "".join(n + unit for n, unit in parts) != body or any(unit not in _UNITS for _, unit in parts):
        raise ValueError(f"failed to parse duration {text}")
    total = sum((Fraction(n.rstrip(".")) * _UNITS[unit] for n, unit in parts), Fraction(0))
    return -total if text.startswith("-") else total
