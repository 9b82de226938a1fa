"""A change as a person reads it: edits as lines, few where many say the same, values in few characters. Pure.

Targets that differ in one part only, and change alike, share a line, with that part in braces as a shell would write
it: `{eu-1,us-1}/deployment/shop-worker/replicas: 1 → 0`. Nothing is left out: a line names every target it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.contract import Edit, Fact, Value, canonical
from bot.ports import Blob

DEEPEST = 7
"""Slashes of a target behind which it is one part, whatever it holds."""
_Parts = list[tuple[str, ...]]
_Said = tuple[object, object]
"""Before and after as what tells them apart: made once an edit, compared at every depth."""
_Folding = tuple[_Parts, Edit, _Said]
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a diff. target: one, or several in braces; count: how many edits it stands for."""

    target: str
    before: Value
    after: Value
    count: int = 1

    def __str__(self) -> str:
        return f"{self.target}: {self.change}"

    @property
    def change(self) -> str:
        """ "6 → 0"."""
        return f"{show(self.before)} → {show(self.after)}"


def diff(edits: Iterable[Edit]) -> tuple[DiffLine, ...]:
    """The edits in as few lines as tell all of them, in the order of the first of each."""
    found: list[_Folding] = [
        ([(part,) for part in e.target.split("/", DEEPEST)], e, (_one(e.before), _one(e.after))) for e in edits
    ]
    for at in range(max((len(parts) for parts, *_ in found), default=0)):
        found = _folded(found, at)
    return tuple(_line(parts, e) for parts, e, _ in found)


def _one(value: Value) -> object:
    """What is equal for the same values only: a text is that itself, anything else its one text, marked as such."""
    return value if isinstance(value, str) else (canonical(value),)


def _folded(found: list[_Folding], at: int) -> list[_Folding]:
    """Those that differ only in this part made one."""
    groups: dict[tuple[object, ...], _Folding] = {}
    for i, (parts, e, said) in enumerate(found):
        same = ((*parts[:at], None, *parts[at + 1 :]), said) if at < len(parts) else (i,)
        if same in groups:
            groups[same][0][at] = (*groups[same][0][at], *parts[at])
        else:
            groups[same] = (list(parts), e, said)
    return list(groups.values())


def _line(parts: _Parts, e: Edit) -> DiffLine:
    count = 1
    for part in parts:
        count *= len(part)
    named = (part[0] if len(part) == 1 else "{" + ",".join(part) + "}" for part in parts)
    return DiffLine("/".join(named), e.before, e.after, count)


def edit(e: Edit) -> str:
    """ "shop-worker/replicas: 6 → 0"."""
    return str(DiffLine(e.target, e.before, e.after))


def fact(f: Fact) -> str:
    """ "rows that would go: 312 rows (more than 500 asks again)"."""
    unit = f" {f.unit}" if f.unit else ""
    limit = f" (more than {f.ceiling:g}{unit} asks again)" if f.ceiling is not None else ""
    known = f"{show(f.value)}{unit}" if f.value is not None else "not known"
    return f"{f.name}: {known}{limit}"


def show(value: Value) -> str:
    """A value in few characters."""
    if value is None:
        return "absent"
    if isinstance(value, Blob):
        return f"{value.digest[:19]}… ({value.size} bytes)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict) and isinstance(value.get("message"), str):  # a guard: what it says to those it refuses
        value = f'"{value["message"]}"'
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ", ".join(map(str, value)) or "none"
    text = _DIGEST.sub(r"\1…", value if isinstance(value, str) else canonical(value))
    return text if len(text) <= 80 else text[:77] + "…"
