"""What goes wrong next, on demand: `POST /_faults`, or `workspace.faults.add(...)` in a test.

A fault of the Web API names the methods it hits (`chat.*`; response URLs are called `response_url`, file bytes
`upload`, a Socket Mode handshake `link`). A fault of a delivery names the kind of envelope (`events_api`,
`slash_commands`, `interactive`).

Invariants: faults hit in the order in which they were added; one that has hit `next` times, or whose time is over, is
gone; without faults nothing here changes what Slack does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from bot.playground.workspace.clock import Clock

Kind = Literal[
    "ratelimited",  # 429 with Retry-After, nothing is done
    "error",  # the answer is this Slack error, nothing is done
    "delay",  # done after so many seconds
    "refuse",  # the connection is dropped, nothing is done
    "cut",  # done, the connection is dropped in the middle of the answer
    "lose_answer",  # done, the connection is dropped instead of an answer
    "outage",  # everything answers 503, or is refused; sockets are dropped; nothing is done
    "duplicate",  # the envelope is delivered twice
    "lose_ack",  # the app's acknowledgement is lost
    "late",  # the envelope is delivered after so many seconds
    "drop_socket",  # the socket is dropped right after the envelope was sent
]
CALLS: tuple[Kind, ...] = ("outage", "refuse", "ratelimited", "error", "delay", "cut", "lose_answer")
DELIVERIES: tuple[Kind, ...] = ("late", "duplicate", "lose_ack", "drop_socket")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    hits: a pattern of methods or envelopes; next: how many of them, None for all; seconds: how long a delay takes, or
    for how long an outage, or a fault without `next`, goes on (0: until it is cleared); status: of an outage, 0 to
    refuse connections; error: Slack's code; retry_after: seconds.
    """

    kind: Kind
    hits: str = "*"
    next: int | None = 1
    seconds: float = 0.0
    status: int = 503
    error: str = "internal_error"
    retry_after: int = 1

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Fault:
        """From JSON. ValueError, TypeError with what is wrong."""
        fault = cls(**body)
        if fault.kind not in get_args(Kind):
            raise ValueError(f"there is no fault {fault.kind!r}; there are {', '.join(get_args(Kind))}")
        numbers = [body.get(name) or 0 for name in ("seconds", "status", "retry_after", "next")]
        if any(isinstance(n, bool) or not isinstance(n, int | float) or n < 0 for n in numbers):
            raise ValueError("seconds, status, retry_after and next are numbers, none of them negative")
        return fault

    @property
    def lasts(self) -> bool:
        """Goes on for a time, or until it is cleared, however often it hits."""
        return self.kind == "outage" or self.next is None


@dataclass
class _Armed:
    fault: Fault
    left: int | None
    until: float | None


class Faults:
    """The faults that are to come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._armed: list[_Armed] = []
        self.on_outage: Callable[[], None] = lambda: None

    def add(self, fault: Fault) -> None:
        """Let this happen next, after those that were added before."""
        if fault.kind == "outage":
            self.on_outage()
        until = self._clock.time() + fault.seconds if fault.lasts and fault.seconds else None
        self._armed.append(_Armed(fault, None if fault.lasts else fault.next, until))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._armed.clear()

    def pending(self) -> list[dict[str, Any]]:
        """What is still to come, for people."""
        self._sweep()
        return [dataclasses.asdict(armed.fault) | {"left": armed.left} for armed in self._armed]

    def take(self, name: str, kinds: Sequence[Kind]) -> Fault | None:
        """The first fault of these kinds that hits `name`; it has one hit less afterwards."""
        self._sweep()
        for armed in self._armed:
            if armed.fault.kind in kinds and fnmatchcase(name, armed.fault.hits):
                if armed.left is not None:
                    armed.left -= 1
                return armed.fault
        return None

    @property
    def outage(self) -> bool:
        """Whether Slack is down now."""
        self._sweep()
        return any(armed.fault.kind == "outage" for armed in self._armed)

    def _sweep(self) -> None:
        now = self._clock.time()
        self._armed = [a for a in self._armed if a.left != 0 and (a.until is None or now < a.until)]
