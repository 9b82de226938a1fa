"""Whether a run's people can be reached, and can decide: what `people.reachable` asks before anything is touched.

Both ports are bound to one run: they know its plan, who is barred from it, and the channel it was asked for in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a channel, and what to do about it. cut_off: whether nothing can be posted there at all."""

    what: str
    cut_off: bool


class ChannelAccess(Protocol):
    """Where people read."""

    async def trouble(self, names: Collection[str]) -> Mapping[str, Trouble]:
        """Channel -> what is wrong with it, of these and of the run's own; empty where all can be posted to.

        Raises Unreachable where Slack does not answer.
        """
        ...


class People(Protocol):
    """Who there is to decide."""

    async def impossible(self) -> Mapping[str, str]:
        """Open decision -> why nobody who exists, and is not barred, can pass it."""
        ...

    async def off_call(self) -> Mapping[str, str]:
        """Role that the run's open decisions need -> why nobody on call can be asked; only of roles with a schedule."""
        ...
