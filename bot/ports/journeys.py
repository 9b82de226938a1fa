"""Journeys of customers, as the catalogue holds them: what a synthetic customer asks for, and what must come back.

A check may have a journey walked although it only reads: what the journey writes is data of a synthetic tenant, listed
in the catalogue request by request, and removed by the journey's own clean-up. A handler can name a journey, never a
request. Values only; nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bot.ports import Json, Reply

MARK = "mark"
"""The variable that each walk has: text that no other walk has, by which what it made is found again."""

Comparison = Literal["is", "matches", "at_least", "at_most", "exists"]


@dataclass(frozen=True, slots=True)
class Assertion:
    """What one value of an answer must be. matches: a regular expression found in the text of the value."""

    rule: Comparison
    value: Json

    def __str__(self) -> str:
        match self.rule:
            case "is":
                return _text(self.value)
            case "matches":
                return f"like /{self.value}/"
            case "at_least":
                return f"at least {self.value}"
            case "at_most":
                return f"at most {self.value}"
            case "exists":
                return "there" if self.value else "not there"


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """What must come back. status: any of these, empty for every 2xx; headers: by name in lower case; json: by pointer
    (RFC 6901, "" is the whole); within: seconds, None: as long as the journey may take."""

    status: tuple[int, ...] = ()
    headers: Mapping[str, tuple[Assertion, ...]] = field(default_factory=dict)
    json: Mapping[str, tuple[Assertion, ...]] = field(default_factory=dict)
    within: float | None = None

    @property
    def words(self) -> str:
        """ "200 or 404", "2xx"."""
        return " or ".join(map(str, self.status)) or "2xx"


@dataclass(frozen=True, slots=True)
class Request:
    """One step. path, header values and texts of the body may hold `${name}`: a variable of the journey, or what an
    earlier step captured; body None: none; capture: name -> JSON pointer, `header:<name>` or `cookie:<name>`."""

    method: str
    path: str
    title: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    expect: ExpectedAnswer = ExpectedAnswer()
    capture: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """ "pay (POST /payments)"."""
        sent = f"{self.method} {self.path}"
        return f"{self.title} ({sent})" if self.title else sent


@dataclass(frozen=True, slots=True)
class Journey:
    """What a customer does. targets: HTTP targets of the service that it is walked on, each by itself; reads: whether
    all of it only reads; within: seconds for the whole, clean-up apart; variables: name -> environment variable with
    its value; clean_up: requests that remove what the walk made, done whatever became of it; ways: target -> the
    cluster that it is the way into, for those that are one's."""

    name: str
    title: str
    targets: tuple[str, ...]
    steps: tuple[Request, ...]
    reads: bool = False
    within: float = 30.0
    variables: Mapping[str, str] = field(default_factory=dict)
    clean_up: tuple[Request, ...] = ()
    ways: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Miss:
    """Where a walk went wrong. step: from 1; came, expected: in words."""

    step: int
    request: str
    came: str
    expected: str


@dataclass(frozen=True, slots=True)
class Walk:
    """How one walk went. done: steps that came as expected; seconds: for the steps alone; miss: what did not; away: why
    nothing is known (no connection, no answer, a variable that is not set), "" where it is; left: what could not be
    cleaned up, of this walk and of earlier ones, a line each; removed: earlier walks that never ended, and are cleaned
    up now."""

    done: int
    of: int
    seconds: float
    miss: Miss | None = None
    away: str = ""
    left: tuple[str, ...] = ()
    removed: int = 0


Fetch = Callable[[str, str, Mapping[str, str]], Awaitable[Reply]]
"""Another way to the service: (method, path, headers) -> answer. Raises Unreachable."""


class Journeys(Protocol):
    """The journeys of one service."""

    @property
    def catalogued(self) -> Mapping[str, Journey]:
        """By name; targets only those that the run does not go on without."""
        ...

    async def walk(self, name: str, target: str, through: Fetch | None = None) -> Walk:
        """Walks it once, on one of its targets, and cleans up: first what an earlier walk left that never ended, then
        its own. Raises nothing for what the service does.

        through: sends the requests instead (a probe without traffic); ValueError unless the journey only reads.
        LookupError for a journey or a target of it that there is not.
        """
        ...


def _text(value: Json) -> str:
    if isinstance(value, str):
        return repr(value)
    return {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else str(value)
