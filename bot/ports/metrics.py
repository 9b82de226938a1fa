"""Monitoring as handlers see it: numbers over time, the rules that watch them, and who is told.

A query is text in the monitor's own language and stands in the catalogue; handlers hand it on and never write one.

What is not a number is never one: `NaN` and infinities come through as Python's, a gap is a missing point, and a series
that is not there is missing from the answer. None of these is zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

Good = Literal["low", "high", "near"]
"""Which way a number is well: the lower, the higher, or near to what it was."""

NEVER = datetime.min.replace(tzinfo=UTC)
"""What a monitor says of what has not happened yet begins in this year."""


class QueryRefused(Exception):
    """The monitor answered and gave no result: the query is wrong, takes too long, or it refuses us. In its words."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A number that the catalogue names.

    query: gives it at a moment; unit: put behind the number; limit: beyond it is never well; tolerance: how many times
    what it was is still steady; noise: a difference that does not matter, in its unit; samples: a query for how many
    things the number rests upon, "" where it needs none; minimum: fewer of them say nothing.
    """

    name: str
    query: str
    unit: str = ""
    good: Good = "low"
    limit: float | None = None
    tolerance: float = 1.5
    noise: float = 0.0
    samples: str = ""
    minimum: float = 20.0

    def shown(self, value: float) -> str:
        """ "0.03 %"."""
        digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        return f"{digits} {self.unit}".strip()


@dataclass(frozen=True, slots=True)
class Monitor:
    """A target of the catalogue. series: by name; cluster: the one that it watches, "" where it is none's alone;
    labels: what the service's targets and alerts carry; groups: names of the rule groups that are the service's, none:
    all; jobs: what must be scraped -> how many of it at least; always: alerts that fire as long as all is well with
    the monitor; told: whether it has an Alertmanager."""

    name: str
    series: Mapping[str, Watched] = field(default_factory=dict)
    cluster: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)
    always: tuple[str, ...] = ()
    told: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One number at a moment. labels: without the metric's name."""

    labels: Mapping[str, str]
    value: float
    at: datetime


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """A series over time. points: (seconds since the epoch, value), oldest first, gaps left out."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What a query gave. warnings: what the monitor says is missing from it (a part that did not answer)."""

    samples: tuple[Sample, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """What a query gave over time. warnings: as of an `QueryAnswer`."""

    lines: tuple[TimeSeries, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scraped:
    """Something that the monitor reads. health: "up", "down" or "unknown" (not read yet); error: why it is down."""

    job: str
    instance: str
    labels: Mapping[str, str]
    health: str
    error: str = ""
    last: datetime = NEVER

    @property
    def what(self) -> str:
        """ "shop-api 10.1.2.3:8080"."""
        return f"{self.job} {self.instance}".strip()


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An alert that is pending or firing. since: of being active."""

    name: str
    labels: Mapping[str, str]
    state: str
    since: datetime = NEVER


@dataclass(frozen=True, slots=True)
class MonitorRule:
    """A rule that watches. health: "ok", "err" or "unknown" (not evaluated yet); error: why it is broken; evaluated:
    when it was last; every: seconds between two looks; holds: seconds that its condition must hold before it fires."""

    name: str
    group: str
    query: str
    labels: Mapping[str, str]
    health: str
    error: str = ""
    evaluated: datetime = NEVER
    every: float = 60.0
    holds: float = 0.0
    alerts: tuple[ActiveAlert, ...] = ()


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that has fired at some time. last: when it was last seen to."""

    name: str
    labels: Mapping[str, str]
    last: datetime


@dataclass(frozen=True, slots=True)
class NotifiedAlert:
    """An alert as those who tell people have it. by: ids of the silences that keep it quiet; behind: whether another
    alert does."""

    name: str
    labels: Mapping[str, str]
    by: tuple[str, ...] = ()
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Matcher:
    """One term of a silence. equal False: it must not match."""

    name: str
    value: str
    regex: bool = False
    equal: bool = True

    def fits(self, labels: Mapping[str, str], *, whole: bool) -> bool:
        """Whether an alert of these labels meets it. whole: they are all of its labels; else one that is not among them
        may have any value."""
        if self.name not in labels and not whole:
            return True
        said = labels.get(self.name, "")
        try:
            same = re.fullmatch(self.value, said) is not None if self.regex else said == self.value
        except re.error:  # an expression that only the other side reads
            return True
        return same is self.equal


@dataclass(frozen=True, slots=True)
class Silence:
    """Keeps alerts quiet. by: who made it; why: their words; state: "active", "pending" or "expired"."""

    id: str
    matchers: tuple[Matcher, ...]
    starts: datetime
    ends: datetime
    by: str
    why: str
    state: str

    def covers(self, labels: Mapping[str, str], *, whole: bool = True) -> bool:
        """Whether an alert of these labels is kept quiet by it, or may be (not whole)."""
        return all(m.fits(labels, whole=whole) for m in self.matchers)


class Metrics(Protocol):
    """The monitors of one service. Everything reads. Unreachable (no answer: nothing is known), QueryRefused;
    LookupError for a monitor that the catalogue does not name."""

    @property
    def catalogued(self) -> bool:
        """Whether the service has a monitor at all, of those too that take no part."""
        ...

    @property
    def monitors(self) -> Sequence[Monitor]:
        """In the order of the catalogue."""
        ...

    async def instant(self, monitor: str, query: str, at: datetime) -> QueryAnswer:
        """What a query gives at a moment."""
        ...

    async def range(self, monitor: str, query: str, start: datetime, end: datetime, step: float) -> Lines:
        """What it gives from a moment to another, both included, every `step` seconds. The grid is one of whole steps
        since the epoch, so that two ranges of one step can be laid side by side."""
        ...

    async def newest(self, monitor: str, query: str, at: datetime) -> datetime | None:
        """When the oldest of what a query reads was last measured: a number can be made of what nobody measures any
        more. None where something that it reads is not there."""
        ...

    async def began(self, monitor: str, query: str, since: datetime, at: datetime) -> int:
        """How many of the counters that a query reads began, or began anew, in this time. What they had counted before
        they were first read is in no rate. The time that the query itself looks back is part of it."""
        ...

    async def scraped(self, monitor: str) -> Sequence[Scraped]:
        """What of the service the monitor reads, by the target's labels."""
        ...

    async def jobs(self, monitor: str, start: datetime, end: datetime) -> Mapping[str, int]:
        """What of the service was read in a time: job -> how many of it at most."""
        ...

    async def rules(self, monitor: str) -> Sequence[MonitorRule]:
        """The rules that raise the service's alerts, by the target's groups."""
        ...

    async def fired(self, monitor: str, since: datetime, at: datetime) -> Sequence[Fired]:
        """The service's alerts that were firing at some time of these."""
        ...

    async def there(self, monitor: str, query: str, labels: Mapping[str, str], then: datetime, at: datetime) -> bool:
        """Whether what a rule read `then` of the thing that these labels name is still there to be read. Names of a
        single pod or container do not count: they come and go with every rollout."""
        ...

    async def started(self, monitor: str) -> datetime | None:
        """When the monitor began to work; it knows of no alert's past before. None where it does not say."""
        ...

    async def receivers(self, monitor: str) -> int:
        """How many there are that the monitor tells of its alerts."""
        ...

    async def held(self, monitor: str) -> Sequence[NotifiedAlert]:
        """The service's alerts as those who tell people have them; none where the monitor has nobody for that."""
        ...

    async def silences(self, monitor: str) -> Sequence[Silence]:
        """What keeps alerts quiet now or soon, whoever's."""
        ...
