"""References in a plan file, `${steps.advise.order}`: how they are written.

A reference is a whole value, never a part of a text, so that its type is known before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bot.contract import Json
from bot.located import Path

ROOTS = ("target", "removed", "service", "run", "steps")

_WHOLE = re.compile(r"\$\{([^{}]*)\}")
_COMPARED = re.compile(r"\s*\$\{([^{}]*)\}\s*(==|!=)\s*(.*\S)\s*")


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference in its parts: `target.version`, `service.limits.rows_lost` (step "limits"), `steps.<id>.<field>`.

    The id of an option's step holds dots, a field never does.
    """

    root: str
    step: str
    field: str

    def __str__(self) -> str:
        return ".".join(p for p in (self.root, self.step, self.field) if p)


def parse(text: str) -> Ref:
    """The parts of what stands between `${` and `}`; parts that are not there are empty."""
    root, _, rest = text.partition(".")
    step, _, name = rest.rpartition(".")
    return Ref(root, step, name)


def whole(text: str) -> str | None:
    """What stands between `${` and `}` if the text is one reference and nothing else."""
    found = _WHOLE.fullmatch(text.strip())
    return found[1].strip() if found else None


def compared(text: str) -> tuple[str, bool, str] | None:
    """`${ref} == word` as (ref, True, word), `!=` as (ref, False, word); None if it is neither."""
    found = _COMPARED.fullmatch(text)
    return (found[1].strip(), found[2] == "==", found[3]) if found else None


def texts(value: Json, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text inside a value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from texts(v, (*path, k))
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield from texts(v, (*path, i))


def mappings(value: Json, path: Path = ()) -> Iterator[tuple[Path, dict[str, Json]]]:
    """Every mapping inside a value, with its path."""
    if isinstance(value, dict):
        yield path, value
    for k, v in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from mappings(v, (*path, k))


def replaced(value: Json, refs: Mapping[Path, Json], path: Path = ()) -> Json:
    """The value with something else at these paths."""
    if path in refs:
        return refs[path]
    if isinstance(value, dict):
        return {k: replaced(v, refs, (*path, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [replaced(v, refs, (*path, i)) for i, v in enumerate(value)]
    return value
