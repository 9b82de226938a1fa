"""Random plans from a seed, already compiled: tracks, gates of every form, choices, checks, temporary steps and undos.

Two things are avoided because they make a plan that nobody could carry out, whatever the engine does: anything that
only time can tell (a condition, a reference, a gate) between two steps of one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from bot.contract import Json
from bot.plan.model import REF, Choice, Condition, Decision, OnFail, Phase, Plan, StepSpec
from bot.policy import Gate, Requirement

APPROVER = Gate((Requirement("approver"),), remind=1.0, escalate=3.0)
TWO = Gate((Requirement("approver", 2),), remind=1.5, escalate=60.0)
DBA = Gate((Requirement("dba"), Requirement("approver")), typed_phrase=True)
COMMANDER = Gate((Requirement("commander"),), self_approval=True)
GATES = (APPROVER, APPROVER, TWO, DBA)


def random_plan(seed: int, run: str, size: int | None = None) -> Plan:
    """A plan of 8 to 30 steps for a run; the same for the same seed and name."""
    return _Maker(Random(f"{seed}/{run}"), run, size).plan()


@dataclass
class _Maker:
    random: Random
    run: str
    size: int | None
    steps: list[StepSpec] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    groups: int = 0

    def plan(self) -> Plan:
        r = self.random
        size = self.size or r.randint(8, 30)
        flights = [self._add(self._check(f"ready{i}", phase="preflight")) for i in range(r.randint(0, 2))]
        first = [s.id for s in flights]
        if r.random() < 0.6:
            self._add(StepSpec("start", "Start", "main", "gate", after=tuple(first), decision="start"))
            self.decisions.append(Decision("start", "Start", ("start",), COMMANDER))
            first = ["start"]
        tracks = r.randint(2, 4)
        share = max(2, (size - len(self.steps) - 3) // tracks)
        ends = [self._track(f"t{t}", share, first, [s.id for s in flights]) for t in range(tracks)]
        self._verify([e for e in ends if e])
        return Plan(f"torture of {self.run}", self._in_order(), tuple(self.decisions), tuple(self.choices))

    def _in_order(self) -> tuple[StepSpec, ...]:
        """Every step behind those that it waits for."""
        done: dict[str, StepSpec] = {}
        left = list(self.steps)
        while left:
            ready = [s for s in left if all(a in done for a in s.after)]
            done |= {s.id: s for s in ready}
            left = [s for s in left if s.id not in done]
        return tuple(done.values())

    # -- tracks ---------------------------------------------------------------------------------------------------

    def _track(self, track: str, count: int, first: Sequence[str], flights: Sequence[str]) -> str:
        """A chain of steps; returns its last one."""
        r, last, group = self.random, list(first), ""
        others = [s for s in self.steps if s.kind == "action" and s.track not in ("main", track)]
        held: list[StepSpec] = []
        for i in range(count):
            name = f"{track}{chr(97 + i)}"
            kind = r.choices(("set", "hold", "drop", "check", "choice"), (10, 3, 1, 3, 1))[0]
            if held and (r.random() < 0.35 or i == count - 1):
                source = held.pop(0)
                last = [self._undo(f"undo-{source.id}", source, track, last)]
                group = ""
                continue
            if kind == "check":
                last = [self._add(replace(self._check(name), track=track, after=tuple(last))).id]
                group = ""
                continue
            if kind == "choice" and i < count - 1:
                last = self._choice(name, track, last)
                group = ""
                continue
            spec = replace(self._act(name, "set" if kind == "choice" else kind, track), after=tuple(last))
            if others and not group and r.random() < 0.25:
                spec = replace(spec, after=(*spec.after, r.choice(others).id))
            group, spec = self._gated(spec, group)
            if not group and spec.decision is None and flights and r.random() < 0.2:
                says = r.choice(("ok", "ok", "not so"))
                spec = replace(
                    spec, when=Condition(f"steps.{flights[0]}.say", True, says), after=(*spec.after, flights[0])
                )
            spec = replace(spec, after=tuple(dict.fromkeys(spec.after)))
            held += [self._add(spec)] if spec.temporary else []
            if not spec.temporary:
                self._add(spec)
            last = [spec.id]
        for source in held:
            last = [self._undo(f"undo-{source.id}", source, track, last)]
        return last[0] if last else ""

    def _gated(self, spec: StepSpec, group: str) -> tuple[str, StepSpec]:
        """With a gate of its own, in the group of the step before it, at the head of a new group, or without."""
        r = self.random
        if group and r.random() < 0.6:
            self.decisions = [
                replace(d, members=(*d.members, spec.id)) if d.name == group else d for d in self.decisions
            ]
            return group, replace(spec, decision=group)
        roll = r.random()
        if roll < 0.2:
            self.groups += 1
            name = f"group{self.groups}"
            self.decisions.append(Decision(name, name, (spec.id,), r.choice(GATES)))
            return name, replace(spec, decision=name)
        if roll < 0.5 or spec.destructive:
            self.decisions.append(Decision(spec.id, spec.title, (spec.id,), r.choice(GATES)))
            return "", replace(spec, decision=spec.id)
        return "", spec

    def _act(self, name: str, kind: str, track: str) -> StepSpec:
        """A step that sets one to three documents, some of them those of an earlier step of its track."""
        r = self.random
        docs = [f"{self.run}/{name}{d}{'-new' if r.random() < 0.2 else ''}" for d in range(r.randint(1, 3))]
        if kind == "set" and r.random() < 0.15:
            docs.append(f"{self.run}/{track}-shared")
        to: Json = {REF: "target.version"} if r.random() < 0.6 else f"by {name}"
        params: dict[str, Json] = {"docs": list(docs), "to": to, "pause": round(r.choice((0, 0, 0.02, 0.1, 0.3)), 2)}
        trouble = (
            ("settle", r.randint(1, 3)), ("later", r.randint(1, 2)), ("flaky", r.randint(1, 2)), ("broken", 1),
            ("hopeless", 1), ("post", True), ("post", True), ("bound", False),
        )  # fmt: skip
        for what, much in trouble:
            if r.random() < 0.1:
                params[what] = much
        return StepSpec(
            name, f"Step {name}", track, "action", f"doc.{kind}", params, timeout=r.choice((60.0, 60.0, 60.0, 2.5)),
            on_fail=self._on_fail(), temporary=kind == "hold", destructive=kind == "drop", needs=("http",),
        )  # fmt: skip

    def _on_fail(self) -> OnFail:
        roll = self.random.random()
        return "halt" if roll < 0.1 else "continue" if roll < 0.2 else "ask"

    def _undo(self, name: str, source: StepSpec, track: str, last: Sequence[str]) -> str:
        after = tuple(dict.fromkeys((source.id, *last)))
        decision = name if self.random.random() < 0.25 else None
        if decision:
            self.decisions.append(Decision(name, name, (name,), APPROVER))
        return self._add(
            StepSpec(
                name,
                f"Undo {source.id}",
                track,
                "undo",
                source.uses,
                source.params,
                after,
                decision=decision,
                undo=source.id,
                timeout=60.0,
                needs=("http",),
            )
        ).id

    def _choice(self, name: str, track: str, last: Sequence[str]) -> list[str]:
        """Two ways, of which people (or a check that says so) take one."""
        advice = self._add(replace(self._check(f"{name}-look"), track=track, after=tuple(last), passes=1))
        unless = f"steps.{advice.id}.ok" if self.random.random() < 0.3 else None
        ends = []
        for option in ("keep", "change"):
            spec = replace(self._act(f"{name}-{option}", "set", track), after=(advice.id,), decision=f"{name}.{option}")
            self._add(spec)
            free = unless if option == "keep" else None
            self.decisions.append(
                Decision(f"{name}.{option}", option, (spec.id,), self.random.choice(GATES), free, name, option)
            )
            ends.append(spec.id)
        self.choices.append(Choice(name, name, ("keep", "change"), advice.id))
        return ends

    # -- looking --------------------------------------------------------------------------------------------------

    def _check(self, name: str, phase: Phase = "act") -> StepSpec:
        r = self.random
        bad = r.choice((0, 0, 0, 1, 2, 40))
        params: dict[str, Json] = {"doc": f"{self.run}/{name}", "bad": bad, "say": r.choice(("ok", "not so"))}
        on_fail = "continue" if phase == "preflight" else self._on_fail()
        return StepSpec(
            name, f"Check {name}", "main", "check", "doc.is", params, phase=phase, on_fail=on_fail, within=0.8,
            every=0.1, passes=r.choice((1, 1, 2)), needs=("http",),
        )  # fmt: skip

    def _verify(self, ends: Sequence[str]) -> None:
        """Checks at the end, and a watch that repeats them for a while."""
        looks = [
            self._add(replace(self._check(f"verify{i}"), phase="verify", after=tuple(ends), on_fail="ask"))
            for i in range(self.random.randint(1, 2))
        ]
        if self.random.random() < 0.5:
            ids = tuple(s.id for s in looks)
            self._add(
                StepSpec(
                    "watch",
                    "Watch",
                    "main",
                    "watch",
                    after=ids,
                    phase="verify",
                    repeat=ids,
                    lasting=0.6,
                    every=0.2,
                    passes=2,
                    needs=("http",),
                )
            )

    def _add(self, spec: StepSpec) -> StepSpec:
        self.steps.append(spec)
        return spec
