"""A short torture, always: kills at sampled edges on SQLite, a kill and a freeze beside a second node on PostgreSQL.

The long one is `make torture`. The auditor is put to the test as well: against nodes that break a promise on purpose,
and against records of a healthy bout that were altered afterwards.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.torture.audit import audit
from tests.torture.bouts import Bout, fight
from tests.torture.controls import CONTROLS, Control, everything
from tests.torture.crew import CREW
from tests.torture.edges import sampled
from tests.torture.eyes import Row
from tests.torture.plans import random_plan
from tests.torture.verdicts import Case, Flood, Freeze

MINES = ("after:apply started:1", "before:recorded:3", "inside:posted:1")
"""Where the one process of the SQLite sample dies, one life after another."""
CHEAP = ("record-not-awaited", "nobody-asked", "undo-overwritten", "notes-forgotten")
"""Controls that need no waiting; the others run in `make torture ARGS=--controls`."""


def _told(case: Case) -> str:
    return "\n".join(map(str, case.findings))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A bout on SQLite in which the node is killed three times, and its audit."""
    folder = tmp_path_factory.mktemp("torture")
    url = f"sqlite:///{folder / 'bot.db'}"
    plans = (everything(), random_plan(5, "run1", 9))
    bout = Bout(5, url, kills=3, trouble=0.0, mines=MINES, limit=120, plans=plans, playful=False)
    case, arena = asyncio.run(fight(bout, folder))
    assert arena.kills == len(MINES), arena.kinds
    return case


def test_killed_at_the_worst_moments_a_run_ends_as_it_was_approved(healthy: Case) -> None:
    assert not healthy.findings, _told(healthy)
    assert {t.closed.body["outcome"] for t in healthy.traces.values() if t.closed} <= {"verified", "closed"}
    assert healthy.counts["effects"] > 5 and healthy.counts["undos"] >= 1


def test_two_nodes_outlive_a_kill_and_a_freeze(pg_database: str, tmp_path: Path) -> None:
    mines = ("after:recorded:2:freeze", "after:started:3")
    bout = Bout(
        11, pg_database, 2, kills=1, freezes=1, limit=120, ttl=2.0, trouble=0.0, mines=mines, playful=False,
        plans=(everything(), random_plan(11, "run1", 8)),
    )  # fmt: skip
    case, arena = asyncio.run(fight(bout, tmp_path))
    assert not case.findings, _told(case)
    assert all(t.closed is not None for t in case.traces.values())
    assert any(f.fatal for f in case.freezes), arena.kinds


@pytest.mark.parametrize("control", [c for c in CONTROLS if c.sabotage in CHEAP], ids=lambda c: c.sabotage)
def test_a_promise_broken_on_purpose_is_seen(control: Control, tmp_path: Path) -> None:
    case, _ = asyncio.run(fight(control.bout(f"sqlite:///{tmp_path / 'bot.db'}"), tmp_path))
    assert control.rule in {f.rule for f in case.findings}, _told(case)


# -- altered records -------------------------------------------------------------------------------------------------


def _the(rows: list[Row], kind: str, nth: int = 0) -> int:
    """Where the nth event of a kind stands."""
    return [i for i, r in enumerate(rows) if r.kind == kind][nth]


def _without(kind: str) -> Callable[[Case], None]:
    def alter(case: Case) -> None:
        case.rows["run0"] = [r for r in case.rows["run0"] if r.kind != kind]

    return alter


def _again(kind: str, behind: str) -> Callable[[Case], None]:
    """The first event of a kind a second time, behind the last of another."""

    def alter(case: Case) -> None:
        rows = case.rows["run0"]
        at = _the(rows, behind, -1)
        rows.insert(at + 1, replace(rows[_the(rows, kind)], seq=rows[at].seq, at=rows[at].at + 1))

    return alter


def _other_text(case: Case) -> None:
    rows = case.rows["run0"]
    i = _the(rows, "approved")
    by = rows[i].body["by"]["id"]
    rows[i] = replace(rows[i], text=rows[i].text.replace(by, "ben" if by == "cho" else "cho"))


def _cut_tail(case: Case) -> None:
    del case.rows["run0"][-1]


def _voted(by: str) -> Callable[[Case], None]:
    """As if every vote had been one person's."""

    def alter(case: Case) -> None:
        for i, r in enumerate(case.rows["run0"]):
            if r.kind == "approved":
                body = {**r.body, "by": {**r.body["by"], "id": by}}
                case.rows["run0"][i] = replace(r, body=body)

    return alter


def _stopped_before_it_was_recorded(case: Case) -> None:
    rows = case.rows["run0"]
    at = _the(rows, "recorded", -1)
    rows.insert(at, replace(rows[at], kind="stopped", body={"by": {"via": "nobody"}, "reason": ""}))


def _failed(cause: str) -> Callable[[Case], None]:
    """As if a step that was over had failed, with nobody at work on it."""

    def alter(case: Case) -> None:
        rows = case.rows["run0"]
        at = _the(rows, "applied", -1)
        body = {"step": rows[at].body["step"], "n": rows[at].body["n"], "cause": cause}
        rows.insert(at + 1, replace(rows[at], kind="failed", body=body))

    return alter


def _never_there(case: Case) -> None:
    rows = case.rows["run0"]
    at = _the(rows, "apply started")
    change = rows[at].body["change"]
    edits = [{**e, "before": "never there"} for e in change["edits"]]
    rows[at] = replace(rows[at], body={**rows[at].body, "change": {**change, "edits": edits}})


def _entry(what: str, **other: object) -> Callable[[Case], None]:
    """The journal with something else about the last effect (of a kind) of the first run's `deploy`."""

    def alter(case: Case) -> None:
        found = [i for i, e in enumerate(case.journal) if e.what == what and e.key == "run0/deploy/1" and e.changed]
        case.journal[found[-1]] = replace(case.journal[found[-1]], **other)  # type: ignore[arg-type]

    return alter


def _late(case: Case) -> None:
    ended = case.rows["run0"][-1].seq
    _entry("put", seen=ended, seq=ended)(case)


def _late_after_a_freeze(case: Case) -> None:
    _late(case)
    e = next(e for e in case.journal if e.seq == case.rows["run0"][-1].seq)
    case.freezes.append(Freeze(e.pid, e.at - 2, e.at - 1, fatal=True))


def _twice(what: str) -> Callable[[Case], None]:
    def alter(case: Case) -> None:
        found = next(e for e in reversed(case.journal) if e.what == what and e.key == "run0/deploy/1" and e.changed)
        case.journal.append(replace(found, before="x", at=found.at + 0.001, recorded=99, seen=found.seen + 99))

    return alter


def _never_done(case: Case) -> None:
    case.journal = [e for e in case.journal if not (e.path == "run0/d3" and e.changed)]


def _never_posted(case: Case) -> None:
    case.journal = [e for e in case.journal if e.what != "post"]


def _never_put_back(case: Case) -> None:
    case.journal = [e for e in case.journal if not (e.key.startswith("run0/resume/") and e.changed)]


def _entered_twice(case: Case) -> None:
    i, e = next((i, e) for i, e in enumerate(case.journal) if e.what == "leave")
    assert e.attempt is not None
    case.journal.insert(i, replace(e, what="enter", attempt=replace(e.attempt, n=e.attempt.n + 1)))


def _other_undo_data(case: Case) -> None:
    case.made["run0", "deploy"] = {**case.made["run0", "deploy"], "run0/d1": "something else"}


def _killed_too_early(case: Case) -> None:
    case.deaths.clear()


def _nobody_answered(case: Case) -> None:
    case.floods.append(Flood(1, 0.0, 1.0, asked=5, answered=0, alive=True))


def _at_once(case: Case) -> None:
    """A step that fails for want of time as soon as it has begun, with nobody killed meanwhile."""
    _failed("timeout")(case)
    case.deaths.clear()


ALTERED: dict[str, tuple[str, Callable[[Case], None]]] = {
    "an event that is missing": ("chain", _without("noted")),
    "another text": ("chain", _other_text),
    "a tail cut off": ("chain", _cut_tail),
    "an end that never came": ("debts", _without("undone")),
    "an attempt that speaks after its end": ("sequence", _again("recorded", "applied")),
    "an attempt that starts while another is in flight": ("sequence", _without("lost")),
    "a failure of unknown outcome while nobody was at work": ("sequence", _failed("unknown")),
    "a lack that there was not": ("sequence", _failed("fatal")),
    "a place that nobody approved": ("placed", _entry("put", place="http://elsewhere.example")),
    "a time that was not up": ("in time", _at_once),
    "a flood in which nobody answered": ("probed", _nobody_answered),
    "the same click carried out again": ("said once", _again("approved", "noted")),
    "one vote where two are needed": ("approved", _voted("ben")),
    "votes of whoever asked for it": ("approved", _voted("ana")),
    "no vote at all": ("approved", _without("approved")),
    "a change while stopped": ("quiet", _stopped_before_it_was_recorded),
    "a step before the one it waits for": ("order", _without("applied")),
    "an effect that was not recorded": ("recorded", _entry("put", recorded=0)),
    "an effect of another value": ("written down", _entry("put", after="other")),
    "an effect over another value": ("written down", _entry("put", before="other")),
    "an effect under another key": ("once", _entry("put", key="run0/other/1")),
    "an effect of a dead attempt": ("fenced", _late),
    "an effect of a thawed process": ("thawed", _late_after_a_freeze),
    "a document changed twice": ("once", _twice("put")),
    "a post after it was noted": ("once", _twice("post")),
    "a document that was never written": ("lost", _never_done),
    "a post that was never made": ("lost", _never_posted),
    "a document that was not put back": ("put back", _never_put_back),
    "two attempts at once": ("overlap", _entered_twice),
    "a process that had not died": ("overlap", _killed_too_early),
    "undo data that never were": ("undo data", _never_there),
    "other undo data": ("undo data", _other_undo_data),
}


@pytest.mark.parametrize("what", ALTERED)
def test_the_auditor_sees(what: str, healthy: Case) -> None:
    rule, alter = ALTERED[what]
    case = copy.deepcopy(healthy)
    alter(case)
    fresh = Case(case.rows, case.journal, case.deaths, case.freezes, case.checkpoints, case.made, floods=case.floods)
    assert rule in {f.rule for f in audit(fresh)}, _told(fresh)


# -- the dice --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_a_random_plan_can_be_passed_and_is_the_same_again(seed: int) -> None:
    plan = random_plan(seed, "run0")
    assert plan == random_plan(seed, "run0")
    assert len(plan.by_id) == len(plan.steps) >= 6
    assert plan.impossible(CREW, frozenset({"ana"})) == {}


def test_mines_lie_at_every_kind_of_edge() -> None:
    random = Random(1)
    phases = {sampled(random).split(":")[0] for _ in range(100)}
    assert phases == {"before", "after", "inside"}
