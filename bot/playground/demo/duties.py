"""What a rollback has to do, all of it, and what of it stands in a run's record as done.

Invariant: it reads the exported record alone, so that a step counts as done only where an event says so; a step that
the plan had for this shop and that did not come to its end is missed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DUTIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "P1": ("access, and what the release is made of", ("access", "artifacts")),
    "P2": ("verified backups", ("backups",)),
    "P3": ("people and channels", ("people",)),
    "B1": ("announced, frozen, at last banned", ("announce", "freeze", "git", "ban")),
    "B2": ("logs and numbers kept", ("evidence",)),
    "B3": ("workers paused", ("pause-workers",)),
    "B4": ("the previous release deployed", ("deploy",)),
    "B5": ("its settings brought back", ("deploy",)),
    "B6": ("the schema decided", ("schema", "schema-way", "schema-kept")),
    "B7": ("caches flushed", ("flush",)),
    "B8": ("workers back after health", ("health", "resume-workers")),
    "F1": ("the edge team told", ("cdn-notice",)),
    "F2": ("the previous build published", ("publish", "publish-first")),
    "F3": ("caches invalidated", ("invalidate", "invalidate-first", "converged", "converged-first")),
    "F4": ("configuration fits the backend", ("aligned",)),
    "V1": ("health", ("serves", "runs")),
    "V2": ("journeys of customers", ("walks",)),
    "V3": ("schema and data", ("tables",)),
    "V4": ("queues and cron jobs", ("queues", "crons")),
    "V5": ("exceptions and numbers", ("raised", "numbers")),
    "V6": ("files and caching", ("caching",)),
    "V7": ("partners", ("partners",)),
    "V8": ("alerts", ("alerts",)),
    "C3": ("the postmortem scheduled", ("postmortem",)),
}
"""Duty -> what it is, and the steps of the standard plan that carry it out, ways of a choice as `name.way`.
Telling people (C1) and recording (C2) are no steps: the demo asks the stakeholders' channel and the record itself."""
_ENDS = ("applied", "undone", "adopted")
_GOOD = ("pass", "warn")


@dataclass(frozen=True)
class Report:
    """done: duties whose steps all ended well; missed: duty -> steps of it that did not; absent: duties for which this
    shop has no target, so that its plan has no such step."""

    done: tuple[str, ...]
    missed: Mapping[str, tuple[str, ...]]
    absent: tuple[str, ...]


def read(record: str) -> Report:
    """record: JSON Lines of one run. ValueError, KeyError where it is none."""
    states = _states(record)
    done, missed, absent = [], {}, []
    for duty, (_, steps) in DUTIES.items():
        there = [(name, [s for s in states if s == name or s.startswith(f"{name}.")]) for name in steps]
        if open_ := tuple(name for name, ids in there if not all(states[s] for s in ids)):
            missed[duty] = open_
        elif any(ids for _, ids in there):
            done.append(duty)
        else:
            absent.append(duty)
    return Report(tuple(done), missed, tuple(absent))


def _states(record: str) -> dict[str, bool]:
    """Steps that the run had to do -> whether they were done. A check before the start has done its work when it has
    looked: people decide about what it found. What is not needed is left out."""
    states: dict[str, bool] = {}
    early: set[str] = set()
    for row in map(json.loads, record.splitlines()):
        body, kind = row.get("body", {}), row.get("kind")
        if kind == "created":
            steps = body["plan"]["steps"]
            states = dict.fromkeys((s["id"] for s in steps), False)
            early = {s["id"] for s in steps if s.get("phase") == "preflight"}
        elif kind in _ENDS:
            states[body["step"]] = True
        elif kind == "checked":
            states[body["step"]] = body["step"] in early or body["verdict"]["status"] in _GOOD
        elif kind == "not needed":
            states.pop(body["step"], None)
    return states


def told(duties: Iterable[str]) -> str:
    """For people: "F1 the edge team told, F2 ..."."""
    return ", ".join(f"{duty} {DUTIES[duty][0]}" for duty in duties)
