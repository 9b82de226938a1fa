"""Holding the postmortem of an ended run at another time than the bot proposed: by a run of its own, which writes the
draft and the invitation anew, moves the reminder, and stands in the record.

Invariant: a postmortem is only ever of a run that has ended and had done something.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from bot.catalogue import Catalogue
from bot.policy import Actor, Person, Refusal, Why
from bot.ports.history import Arrangement
from bot.postmortem import dates
from bot.run.possible import why_not
from bot.run.state import Run
from bot.store.log import Store

FURTHEST = 366 * 86400.0
"""Seconds ahead beyond which a date is a slip."""


class OpensPostmortem(Protocol):
    """Opens a run that brings no release back; meeting: when people meet."""

    def __call__(
        self, service: str, purpose: str, reason: str, by: Actor, key: str | None, channel: str = "", follows: str = "",
        meeting: str = "",
    ) -> Awaitable[Run | Refusal]: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class Postmortems:
    """beside: opens the run; may: why a person may not; clock: seconds since the epoch."""

    store: Store
    beside: OpensPostmortem
    may: Callable[[Person], Awaitable[Refusal | None]]
    catalogue: Callable[[], Catalogue]
    clock: Callable[[], float]

    def arranged(self, service: str) -> Arrangement:
        """How postmortems of the service are held."""
        found = self.catalogue().services.get(service)
        return found.postmortem if found is not None else Arrangement()

    async def zone(self, run_id: str) -> ZoneInfo:
        """Where the team of the run's service lives."""
        return ZoneInfo(self.arranged((await self.store.load(run_id)).service).zone)

    def proposed(self, run: Run) -> float:
        """When it would be: as it was scheduled, where that is still to come; else some working days on."""
        said = (s.output.get("at") for s in run.steps.values() if "learn" in s.spec.duties and s.end == "done")
        at = next((datetime.fromisoformat(str(word)).timestamp() for word in said if word), 0.0)
        if at > self.clock():
            return at
        now = datetime.fromtimestamp(self.clock(), UTC)
        ended = datetime.fromtimestamp(run.restored or run.closed_at or self.clock(), UTC)
        return dates.meeting(ended, now, self.arranged(run.service)).timestamp()

    async def hold(self, run_id: str, at: float, person: Person, via: str, *, key: str | None = None) -> Run | Refusal:
        """Opens the run that schedules it for this moment (seconds since the epoch)."""
        if no := await self.may(person):
            return no
        run = await self.store.load(run_id)
        if run.created is None:
            return Refusal(Why.UNKNOWN, f"There is no run {run_id}. `history` lists the runs.")
        if objection := why_not(run, "postmortem"):
            return Refusal(objection.why, f"{objection.text[0].upper()}{objection.text[1:]}. Nothing was changed.")
        if not self.clock() < at < self.clock() + FURTHEST:
            return Refusal(Why.BAD_INPUT, "Choose a moment within the coming year. Nothing was changed.", field="at")
        moment = datetime.fromtimestamp(at, UTC).replace(microsecond=0)
        reason = f"the postmortem of {run_id} is to be on {dates.words(moment, self.arranged(run.service).zone)}"
        by, channel = Actor.of(person, via), run.created.channel
        return await self.beside(run.service, "postmortem", reason, by, key, channel, run_id, moment.isoformat())
