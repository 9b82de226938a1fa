"""How often a method may be called: Slack's tiers, per method and workspace, and one post a second in a channel.

Slack promises "20+ per minute" and "short bursts" without figures. Here a tier is a bucket that refills at exactly its
rate and holds the burst given below; whoever keeps to a published rate with a burst of eight is never refused.
https://docs.slack.dev/apis/web-api/rate-limits

Invariants: a refused call costs nothing; Retry-After is whole seconds, at least one, and enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bot.playground.workspace.clock import Clock
from bot.playground.workspace.wire import SlackError


@dataclass(frozen=True, slots=True)
class Rate:
    """calls a minute, and how many at once after a pause."""

    per_minute: float
    burst: int


TIER_1 = Rate(1, 20)
TIER_2 = Rate(20, 10)
TIER_3 = Rate(50, 15)
TIER_4 = Rate(100, 25)
SPECIAL = Rate(600, 100)
"""Methods of which Slack only says that they take hundreds of calls a minute."""
POST = Rate(300, 50)
"""chat.postMessage over all channels."""
CHANNEL = Rate(60, 5)
"""Posts in one channel."""


@dataclass
class _Bucket:
    tokens: float
    at: float


class Rates:
    """The buckets. strict: False lets everything pass."""

    def __init__(self, clock: Clock, *, strict: bool = True) -> None:
        self.strict = strict
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def spend(self, *claims: tuple[str, Rate]) -> None:
        """One call out of each of these buckets, or of none. SlackError ratelimited."""
        if not self.strict:
            return
        now = self._clock.time()
        buckets = []
        for name, rate in claims:
            bucket = self._buckets.setdefault(name, _Bucket(rate.burst, now))
            bucket.tokens = min(rate.burst, bucket.tokens + (now - bucket.at) * rate.per_minute / 60)
            bucket.at = now
            if bucket.tokens < 1:
                raise limited(math.ceil((1 - bucket.tokens) * 60 / rate.per_minute))
            buckets.append(bucket)
        for bucket in buckets:
            bucket.tokens -= 1


def limited(seconds: int) -> SlackError:
    """Too often; again after so many seconds."""
    return SlackError("ratelimited", status=429, headers={"Retry-After": str(max(1, seconds))})
