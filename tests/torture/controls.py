"""Negative controls: bouts on a node that breaks one promise on purpose, and the rule of the auditor that must say so.

A control that finds nothing means that the auditor is blind there, whatever it says about healthy bouts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.contract import Json
from bot.plan.model import Decision, Plan, StepSpec
from bot.policy import Gate, Requirement
from tests.torture.bouts import Bout

RUN = "run0"
TWO = Gate((Requirement("approver", 2),))


def step(id: str, *docs: str, after: Sequence[str] = (), uses: str = "doc.set", **params: Json) -> StepSpec:
    """A step that sets documents of the first run (one called like it, where none is named)."""
    paths: list[Json] = [f"{RUN}/{d}" for d in docs or (id,)]
    return StepSpec(
        id, id, "main", "action", uses, {"docs": paths, "to": "new", **params}, tuple(after), timeout=60.0,
        temporary=uses == "doc.hold", needs=("http",),
    )  # fmt: skip


def undo(id: str, of: StepSpec, after: Sequence[str] = ()) -> StepSpec:
    """A step that takes another back."""
    return StepSpec(
        id, id, "main", "undo", of.uses, of.params, (of.id, *after), undo=of.id, timeout=60.0, needs=("http",)
    )


def verify(after: Sequence[str]) -> StepSpec:
    """A check at the end, which passes."""
    return StepSpec(
        "verify", "Verify", "main", "check", "doc.is", {"doc": f"{RUN}/seen"}, tuple(after), phase="verify",
        within=5.0, every=0.1, needs=("http",),
    )  # fmt: skip


def asked(spec: StepSpec, gate: Gate = TWO) -> tuple[StepSpec, Decision]:
    """A step with a gate, by default of two people."""
    return replace(spec, decision=spec.id), Decision(spec.id, spec.id, (spec.id,), gate)


def everything() -> Plan:
    """A small plan that has one of each: gate, temporary step and its undo, post, waiting, a failure on the way."""
    pause = step("pause", "p", "q-new", uses="doc.hold")
    deploy, decision = asked(step("deploy", "d1", "d2", "d3", after=["pause"], post=True, later=1, broken=1))
    back = undo("resume", pause, ["deploy"])
    return Plan("everything", (pause, deploy, back, verify(["resume"])), (decision,))


def broken_half_way() -> Plan:
    """A temporary step that fails after its first document, is tried again, and undone."""
    pause = step("pause", "p", "q", "r", uses="doc.hold", broken=1)
    return Plan("half", (pause, undo("resume", pause), verify(["resume"])))


def slow() -> Plan:
    """One step of two documents that takes its time at each."""
    return Plan("slow", (step("slow", "a", "b", pause=1.2), verify(["slow"])))


def long() -> Plan:
    """Four steps that take their time at each of their documents."""
    steps = [step(f"s{i}", f"a{i}", f"b{i}", f"c{i}", pause=0.7, after=[f"s{i - 1}"] if i else []) for i in range(4)]
    return Plan("long", (*steps, verify(["s3"])))


def patient() -> Plan:
    """A step that is looked at again and again, each time in another pass."""
    return Plan("patient", (step("slowly", later=15), verify(["slowly"])))


def gated() -> Plan:
    """One step that two people must approve."""
    spec, decision = asked(step("gated"))
    return Plan("gated", (spec, verify(["gated"])), (decision,))


def posting() -> Plan:
    """A step that posts, and is looked at again in another pass."""
    return Plan("posting", (step("posting", post=True, later=1), verify(["posting"])))


def left_on() -> Plan:
    """A temporary step that nobody undoes."""
    return Plan("left on", (step("pause", uses="doc.hold"), verify(["pause"])))


@dataclass(frozen=True, slots=True)
class Control:
    """What is broken, on which plan, and the rule that must find it. mine: where the first process dies; hazards:
    what else goes wrong."""

    sabotage: str
    plan: Callable[[], Plan]
    rule: str
    mine: str = ""
    limit: float = 20.0
    hazards: Mapping[str, object] = field(default_factory=dict)

    def bout(self, database: str) -> Bout:
        """The bout on an empty database. Nothing else goes wrong in it."""
        return Bout(
            1, database, kills=0, limit=self.limit, trouble=0.0, playful=False, careless=True, mines=(self.mine,),
            sabotage=self.sabotage, plans=(self.plan(),), **self.hazards,  # type: ignore[arg-type]
        )  # fmt: skip


CONTROLS = (
    Control("record-not-awaited", broken_half_way, "recorded"),
    Control("nobody-asked", gated, "approved"),
    Control("undo-overwritten", broken_half_way, "put back"),
    Control("debts-forgotten", left_on, "debts"),
    Control("lease-ignored", slow, "overlap", limit=6.0),
    Control("fence-gone", slow, "fenced", limit=6.0),
    Control("never-lost", slow, "stuck", mine="after:recorded:1", limit=9.0),
    Control("notes-forgotten", posting, "once"),
    Control("other-change", gated, "written down", limit=5.0),
    Control("place-ignored", long, "placed", hazards={"wanders": 20, "hurry": 3.0}),
    Control("clock-believed", long, "in time", hazards={"jumps": 20, "hurry": 3.0, "by": (3600.0,)}),
    Control("clock-kept", patient, "stuck", hazards={"jumps": 3, "hurry": 2.0, "by": (86400.0,)}),
    Control("full-ignored", long, "recorded", hazards={"fills": 20, "hurry": 3.0}),
    Control("doors-open", long, "probed", hazards={"floods": 2, "hurry": 3.0}),
)
