"""A run in the states that its cards differ by, made of events nobody caused: what `doctor` shows Slack's validator.

Pure. It says nothing about what is possible, only what can be drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.contract import Change, Edit, Fact, Receipt, Status, Verdict
from bot.plan.model import StepSpec
from bot.run import events as ev
from bot.run.fold import evolve
from bot.run.state import Run, new_run

CHANGE = Change(
    "Changes one thing & <another>",
    (Edit("shop-api/image", "sha256:" + "1" * 64, "sha256:" + "0" * 64), Edit("shop-worker/replicas", 6, 0, False)),
    facts=(Fact("rows lost", 312, "rows", 500.0),),
    warnings=("somebody may notice",),
)


def stages(created: ev.Created, at: float) -> Iterator[tuple[str, Run]]:
    """(what it is like, the run) as it would be opened, asked about, halted, aborted and closed. at: seconds."""
    run = evolve(new_run(f"{created.service}-000000"), created, at)
    yield "opened", run
    for spec in created.plan.steps:
        run = _over(run, _looked_at(spec), at)
    yield "asked", run
    for name, asked in run.asked.items():
        if asked.spec.gate is not None:
            run = _over(run, [ev.Reminded(name), ev.Paged(name)], at)
    yield "overdue", run
    yield "halted", _over(run, _failed(created.plan.steps), at)
    done = _over(run, [e for s in created.plan.steps for e in _done(s)], at)
    yield "restored", _over(done, [ev.Restored()], at)
    yield "verified", _over(done, [ev.Restored(), ev.Closed("verified")], at)
    aborted = _over(run, [ev.Aborted(created.by, "it is no help")], at)
    yield "aborted", aborted
    yield "ended", _over(aborted, [ev.Closed("aborted", created.by)], at)


def _over(run: Run, events: Sequence[ev.Event], at: float) -> Run:
    for event in events:
        run = evolve(run, event, at)
    return run


def _looked_at(spec: StepSpec) -> list[ev.Event]:
    """A check that passed, an action that is planned."""
    if spec.kind == "check" and spec.phase == "preflight":
        found = Verdict(Status.WARN, "26 min old", "at most 30 min")
        return [ev.Started(spec.id, 1, 1, "check"), ev.Checked(spec.id, 1, found)]
    if spec.kind == "action":
        return [ev.Started(spec.id, 1, 1, "plan"), ev.Planned(spec.id, 1, CHANGE, "0" * 32)]
    return []


def _failed(steps: Sequence[StepSpec]) -> list[ev.Event]:
    first = next((s for s in steps if s.kind == "action"), None)
    if first is None:
        return []
    started: list[ev.Event] = [ev.Started(first.id, 2, 1, "apply"), ev.ApplyStarted(first.id, 2, CHANGE, "0" * 32)]
    seen = {"shop-api/image": "sha256:" + "1" * 64}
    return [*started, ev.Failed(first.id, 2, "unknown", "1 of 6 pods ready", "look at the registry", observed=seen)]


def _done(spec: StepSpec) -> list[ev.Event]:
    """The step at its end."""
    if spec.kind == "action":
        return [
            ev.Started(spec.id, 2, 1, "apply"),
            ev.ApplyStarted(spec.id, 2, CHANGE, "0" * 32),
            ev.Applied(spec.id, 2, Receipt("12 of 12 pods ready in 48 s")),
        ]
    if spec.kind == "check" and spec.phase != "preflight":
        found = Verdict(Status.PASS, "200 from release 2.4.0", "200")
        return [ev.Started(spec.id, 1, 1, "check"), ev.Checked(spec.id, 1, found)]
    return []
