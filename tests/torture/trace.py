"""A run's log as the auditor reads it: who asked for what, attempt by attempt, without the product's fold.

Only what the event kinds mean is used, never what the engine concludes from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.torture.eyes import Row

Edits = dict[str, dict[str, Any]]
"""Target -> the edit as stored (target, before, after, bound)."""

ENDS = ("applied", "undone", "checked", "failed", "cancelled", "lost", "waiting", "drifted", "adopted")
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
        """As handlers give it to the world."""
        return f"{self.run}/{self.step}/{self.number}"

    def of(self, kind: str) -> list[Row]:
        """Events of a kind over all attempts, in order."""
        return [r for a in self.attempts for r in a.of(kind)]

    @property
    def began(self) -> list[Row]:
        """Every `apply started`, in order."""
        return self.of("apply started")

    @property
    def first(self) -> Edits:
        """Target -> the edit with which the application first began to change it."""
        found: Edits = {}
        for r in self.began:
            for e in r.body["change"]["edits"]:
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
        for r in rows:
            self._take(r)

    def _take(self, r: Row) -> None:
        step, n = r.body.get("step", ""), r.body.get("n")
        if r.kind == "started":
            self._start(r)
        elif n is not None and (step, n) in self.attempts:
            a = self.attempts[step, n]
            if a.ended is not None and r.kind != "failed":
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
        elif r.kind in ("skipped", "accepted", "retargeted", "closed"):
            self._drop_plans(r)

    def _start(self, r: Row) -> None:
        step, n, number = r.body["step"], r.body["n"], r.body["application"]
        busy = self._busy.get(step)
        if busy is not None:
            self.faults.append(f"attempt {n} of {step} started at {r.seq} while {busy.n} was in flight")
        if n > 1 and (step, n - 1) not in self.attempts:
            self.faults.append(f"attempt {n} of {step} started, {n - 1} never did")
        a = Attempt(step, n, number, r.body["doing"], r.body["node"], r)
        self.attempts[step, n] = self._busy[step] = a
        undoing = a.doing == "undo" or (a.doing == "plan" and bool(self.specs[step]["undo"]))
        if a.doing == "check":
            return
        known = self.applications.get((step, number))
        if known is None:
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

    def _drop_plans(self, r: Row) -> None:
        """A plan under way is dropped when its step ends or begins anew."""
        for step, a in list(self._busy.items()):
            if a.doing == "plan" and (r.kind in ("retargeted", "closed") or step == r.body.get("step")):
                a.ended = r
                del self._busy[step]

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
        return list(self._busy.values())

    def paid(self, r: Row) -> str:
        """The step that this event says is taken back; empty for any other event."""
        step = r.body.get("step", "")
        if r.kind not in ("undone", "adopted", "accepted") or step not in self.specs:
            return ""
        mine = [a for (s, _), a in self.applications.items() if s == step and a.attempts[0].started.seq < r.seq]
        undoing = bool(self.specs[step]["undo"]) or (bool(mine) and mine[-1].undoing)
        return str(self.specs[step]["undo"] or step) if undoing else ""

    def standing(self, app: Application) -> list[Application]:
        """The forward applications whose work was in place, or half taken back, when this one began; itself last."""
        if not self.specs[app.step]["temporary"]:
            return [app]
        before = [
            a for (s, _), a in self.applications.items()
            if s == app.step and not a.undoing and a.began and a.began[0].seq < app.began[0].seq
        ]  # fmt: skip
        paid = max((r.seq for r in self.rows if self.paid(r) == app.step and r.seq < app.began[0].seq), default=0)
        return [*(a for a in before if a.began[0].seq > paid), app]

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
