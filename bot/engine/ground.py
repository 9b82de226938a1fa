"""Whether a node may work on a run: its catalogue, and those of the others, against where the run is pinned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bot.ports import Where
from bot.run import events as ev
from bot.run.rules import refused
from bot.run.state import Run
from bot.run.where import known, stands_at


@dataclass(frozen=True, slots=True)
class Ground:
    """What a node finds out about the places of a run.

    wrong: in which ways its catalogue says otherwise, a line each; able: it still reaches the run's places, by an
    earlier catalogue; alone: no other node that is alive stands by them; places: those of its catalogue, None where it
    lacks the service.
    """

    wrong: tuple[str, ...] = ()
    able: bool = False
    alone: bool = False
    places: Mapping[str, Where] | None = None

    def moves(self, run: Run) -> ev.Relocated | None:
        """What makes the catalogue's places the run's: asked again. None where they are, where another node stands by
        the run's, or where something of the run stands."""
        if not self.wrong or not self.alone or self.places is None:
            return None
        found = ev.Relocated(known(run.places, self.places), self.wrong)
        return found if refused(run, found) is None else None

    def why_not(self, run: Run) -> str:
        """Why this node takes no attempt of the run; empty where it does. What has begun goes on where it began, by an
        earlier catalogue, as long as this process knows it."""
        goes_on = self.able and self.alone and self.moves(run) is None and bool(stands_at(run, [*run.places]))
        return "" if goes_on else "; ".join(self.wrong)

    def told(self, run: Run) -> str:
        """What the thread of the run says of a catalogue that says otherwise; empty where it does not, where another
        node goes on with the run, and where people are asked anew."""
        if not self.wrong or not self.alone or self.moves(run) is not None:
            return ""
        goes_on = "This run goes on with what it was approved for, and takes back there what it did there."
        stuck = "Nothing of this run goes on until the catalogue leads there again."
        how = stuck if self.why_not(run) else goes_on
        return f"The catalogue says otherwise by now: {'; '.join(self.wrong)}. {how}"


class Grounds(Protocol):
    """Tells how this node stands to a run."""

    async def ground(self, run: Run) -> Ground: ...


class Anywhere:
    """For an engine whose ports are the same on every node."""

    async def ground(self, run: Run) -> Ground:
        """Nothing speaks against it."""
        return Ground()
