"""Caches and job queues as handlers see them: keys that are removed by prefix, jobs that wait, and jobs set aside.

What a queue holds is never handed out: of a job there are its kind and its age, as the catalogue says where they stand.
Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

RELEASE = "{release}"
"""In a prefix: the version of a release, of each that goes and of the one that comes back."""
REMOVED = "{removed}"
"""In a prefix: the version of each release that goes."""
SHORTEST = 2
"""Characters that a prefix must have: less is no part of a keyspace, but most of it."""


class CacheRefused(Exception):
    """The server answered, and refuses; the message is its own (a right that is lacking, another type of key)."""


class TooMany(Exception):
    """More keys begin with the prefix than may be removed; nothing is removed beyond the limit.

    removed: how many were, until then."""

    def __init__(self, message: str, removed: int) -> None:
        super().__init__(message)
        self.removed = removed


def unfit(prefix: str) -> str:
    """Why nothing may be removed by this prefix; empty where it may."""
    told = prefix.strip()
    if not told:
        return "a prefix is empty: every key begins with it"
    if told.endswith("*"):
        return f"prefix {prefix!r} ends with a star: write it without, all that begins with it is meant"
    if len(told) < SHORTEST or not any(c.isalnum() for c in told):
        return f"prefix {prefix!r} says too little: it needs {SHORTEST} characters, and letters or digits among them"
    return ""


def prefixes(prefix: str, going: Sequence[str], coming: str) -> Sequence[str]:
    """What a prefix of the catalogue stands for. going: versions that are removed; coming: the one that comes back.

    Values that the release that comes back has left in its cache are as old as its last day of service: they go too."""
    if RELEASE in prefix:
        return [*dict.fromkeys(prefix.replace(RELEASE, version) for version in (*going, coming) if version)]
    if REMOVED in prefix:
        return [*dict.fromkeys(prefix.replace(REMOVED, version) for version in going if version)]
    return [prefix]


@dataclass(frozen=True, slots=True)
class Queue:
    """A list or a stream that jobs wait in.

    key: where it lies; group: the consumer group that does its jobs, "" for a list; take: the end of a list that
    workers take from ("left", "right"); kind, at: JSON Pointers into a job, to its kind and to when it was queued, ""
    where it does not say; dead: key of the jobs that failed for good, done: of a counter of those that were done, ""
    where there is none; taken: of the list of what workers are at; depth: jobs that may wait while all is well; oldest:
    seconds that one may wait, 0 where nothing is said; kinds: version -> kinds that this release reads, where the
    releases themselves do not say; claim: seconds after which workers take over what another has left undone.
    """

    name: str
    key: str
    group: str = ""
    take: str = "right"
    kind: str = ""
    at: str = ""
    dead: str = ""
    done: str = ""
    taken: str = ""
    depth: int = 100
    oldest: float = 0.0
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    claim: float = 60.0

    @property
    def stream(self) -> bool:
        """Whether it is a stream."""
        return bool(self.group)


@dataclass(frozen=True, slots=True)
class Cache:
    """A target of the catalogue. prefixes: of the keys that a rollback removes, with `{release}` or `{removed}` where
    they hang together with releases; queues: that lie in it; rate: keys a second that may be removed, 0 for any."""

    name: str
    prefixes: tuple[str, ...] = ()
    queues: tuple[Queue, ...] = ()
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Swept:
    """How far a flush is. removed: keys, as the server counts them; waits: why it is slower than it could be, "" where
    it is not; share: how much of the keyspace it has walked through, 0 to 1, as far as that can be told."""

    removed: int
    waits: str = ""
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Kinds:
    """What waits in a queue. counts: kind -> jobs; unread: jobs whose kind cannot be read; held: kind -> jobs that a
    worker has taken and may still be at."""

    counts: Mapping[str, int]
    unread: int = 0
    held: Mapping[str, int] = field(default_factory=dict)

    def strange(self, reads: Collection[str]) -> Mapping[str, int]:
        """Kind -> jobs, of the kinds that are not among these; those that are held too."""
        found = {kind: n for kind, n in self.counts.items() if kind not in reads}
        for kind, n in self.held.items():
            if kind not in reads:
                found[kind] = found.get(kind, 0) + n
        return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Parked:
    """Jobs that stand aside. kinds: that were set aside; owner: for which run; jobs: how many there are."""

    kinds: tuple[str, ...]
    owner: str
    jobs: int


@dataclass(frozen=True, slots=True)
class MovedJobs:
    """What came of moving jobs. jobs: that were moved; held: that workers may still be at, and were left."""

    jobs: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue at a moment. at: seconds of the server's clock; there: whether its key exists; waiting: jobs that nobody
    has taken, None where that is not known; taken: by workers, and not done; head: what tells the job that has waited
    longest from another, "" where none waits; oldest: seconds that it has waited, None where that is not known; dead,
    done: None where nothing says; takers: clients that wait for jobs, or have asked for some not long ago; takes: how
    often anybody has taken from a list of this server since it counts; both None where that is not known.
    """

    at: float
    there: bool
    waiting: int | None
    taken: int = 0
    head: str = ""
    oldest: float | None = None
    dead: int | None = None
    done: int | None = None
    takers: int | None = None
    takes: int | None = None


class Caches(Protocol):
    """The caches and queues of one service. Reading and writing raise Unreachable (no answer: nothing is known),
    CacheRefused; LookupError for what the catalogue does not name."""

    @property
    def caches(self) -> Sequence[Cache]:
        """As they are catalogued."""
        ...

    async def count(self, cache: str, prefix: str) -> int:
        """The keys that begin with it, by a walk over all of them: what has expired does not count. ValueError for a
        prefix that may not be removed."""
        ...

    def flush(self, cache: str, prefix: str, most: int) -> AsyncIterator[Swept]:
        """Removes the keys that begin with it, in one walk over all of them, and tells how far it is. Slowed down by
        how the server answers and by the load of the database behind it. Again is harmless. most: more are not
        removed: TooMany. ValueError for a prefix that may not be removed."""
        ...

    async def kinds(self, cache: str, queue: str) -> Kinds:
        """What waits in a queue, by a walk over all of it."""
        ...

    async def parked(self, cache: str, queue: str) -> Parked | None:
        """What stands aside; None where nothing was set aside."""
        ...

    async def park(self, cache: str, queue: str, kinds: Collection[str], owner: str) -> MovedJobs:
        """Sets the jobs of these kinds aside that wait there, each in one atomic step, and notes for whom. Again is
        harmless."""
        ...

    async def unpark(self, cache: str, queue: str, kinds: Collection[str]) -> MovedJobs:
        """Puts the jobs of these kinds back that stand aside, in their order, as the next that are taken; each in one
        atomic step. Again is harmless."""
        ...

    async def watch(
        self, cache: str, queue: str, at: Sequence[float], enough: Callable[[Sequence[Depth]], bool]
    ) -> Sequence[Depth]:
        """How a queue stands, looked at now and so many seconds after that, rising, until what was seen is enough."""
        ...
