"""Whether an effect had everybody's consent, worked out from the log alone: who voted, what they were shown, whether
that is what was done. Seats are filled by trying every way, and fingerprints are worked out anew from the contract's
words, so that a mistake in the product's policy or fingerprints is not repeated here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

from tests.torture.eyes import Row
from tests.torture.trace import Application, Trace
from tests.torture.world import Entry


def permitted(trace: Trace, app: Application, effect: Entry) -> str:
    """Why this effect was nobody's will; empty where it was."""
    decision = trace.decision_of(app)
    if decision is None:
        return ""
    name, gate = decision["name"], decision["gate"]
    votes = [r for r in trace.of("approved", "broke glass", "taken") if r.body["decision"] == name]
    votes = [r for r in votes if r.seq <= effect.seen and r.seq > _since(trace, app, effect)]
    if any(r.kind == "taken" and _proven(trace, decision, r) for r in votes):
        return ""
    if gate is None:
        return "the way that it belongs to was not chosen"
    shown = set(_shown(trace, app, effect))
    if not shown:
        return "nothing that was planned says so"
    mine = [r for r in votes if r.kind != "taken" and r.body["fingerprints"].get(app.step) in shown]
    if any(r.kind == "broke glass" for r in mine) or _full(trace, gate, mine):
        return ""
    return f"{len(mine)} of {len(votes)} votes on {name} are for this, and do not make {gate['by']}"


def _since(trace: Trace, app: Application, effect: Entry) -> int:
    """Votes from before this event do not count: another application, or a drift that voided them."""
    void = [0]
    if app.undoing and trace.specs[app.step]["kind"] != "undo":
        void += [r.seq for r in trace.of("undo asked") if r.body["step"] == app.step and r.seq <= effect.seen]
    void += [r.seq for r in app.of("drifted") if r.seq <= effect.seen]
    return max(void)


def _proven(trace: Trace, decision: dict[str, Any], taken: Row) -> bool:
    """Whether nobody had to be asked: no gate, or a check had answered what its `unless` wants."""
    if decision["gate"] is None:
        return True
    head, _, field = (decision["unless"] or "").rpartition(".")
    step = head.removeprefix("steps.")
    looks = [r for r in trace.of("checked") if r.body["step"] == step and r.seq < taken.seq]
    return bool(looks) and looks[-1].body["verdict"]["data"].get(field) is True


def _shown(trace: Trace, app: Application, effect: Entry) -> Iterator[str]:
    """Fingerprints of what was planned for this application and holds this effect."""
    uses = trace.specs[app.step]["uses"]
    for r in sorted([*app.of("planned"), *app.of("drifted")], key=lambda r: r.seq):
        change = r.body["change"]
        if r.seq > effect.seen:
            continue
        holds = bool(change["effects"]) if effect.what == "post" else any(_is(e, effect) for e in change["edits"])
        if holds and r.body["fingerprint"] == fingerprint(uses, change, places(trace, r)):
            yield r.body["fingerprint"]


def _is(edit: dict[str, Any], effect: Entry) -> bool:
    same = edit["target"] == effect.path and edit["after"] == effect.after
    return same and (not edit["bound"] or edit["before"] == effect.before)


def _full(trace: Trace, gate: dict[str, Any], votes: Sequence[Row]) -> bool:
    """Whether these votes fill every seat of a gate, one person a seat, nobody barred when the vote was given."""
    if not votes:
        return False
    bosses = [(0, trace.rows[0].body["by"]["id"])] + [(r.seq, r.body["by"]["id"]) for r in trace.of("command taken")]
    seats = [x["role"] for x in gate["by"] for _ in range(x["count"])]
    people = {
        r.body["by"]["id"]: set(r.body["by"]["roles"])
        for r in votes
        if gate["self_approval"] or r.body["by"]["id"] not in [who for seq, who in bosses if seq < r.seq]
    }
    if gate["typed_phrase"] and not all(r.body["phrase"] for r in votes):
        return False
    ways = permutations(people.values(), len(seats))
    return any(all(seat in roles for seat, roles in zip(seats, way, strict=True)) for way in ways)


def places(trace: Trace, r: Row) -> dict[str, str]:
    """Where the run was pinned at an event: target -> the place's digest."""
    then = [x for x in trace.of("created", "relocated") if x.seq < r.seq and x.body.get("places")]
    return {name: w["digest"] for name, w in then[-1].body["places"].items()} if then else {}


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(uses: str, change: dict[str, Any], where: dict[str, str]) -> str:
    """What an approval binds, from the contract's words. where: the places of the run (every step reaches all)."""
    plain = _plain
    bound = {
        **({"where": hashlib.sha256(plain(where).encode()).hexdigest()[:32]} if where else {}),
        "handler": uses,
        "edits": sorted(
            [e["target"], plain(e["after"]), e["bound"], plain(e["before"]) if e["bound"] else ""]
            for e in change["edits"]
        ),
        "effects": sorted([e["what"], e["on_undo"]] for e in change["effects"]),
        "ceilings": sorted([f["name"], f["ceiling"]] for f in change["facts"] if f["ceiling"] is not None),
        "reversible": change["reversible"],
    }
    return hashlib.sha256(plain(bound).encode()).hexdigest()[:32]
