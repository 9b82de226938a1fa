"""A forecast as JSON and as text. Pure."""

from __future__ import annotations

from typing import Any

from bot.engine.preview import Forecast
from bot.telling.diff import edit, fact


def as_data(f: Forecast) -> dict[str, Any]:
    """One step of a forecast."""
    c, v = f.change, f.verdict
    return {
        "step": f.step.id, "title": f.step.title, "kind": f.step.kind, "decision": f.step.decision,
        "why_not": f.why_not,
        "change": None if c is None else {
            "summary": c.summary, "edits": [edit(e) for e in c.edits], "effects": [e.what for e in c.effects],
            "facts": [fact(x) for x in c.facts], "warnings": list(c.warnings), "reversible": c.reversible,
        },
        "verdict": None if v is None else {"status": v.status, "observed": v.observed, "expected": v.expected},
    }  # fmt: skip


def lines(steps: list[dict[str, Any]]) -> list[str]:
    """The steps, as `as_data` has them, for people."""
    found = ["A forecast of what would be done now. It binds nothing, and nothing was changed.", ""]
    for n, s in enumerate(steps, 1):
        change, verdict = s["change"], s["verdict"]
        said = s["why_not"]
        if verdict:
            said = f"{verdict['status']}: {verdict['observed']} (expected {verdict['expected']})"
        elif change:
            said = change["summary"] + ("" if change["reversible"] else " Cannot be undone.")
        found.append(f"{n:>2}. {s['title']} ({s['step']}): {said}")
        if change:
            found += [f"      {x}" for x in (*change["edits"], *change["effects"], *change["facts"])]
            found += [f"      Careful: {w}" for w in change["warnings"]]
    return found
