"""A `redis:` target of `rollback.yaml`: a Redis or Valkey server, or a cluster, with what of it hangs together with
releases and the job queues that lie in it.

    cache:
      redis: "cache.internal:6379/0"
      password: SHOP_CACHE_PASSWORD
      flush: ["shop:{release}:", "shop:prices:"]
      queues:
        jobs: {list: "shop:jobs", kind: /kind, at: /at, dead: "shop:jobs:dead", kinds: {"2.4.0": [receipt]}}
        events: {stream: "shop:events", group: workers, kind: /kind}

Invariants: no prefix that means a whole database, no secret, and nothing that only some of the servers understand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from bot.catalogued.shapes import Pointer, Variable, several
from bot.located.strict import Duration, Slug, Word
from bot.ports.caches import RELEASE, REMOVED, Cache, Queue, unfit

_KNOWN_KEYS = ConfigDict(extra="forbid")
_EXAMPLE = "must be host:port/number, like cache.internal:6379/0; who logs in is said by username and password"


def _place(address: str) -> str:
    host, slash, number = address.rpartition("/")
    where, colon, port = host.rpartition(":")
    known = slash and colon and where and port.isdigit() and 0 < int(port) < 65536 and number.isdigit()
    if not known or "@" in address or "//" in address:
        raise ValueError(_EXAMPLE)
    return address


def _prefix(prefix: str) -> str:
    if prefix.endswith((RELEASE, REMOVED)):
        raise ValueError(
            "a prefix that ends with a version means others too (2.4.1 and 2.4.10); add what stands behind"
        )
    if why := unfit(prefix.replace(RELEASE, "1.0").replace(REMOVED, "1.0")):
        raise ValueError(why)
    return prefix


Prefix = Annotated[str, Field(max_length=200), AfterValidator(_prefix)]
Kinds = Annotated[tuple[Word, ...], BeforeValidator(several)]


@dataclass(frozen=True, slots=True)
class QueueTarget:
    """Jobs that wait in a list, or in a stream for a consumer group."""

    __pydantic_config__ = _KNOWN_KEYS

    list: Annotated[Word | None, Field(description="Key of the list.")] = None
    stream: Annotated[Word | None, Field(description="Key of the stream; with `group`.")] = None
    group: Annotated[Word | None, Field(description="Consumer group that does the stream's jobs.")] = None
    take: Annotated[Literal["left", "right"], Field(description="End of the list that workers take from.")] = "right"
    kind: Annotated[
        Pointer, Field(description="JSON Pointer into a job, to its kind; a stream's fields are its keys.")
    ] = ""
    at: Annotated[
        Pointer, Field(description="JSON Pointer to when it was queued: seconds, milliseconds or RFC 3339.")
    ] = ""
    taken: Annotated[Word | None, Field(description="Key of the list of jobs that workers have in hand.")] = None
    dead: Annotated[Word | None, Field(description="Key of the jobs that failed for good.")] = None
    done: Annotated[Word | None, Field(description="Key of a counter of jobs that were done.")] = None
    depth: Annotated[int, Field(ge=0, description="How many jobs may wait while all is well.")] = 100
    oldest: Annotated[Duration, Field(description="How long a job may wait; 0: nothing is said.")] = 0.0
    kinds: Annotated[
        Mapping[Word, Kinds],
        Field(description="Version -> kinds of jobs that this release reads, where it does not say so itself."),
    ] = field(default_factory=dict)
    claim: Annotated[
        Duration, Field(gt=0, description="After which time workers take over a stream's job from one that died.")
    ] = 60.0

    def __post_init__(self) -> None:
        if (self.list is None) == (self.stream is None):
            raise ValueError("must say where its jobs wait: list or stream")
        if (self.stream is None) != (self.group is None):
            raise ValueError("a stream is read by a consumer group, a list is not: stream and group go together")

    def queue(self, name: str) -> Queue:
        """As handlers see it."""
        return Queue(
            name, self.list or self.stream or "", self.group or "", self.take, self.kind, self.at, self.dead or "",
            self.done or "", self.taken or "", self.depth, self.oldest, dict(self.kinds), self.claim,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """A Redis or Valkey server. Its password is named here and stands in the environment."""

    __pydantic_config__ = _KNOWN_KEYS

    redis: Annotated[str, AfterValidator(_place), Field(description="Address: host:port/number of the database.")]
    username: Annotated[Word | None, Field(description="Who logs in; the server's default user otherwise.")] = None
    password: Annotated[Variable | None, Field(description="Variable with the password.")] = None
    tls: Annotated[bool, Field(description="Whether it is reached over TLS.")] = False
    cluster: Annotated[bool, Field(description="Whether it is a node of a cluster: all of them are reached.")] = False
    timeout: Annotated[Duration, Field(gt=0, description="How long one answer may take.")] = 5.0
    flush: Annotated[
        tuple[Prefix, ...],
        BeforeValidator(several),
        Field(description="Prefixes of the keys that a rollback removes; {release} and {removed} stand for versions."),
    ] = ()
    queues: Annotated[Mapping[Slug, QueueTarget], Field(description="Job queues that lie in it.")] = field(
        default_factory=dict
    )
    database: Annotated[
        Slug | None, Field(description="PostgreSQL target of the service that answers what the cache does not.")
    ] = None
    sessions: Annotated[
        int, Field(ge=1, description="Sessions of that database that may be at work while keys are removed.")
    ] = 50
    latency: Annotated[
        Duration, Field(gt=0, description="How long an answer may take while keys are removed; then it goes slower.")
    ] = 0.02
    rate: Annotated[int, Field(ge=0, description="Keys that are removed a second, at most; 0: as many as go.")] = 0

    def __post_init__(self) -> None:
        if self.cluster and self.parts[2]:
            raise ValueError("a cluster has the database 0 only")

    @property
    def parts(self) -> tuple[str, int, int]:
        """Host, port and number of the database."""
        host, _, number = self.redis.rpartition("/")
        where, _, port = host.rpartition(":")
        return where.removeprefix("[").removesuffix("]"), int(port), int(number)

    @property
    def variables(self) -> frozenset[str]:
        """Those that hold its secrets."""
        return frozenset([self.password] if self.password else [])

    def cache(self, name: str) -> Cache:
        """As handlers see it."""
        return Cache(name, self.flush, tuple(q.queue(n) for n, q in self.queues.items()), self.rate)
