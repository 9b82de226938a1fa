"""A run as plain text, for a terminal and for files. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bot.telling.view import DecisionView, RunView, StepView


def text(v: RunView) -> str:
    """The run as plain text for a terminal."""
    lines = [f"{v.title}   [{v.id}]", f"{v.status}", f"Reason: {v.reason} · Commander {v.commander}"]
    lines += [f"  Owed: {p}" for p in v.parts]
    lines += [f"  {e}" for e in v.evidence]
    for track, steps in _by_track(v.steps):
        lines += ["", track.capitalize()]
        lines += [
            f"  {_SIGN.get(s.state, ' ')} {s.title:<28} {s.state}{': ' + s.detail if s.detail else ''}" for s in steps
        ]
    for d in v.decisions:
        if d.state == "open":
            lines += ["", *decision_lines(d)]
        elif d.refused:
            lines += ["", f"Decision {d.number} of {d.of}: {d.title} ({d.option})", f"  Refused: {d.refused}"]
    told = (("Stopped", v.halts), ("Still in place", v.debts), ("Stays changed", v.left), ("Proposed", v.proposals),
            ("To be reviewed", v.reviews))  # fmt: skip
    for heading, items in told:
        if items:
            lines += ["", heading, *(f"  {line}" for i in items for line in i.splitlines())]
    if v.next:
        lines += ["", "Next", *(f"  {n}" for n in v.next)]
    return "\n".join(lines)


def decision_lines(d: DecisionView) -> list[str]:
    """A decision's card as lines of text."""
    option = f" ({d.option})" if d.option else ""
    lines = [f"Decision {d.number} of {d.of}: {d.title}{option}", *(f"  {x}" for x in d.lapsed)]
    for i, c in enumerate(d.changes, 1):
        lines.append(f"  {i}. {c.title}: {c.summary}")
        lines += [f"     {x}" for x in (*c.edits, *c.effects, *c.facts)]
        lines += [f"     Careful: {w}" for w in c.warnings]
    if d.option and not d.changes and d.state == "open":
        lines.append("  Nothing is changed.")
    if d.changes:
        final = [c.title for c in d.changes if not c.reversible]
        lines.append(f"  Cannot be undone: {', '.join(final)}." if final else "  Reversible.")
    lines += [f"  {g}" for g in (*d.given, *d.declined)]
    lines.append(f"  Asked: {d.needs}.")
    if d.phrase:
        lines.append(f'  Type "{d.phrase}" to approve.')
    if d.impossible:
        lines.append(f"  Nobody can pass this at the moment: {d.impossible}. Break-glass is possible.")
    return lines


def _by_track(steps: Iterable[StepView]) -> Iterator[tuple[str, list[StepView]]]:
    found: dict[str, list[StepView]] = {}
    for s in steps:
        found.setdefault(s.track, []).append(s)
    yield from found.items()


_SIGN: Mapping[str, str] = {
    "done": "✓", "done by hand": "✓", "accepted": "✓", "skipped": "-", "refused": "-", "not needed": "-",
    "stopped": "!",
    "warning": "!", "failed, went on": "!", "to be decided": "?", "at work": "…", "in effect soon": "…", "looking": "…",
}  # fmt: skip
