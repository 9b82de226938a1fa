"""Posts that actions make: an announcement, a notice about a CDN, a postmortem."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Topic:
    """What a run is about, for those who have not followed it. forward: it brings back what was rolled back;
    channel: where it is shown, empty where nowhere; commander: their name."""

    run: str
    service: str
    removed: str
    target: str
    reason: str
    commander: str
    channel: str
    forward: bool = False


class Notices(Protocol):
    """Where people are told something. Bound to one run."""

    @property
    def topic(self) -> Topic:
        """What the run is about."""
        ...

    async def post(
        self, channel: str, name: str, text: str, *, at: datetime | None = None, people: Collection[str] = ()
    ) -> None:
        """Tell the channel (as catalogued) this. It is written down and posted by and by: it never waits for Slack.

        name: of the post in this run; again is harmless, the first text stays. at: not before this moment (aware);
        people: ids of those whom it is to reach, who are mentioned.
        """
        ...
