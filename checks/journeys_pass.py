"""V2: what customers do works: every journey of the catalogue, walked by a synthetic customer on each of its targets.

A journey's own writes are not the run's: they are data of a synthetic tenant, written request by request in the
catalogue and removed by the journey itself, so a check may make them. No answer is unknown, and unknown is no pass; a
walk that passes and cannot be cleaned up is a warning, with what is left.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports.journeys import Journey, Walk

AT_ONCE = 4
"""Walks at the same time: synthetic customers are not to be a load."""
TOLD = 3
"""Walks that went wrong and are told in full."""


class JourneysPassParams(Params):
    """Which journeys."""

    only: list[str] = Field([], description="Names of the journeys; all that the catalogue has, where none is named.")
    reads: bool = Field(False, description="Only those that change nothing.")


class JourneysPassOutput(Output):
    """How they went."""

    passed: int = Field(description="Walks of which every step came as expected.")
    walks: int = Field(description="Walks altogether: each journey on each of its targets.")
    seconds: dict[str, float] = Field(description="Walk -> seconds that its steps took.")
    failed: list[str] = Field(description="Walks of which a step did not come as expected.")
    unknown: list[str] = Field(description="Walks of which nothing is known.")
    left: list[str] = Field(description="What could not be cleaned up, a line each.")


@dataclass(frozen=True, slots=True)
class _Walked:
    journey: Journey
    target: str
    walk: Walk

    @property
    def name(self) -> str:
        """ "payments", or "payments on api-us" where there are several ways."""
        return self.journey.name if len(self.journey.targets) == 1 else f"{self.journey.name} on {self.target}"

    @property
    def status(self) -> Status:
        w = self.walk
        if w.miss is not None:
            return Status.FAIL
        return Status.UNKNOWN if w.away or w.done < w.of else Status.WARN if w.left else Status.PASS

    @property
    def words(self) -> str:
        w = self.walk
        if w.miss is not None:
            return f"{self.name}: step {w.miss.step} of {w.of}, {w.miss.request}: {w.miss.came}, not {w.miss.expected}"
        return f"{self.name}: {w.away}" if w.away else f"{self.name} {w.done} of {w.of} in {w.seconds * 1000:.0f} ms"


class JourneysPass(Check[JourneysPassParams]):
    """Passes when every journey came as expected on each of its targets, and was cleaned up."""

    name = "journeys.pass"
    needs = frozenset({"journeys"})
    Params = JourneysPassParams
    Output = JourneysPassOutput

    async def run(self, ctx: ReadCtx, p: JourneysPassParams) -> Verdict:
        known = ctx.ports.journeys.catalogued
        if missing := sorted({*p.only} - {*known}):
            return Verdict(Status.UNKNOWN, f"the catalogue has no journey {', '.join(missing)}", "these journeys")
        chosen = [j for n, j in known.items() if (not p.only or n in p.only) and (j.reads or not p.reads)]
        pairs = [(j, target) for j in chosen for target in j.targets]
        if not pairs:
            return _nothing(bool(known), p)
        few = asyncio.Semaphore(AT_ONCE)

        async def walked(journey: Journey, target: str) -> _Walked:
            async with few:
                return _Walked(journey, target, await ctx.ports.journeys.walk(journey.name, target))

        return _verdict(await asyncio.gather(*(walked(j, target) for j, target in pairs)))


def _nothing(any_known: bool, p: JourneysPassParams) -> Verdict:
    if not any_known:
        return Verdict(Status.PASS, "the service has no journeys in the catalogue", "every journey there is")
    what = "only reads" if p.reads else "is walked on a target that takes part"
    return Verdict(Status.UNKNOWN, f"none of the journeys {what}", "at least one journey")


_ORDER = (Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL)


def _verdict(walked: Sequence[_Walked]) -> Verdict:
    worst = max((w.status for w in walked), key=_ORDER.index)
    good = [w for w in walked if w.status.good]
    bad = sorted((w for w in walked if not w.status.good), key=lambda w: -_ORDER.index(w.status))
    left = [line for w in walked for line in w.walk.left]
    removed = sum(w.walk.removed for w in walked)
    data = JourneysPassOutput(
        passed=len(good),
        walks=len(walked),
        seconds={w.name: round(w.walk.seconds, 3) for w in walked},
        failed=[w.name for w in walked if w.status is Status.FAIL],
        unknown=[w.name for w in walked if w.status is Status.UNKNOWN],
        left=left,
    )
    said = [w.words for w in bad[:TOLD]]
    said += [f"and {len(bad) - TOLD} more: {', '.join(w.name for w in bad[TOLD:])}"] if len(bad) > TOLD else []
    said += [f"{len(good)} of {len(walked)} pass"] if bad else ["; ".join(w.words for w in good)]
    said += [f"not cleaned up: {'; '.join(left)}"] if left else []
    said += [f"{removed} earlier walk{'s' * (removed != 1)} that never ended cleaned up"] if removed else []
    expected = f"{len(walked)} of {len(walked)} as the catalogue says"
    return Verdict(worst, "; ".join(said), expected, data.model_dump())
