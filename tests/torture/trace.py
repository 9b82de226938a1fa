"""A run's log as the auditor reads it: who asked for what, attempt by attempt, without the product's fold.

Only what the event kinds mean is used, never what the engine concludes from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bot.plan.model import REF
from tests.torture.eyes import Row

Edits = dict[str, dict[str, Any]]
"""Target -> the edit as stored (target, before, after, bound)."""

ENDS = ("applied", "undone", "checked", "failed", "cancelled", "lost", "waiting", "drifted", "adopted", "seen")
"""Kinds that end the attempt they name."""


@dataclass
class Attempt:
    """One attempt as the log tells it; rows by what they say."""

    step: str
    n: int
    application: int
    doing: str
    node: str
    started: Row
    rows: list[Row] = field(default_factory=list)
    ended: Row | None = None
    dropped: bool = False
    """It planned when all was to be looked at anew: it may be over without a word, or go on."""

    def of(self, kind: str) -> list[Row]:
        """Its events of a kind."""
        return [r for r in self.rows if r.kind == kind]


@dataclass
class Application:
    """Do, undo or redo of a step. source: for an undo, the forward application that it takes back."""

    run: str
    step: str
    number: int
    undoing: bool
    attempts: list[Attempt] = field(default_factory=list)
    source: Application | None = None

    @property
    def key(self) -> str:
        """As handlers give it to the world, unless people approve something else half-way."""
        return f"{self.run}/{self.step}/{self.number}"

    def owns(self, key: str) -> bool:
        """Whether handlers gave this one to the world in this application."""
        return key.partition(".")[0] == self.key

    def of(self, kind: str) -> list[Row]:
        """Events of a kind over all attempts, in order."""
        return [r for a in self.attempts for r in a.of(kind)]

    @property
    def began(self) -> list[Row]:
        """Every `apply started`, in order."""
        return self.of("apply started")

    @property
    def first(self) -> Edits:
        """Target -> the edit with which the application first began to change it. What stood at its end already, by
        somebody else, it waits for, and has nothing to undo there."""
        found: Edits = {}
        for r in self.began:
            for e in r.body["change"]["edits"]:
                if e["target"] not in r.body["there"]:
                    found.setdefault(e["target"], e)
        return found

    @property
    def last(self) -> Edits:
        """Target -> the edit with which it last did."""
        return {e["target"]: e for r in self.began for e in r.body["change"]["edits"]}

    @property
    def ended(self) -> Row | None:
        """Its `applied` or `undone`."""
        found = self.of("undone" if self.undoing else "applied")
        return found[-1] if found else None


class Trace:
    """One run."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows, self.id = rows, rows[0].run
        self.plan: dict[str, Any] = rows[0].body["plan"]
        self.specs: dict[str, dict[str, Any]] = {s["id"]: s for s in self.plan["steps"]}
        self.decisions: dict[str, dict[str, Any]] = {d["name"]: d for d in self.plan["decisions"]}
        self.attempts: dict[tuple[str, int], Attempt] = {}
        self.applications: dict[tuple[str, int], Application] = {}
        self.faults: list[str] = []
        self._busy: dict[str, Attempt] = {}
        self._to_undo: set[str] = set()
        for r in rows:
            self._take(r)

    def _take(self, r: Row) -> None:
        step: str = r.body.get("step", "")
        n: int | None = r.body.get("n")
        if r.kind == "started":
            self._start(r)
        elif r.kind == "failed" and (step not in self._busy or self._busy[step].n != n):
            if n is not None and (step, n) in self.attempts:
                self.attempts[step, n].rows.append(r)
            if why := self._unfounded(r):
                self.faults.append(f"failed (event {r.seq}) of {step}, which nobody was at work on: {why}")
        elif n is not None and (step, n) in self.attempts:
            a = self.attempts[step, n]
            if a.ended is not None:
                self.faults.append(
                    f"{r.kind} (event {r.seq}) by attempt {n} of {step}, which had ended at {a.ended.seq}"
                )
            a.rows.append(r)
            left = r.kind == "planned" and (a.doing == "plan" or r.body["left"])
            if r.kind in ENDS or left:
                a.ended = a.ended or r
                if self._busy.get(step) is a:
                    del self._busy[step]
        elif n is not None:
            self.faults.append(f"{r.kind} (event {r.seq}) names attempt {n} of {step}, which never started")
        elif r.kind in ("skipped", "accepted", "retargeted", "relocated", "closed"):
            self._drop_plans(r)
            self._to_undo.discard(step)
        elif r.kind == "undo asked":
            self._to_undo.add(step)

    def _start(self, r: Row) -> None:
        step, n, number = r.body["step"], r.body["n"], r.body["application"]
        busy = self._busy.get(step)
        if busy is not None and not busy.dropped:
            self.faults.append(f"attempt {n} of {step} started at {r.seq} while {busy.n} was in flight")
        if n > 1 and (step, n - 1) not in self.attempts:
            self.faults.append(f"attempt {n} of {step} started, {n - 1} never did")
        a = Attempt(step, n, number, r.body["doing"], r.body["node"], r)
        self.attempts[step, n] = self._busy[step] = a
        if a.doing == "check":
            return
        known = self.applications.get((step, number))
        if known is None:
            undoing = a.doing == "undo" or bool(self.specs[step]["undo"]) or step in self._to_undo
            self._to_undo.discard(step)
            known = self.applications[step, number] = Application(self.id, step, number, undoing)
        known.attempts.append(a)
        if a.doing in ("apply", "undo"):
            known.undoing = a.doing == "undo"
        if known.undoing and known.source is None:
            known.source = self._source(self.specs[step]["undo"] or step, r.seq)

    def _source(self, step: str, seq: int) -> Application | None:
        """The last forward application of a step that had begun to act before an event."""
        found = [
            a for (s, _), a in self.applications.items()
            if s == step and not a.undoing and a.began and a.began[0].seq < seq
        ]  # fmt: skip
        return found[-1] if found else None

    def _unfounded(self, r: Row) -> str:
        """Why nobody could say this of a step without being at work on it; empty where it follows from the log: the
        latest attempt had begun to act and ran out of time, or what the step refers to has no value."""
        step, n = r.body["step"], r.body["n"]
        if step in self._busy:
            return f"attempt {self._busy[step].n} was in flight"
        if n != max((k for s, k in self.attempts if s == step), default=0):
            return f"{n} was not its last attempt"
        if r.body["cause"] == "timeout":
            a = self.attempts.get((step, n))
            began = self.applications[step, a.application].began if a is not None and a.doing != "check" else []
            return "" if began else "it had not begun to act"
        if r.body["cause"] == "fatal":
            return "" if any(not self._given(ref, r.seq) for ref in _refs(self.specs[step])) else "it lacked nothing"
        return f"{r.body['cause']!r} takes an attempt"

    def _given(self, ref: str, seq: int) -> bool:
        """Whether the last that was heard of a step before an event gave the field that is referred to."""
        step, _, field_ = ref.removeprefix("steps.").rpartition(".")
        ends = ("applied", "checked", "undone", "skipped", "not needed", "adopted", "failed")
        last: dict[str, Any] = {}
        for r in self.of(*ends):
            last = r.body if r.seq < seq and r.body["step"] == step else last
        return field_ in last.get("receipt", {}).get("output", {}) or field_ in last.get("verdict", {}).get("data", {})

    def _drop_plans(self, r: Row) -> None:
        """A plan under way is dropped when its step ends or begins anew."""
        for step, a in list(self._busy.items()):
            if a.doing == "plan" and (r.kind == "closed" or step == r.body.get("step")):
                a.ended = r
                del self._busy[step]
            elif a.doing == "plan" and r.kind in ("retargeted", "relocated"):
                a.dropped = True

    @cached_property
    def by_kind(self) -> dict[str, list[Row]]:
        """Kind -> events."""
        found: dict[str, list[Row]] = {}
        for r in self.rows:
            found.setdefault(r.kind, []).append(r)
        return found

    def of(self, *kinds: str) -> Iterator[Row]:
        """Events of these kinds, in order of the log."""
        return (r for r in self.rows if r.kind in kinds)

    @property
    def closed(self) -> Row | None:
        """Its last event, if that is its end."""
        return self.rows[-1] if self.rows[-1].kind == "closed" else None

    @property
    def in_flight(self) -> list[Attempt]:
        """Attempts that never ended."""
        return [a for a in self._busy.values() if not a.dropped]

    def paid(self, r: Row) -> str:
        """The step that this event says is taken back, as far as others have left it; empty for any other event."""
        step = r.body.get("step", "")
        if r.kind not in ("undone", "adopted", "accepted") or step not in self.specs:
            return ""
        mine = [a for (s, _), a in self.applications.items() if s == step and a.attempts[0].started.seq < r.seq]
        undoing = bool(mine) and mine[-1].undoing
        if undoing and r.kind == "accepted":  # what others changed stays; anything else is still to be taken back
            plans = [p.body["change"] for p in mine[-1].of("planned") if p.seq < r.seq]
            undoing = not plans or not (plans[-1]["edits"] or plans[-1]["effects"])
        return str(self.specs[step]["undo"] or step) if undoing else ""

    def standing(self, app: Application) -> list[Application]:
        """The forward applications whose work was in place, or half taken back, when this one began; itself last."""
        before = [
            a for (s, _), a in self.applications.items()
            if s == app.step and not a.undoing and a.began and a.began[0].seq < app.began[0].seq
        ]  # fmt: skip
        paid = max((r.seq for r in self.rows if self.paid(r) == app.step and r.seq < app.began[0].seq), default=0)
        return [*(a for a in before if a.began[0].seq > paid), app]

    def key_of(self, a: Attempt) -> tuple[str, int]:
        """The key of an attempt's requests, and the event since which it is that: it is another one as soon as what
        people approved is not a rest of what had begun (another value, another effect)."""
        app = self.applications[a.step, a.application]
        before = [] if app.undoing else [r for x in self.standing(app)[:-1] for r in x.began]
        after: dict[str, Any] = {}
        effects: set[str] = set()
        redirected = since = 0
        for r in [*before, *(r for r in app.began if r.body["n"] <= a.n)]:
            edits = {e["target"]: e["after"] for e in r.body["change"]["edits"]}
            posts = {e["what"] for e in r.body["change"]["effects"]}
            mine = r.body["n"] in {x.n for x in app.attempts}
            if mine and since and not app.undoing:
                other = any(after.get(t, x) != x for t, x in edits.items()) or not posts <= effects
                redirected, since = (redirected + 1, r.seq) if other else (redirected, since)
            elif mine:
                since = since or r.seq
            after, effects = after | edits, effects | posts
        return f"{app.key}.{redirected}" if redirected else app.key, since

    def decision_of(self, a: Application) -> dict[str, Any] | None:
        """Who must be asked for an application: the plan's decision, or for an undo that people asked for the gate
        of the step again; nobody where a debt is restored."""
        spec = self.specs[a.step]
        own = self.decisions.get(spec["decision"] or "")
        if not a.undoing or spec["kind"] == "undo":
            return own
        started = a.attempts[0].started.seq
        asked = [r for r in self.of("undo asked") if r.body["step"] == a.step and r.seq < started]
        if not asked or asked[-1].body["debt"] or own is None or own["gate"] is None:
            return None
        return {**own, "name": f"undo.{a.step}", "unless": None}


def _refs(spec: dict[str, Any]) -> Iterator[str]:
    """References to other steps that a step has, in its parameters and its condition."""
    if spec["when"] and spec["when"]["ref"].startswith("steps."):
        yield spec["when"]["ref"]
    found: list[Any] = [spec["params"]]
    for x in found:
        if isinstance(x, dict) and set(x) == {REF}:
            if x[REF].startswith("steps."):
                yield x[REF]
        elif isinstance(x, dict | list):
            found += x.values() if isinstance(x, dict) else x
