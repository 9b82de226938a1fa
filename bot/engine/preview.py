"""What a plan would do if it were run now: every step planned, nothing written. A forecast; it binds nothing.

Checks that come before everything (preflight) are run, so that what depends on their answers can be said as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.contract import Change, Fatal, Retryable, Verdict
from bot.engine.attempt import Execution, PortsOf
from bot.handlers.registry import Registry
from bot.plan.model import StepSpec
from bot.run import events as ev
from bot.run.fold import evolve
from bot.run.state import Run, Step, new_run


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is known of one step beforehand: its change, or a check's verdict, or why neither can be said."""

    step: StepSpec
    change: Change | None = None
    verdict: Verdict | None = None
    why_not: str = ""


class _Nowhere:
    """A preview has no log: whatever would be written is not."""

    async def recent(self, run: str) -> Run:
        return new_run(run)

    async def submit(self, run: str, *events: ev.Event) -> str | None:
        return "this is a preview"

    async def progress(self, run: str, step: str, text: str, done: int | None, total: int | None) -> None:
        return None

    async def rest(self, seconds: float) -> bool:
        return False

    async def voters(self, run: Run, step: Step) -> tuple[str, tuple[str, ...]]:
        return "", ()


async def preview(
    created: ev.Created, registry: Registry, ports_of: PortsOf, clock: Callable[[], float]
) -> tuple[Forecast, ...]:
    """Every step of a run that would be created like this, in order, with what it would do."""
    run = evolve(new_run("preview"), created, clock())
    found: list[Forecast] = []
    above: list[Change] = []
    for spec in created.plan.steps:
        attempt = Execution(_Nowhere(), registry, ports_of, clock, run, run.steps[spec.id])
        if spec.kind == "check" and spec.phase == "preflight":
            verdict = await attempt.look_once(spec)
            found.append(Forecast(spec, verdict=verdict))
            run = evolve(run, ev.Started(spec.id, 1, 1, "check"), clock())
            run = evolve(run, ev.Checked(spec.id, 1, verdict), clock())
        elif spec.kind == "action":
            one = await _plan(attempt)
            if one.change is not None:
                above.append(one.change)
                one = Forecast(spec, one.change.on_top_of(above[:-1]))
            found.append(one)
        elif spec.kind == "undo":
            found.append(_undo(spec, found))
        else:
            found.append(Forecast(spec, why_not="asks people" if spec.kind == "gate" else "looks later"))
    return tuple(found)


async def foresee(run: Run, registry: Registry, ports_of: PortsOf, clock: Callable[[], float]) -> dict[str, Change]:
    """Step -> what it would do now, of the acting steps of a run whose change is not known yet; without those of which
    it cannot be said."""
    found: dict[str, Change] = {}
    above: list[Change] = []
    for s in run.steps.values():
        if s.spec.kind == "action" and s.open and s.change is None:
            one = await _plan(Execution(_Nowhere(), registry, ports_of, clock, run, s))
            if one.change is not None:
                found[s.spec.id] = one.change.on_top_of(above)
        known = found.get(s.spec.id) or (s.change if s.spec.kind == "action" else None)
        above += [known] if known is not None else []
    return found


async def _plan(attempt: Execution) -> Forecast:
    try:
        change, _ = await attempt.fresh()
    except (Fatal, Retryable, LookupError, TimeoutError) as e:
        return Forecast(attempt.step.spec, why_not=f"cannot be said now: {e}")
    return Forecast(attempt.step.spec, change)


def _undo(spec: StepSpec, found: list[Forecast]) -> Forecast:
    source = next((f.change for f in found if f.step.id == spec.undo), None)
    if source is None:
        return Forecast(spec, why_not=f"puts back what {spec.undo} will have done")
    return Forecast(spec, source.inverted())
