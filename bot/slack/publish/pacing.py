"""When a call to Slack may be made: token buckets a method, and pauses a channel and a message. Pure; time is given.

Made for one writer: only the elected publisher calls, so nothing is shared between processes.

Invariants:
- nothing queues here: who asks is told how long to wait, and asks again with what it wants to show by then;
- the last two tokens of a bucket are for decisions and ends, and of what may go a decision goes first;
- after a 429 the method rests for as long as Slack said, and then gets half its rate for five minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from bot.slack.draw.post import Urgency

PER_MINUTE = 45.0
"""Calls of one method; Slack's tier 3 allows "50+"."""
SLOWER = {"conversations.list": 18.0}
"""Methods of tier 2, "20+"."""
BURST = 8
RESERVED = 2
"""Tokens that only decisions may take."""
POSTS_APART, UPDATES_APART = 1.0, 1.2
"""Seconds between posts in a channel, and between updates of a message."""
PENANCE = 300.0
"""Seconds at half the rate after a 429."""

_RANK: dict[Urgency, int] = {"decision": 0, "news": 1, "live": 2}


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that is wanted. since: when it was first wanted; place: what may not be written to too often (a channel
    for posts, a message for updates), with the seconds `apart` between two calls."""

    method: str
    urgency: Urgency
    since: float
    place: str = ""
    apart: float = 0.0

    @property
    def order(self) -> tuple[int, float]:
        """What goes first: by urgency, then who has waited longest."""
        return _RANK[self.urgency], self.since


A = TypeVar("A", bound=Ask)


class Pacer:
    """The buckets of one workspace. Every `now` is in seconds of one clock that does not go back."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._last: dict[str, tuple[float, float]] = {}

    def wait(self, ask: Ask, now: float) -> float:
        """Seconds until this call may be made; 0: now."""
        last, apart = self._last.get(ask.place, (-1e9, 0.0)) if ask.place else (-1e9, 0.0)
        need = 1 if ask.urgency == "decision" else 1 + RESERVED
        return max(0.0, last + apart - now, self._bucket(ask.method).until(need, now))

    def spend(self, ask: Ask, now: float) -> None:
        """This call is being made."""
        self._bucket(ask.method).take(now)
        if ask.place:
            if len(self._last) > 1000:
                self._last = {k: v for k, v in self._last.items() if sum(v) > now}
            self._last[ask.place] = now, ask.apart

    def limited(self, method: str, retry_after: float, now: float) -> None:
        """Slack answered 429: leave the method alone for so many seconds, then go slowly."""
        self._bucket(method).rest(now, retry_after)

    def first(self, asks: Iterable[A], now: float) -> tuple[A | None, float]:
        """(the call to make now, the seconds until there is one). Nothing is spent."""
        soonest = float("inf")
        for ask in sorted(asks, key=lambda a: a.order):
            left = self.wait(ask, now)
            if left <= 0:
                return ask, 0.0
            soonest = min(soonest, left)
        return None, soonest

    def _bucket(self, method: str) -> _Bucket:
        return self._buckets.setdefault(method, _Bucket(SLOWER.get(method, PER_MINUTE) / 60))


@dataclass(slots=True)
class _Bucket:
    """rate: tokens a second; at: when `tokens` was true, in the future while the method rests."""

    rate: float
    tokens: float = BURST
    at: float = 0.0
    slow_until: float = 0.0

    def until(self, need: int, now: float) -> float:
        """Seconds until so many tokens are there."""
        self._refill(now)
        rest = max(0.0, self.at - now)
        missing, start = need - self.tokens, now + rest
        if missing <= 1e-9:
            return rest
        slow = max(0.0, self.slow_until - start)
        if missing <= slow * self.rate / 2:
            return rest + missing * 2 / self.rate
        return rest + slow + (missing - slow * self.rate / 2) / self.rate

    def take(self, now: float) -> None:
        self._refill(now)
        self.tokens -= 1

    def rest(self, now: float, seconds: float) -> None:
        self._refill(now)
        self.tokens = min(self.tokens, 1 + RESERVED)
        self.at = max(self.at, now + seconds)
        self.slow_until = self.at + PENANCE

    def _refill(self, now: float) -> None:
        if now <= self.at:
            return
        slow = max(0.0, min(now, self.slow_until) - self.at)
        self.tokens = min(BURST, self.tokens + (now - self.at - slow / 2) * self.rate)
        self.at = now
