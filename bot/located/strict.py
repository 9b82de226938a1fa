"""The border between files and values: strict models, the scalars that files share, and pydantic's errors as faults.

Invariants:
- nothing is converted in silence: "3" is no number, 2.4 is no text;
- after a mistake the rest is still read: what is only unknown or has a default is left out and read again.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from bot.located import Path, Report, nearest, quoted
from bot.located.shapes import Shape
from bot.ports import Json

T = TypeVar("T")

NEITHER = "neither"
"""Type of the error for a mapping that is none of the alternatives; its message says what they are."""
LONGEST = 30 * 86400.0
"""Seconds of the longest duration that a file may give."""
REPAIRS = 4
"""How often what is wrong is left out before the rest is given up."""

_DURATION = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERNS = {
    r"^[a-z][a-z0-9-]*$": "use a-z, 0-9 and '-', beginning with a letter",
    r"^[a-z][a-z0-9_]*$": "use a-z, 0-9 and '_', beginning with a letter",
    r"^\S+$": "it holds a blank",
}


class Strict(BaseModel):
    """A mapping in a file: known keys only, no conversions."""

    # A part is built with the whole that it is of, not once more by itself: it halves what a start costs.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


def seconds(value: object) -> float:
    """`30s`, `5m`, `1h`, `500ms`, or a number of seconds. Raises ValueError."""
    number = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str) and re.match(_DURATION, value):
        digits = value.rstrip("mshd")
        number = float(digits) * _UNITS[value[len(digits) :]]
    if 0 <= number <= LONGEST:
        return number
    raise ValueError(f"must be a duration up to 30d, like 30s, 5m or 1h, not {quoted(value)}")


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION}]}),
]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)]
"""A name as people type it: `pause-workers`."""
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""A name that references use: `rows_lost`."""
Word = Annotated[str, Field(pattern=r"^\S+$", max_length=200)]
"""An identifier of somebody else's: no blanks."""
Text = Annotated[str, Field(min_length=1, max_length=200)]
"""One line for people."""


def read_as(
    adapter: TypeAdapter[T], data: Json, path: Path, report: Report, shape: Shape, place_of_id: str = ""
) -> T | None:
    """`data`, which stands at `path`, as a value of this type; None where too little of it is right.

    Every mistake goes into the report. `shape` is the type's schema, for guesses at keys. `place_of_id` stands in
    for an `id` that is missing or unusable, so that the rest can still be looked at.
    """
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        note(error, data, path, report, shape)
        wrong = error
    for _ in range(REPAIRS):
        data = _repaired(wrong, data, place_of_id)
        try:
            return adapter.validate_python(data)
        except ValidationError as error:
            wrong = error
    return None


def note(
    error: ValidationError,
    data: Json,
    path: Path,
    report: Report,
    shape: Shape,
    skip: Callable[[str, Path], bool] = lambda kind, at: False,
) -> None:
    """Report every line of a pydantic error about `data`, which stands at `path`, but those to `skip`."""
    for e in error.errors(include_url=False):
        at = where(e, data)
        if skip(e["type"], at):
            continue
        if e["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            _unknown(str(at[-1]), path + at, _below(shape, at[:-1]), report)
        elif e["type"] == NEITHER:
            _neither(str(e["msg"]), e["input"], path + at, _below(shape, at), report)
        elif e["type"] == "missing":
            report.add(path + at[:-1], f"{str(at[-1])!r} is missing")
        else:
            key = e["loc"][-1:] == ("[key]",)
            raw = report.document.node(path + at).raw
            report.add(path + at, _message(dict(e), raw), key=key, word=e["input"], known=_wanted(dict(e)))


def where(error: Any, data: Json) -> Path:
    """pydantic's `loc` as a path in the data: without the names of alternatives that it puts in between."""
    found: list[str | int] = []
    for i, part in enumerate(error["loc"]):
        last = i == len(error["loc"]) - 1
        if isinstance(data, dict) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not (last and error["type"] == "missing"):
            continue
        found.append(part)
    return tuple(found)


def _unknown(word: str, path: Path, shape: Shape | None, report: Report) -> None:
    known = shape.keys if shape else frozenset[str]()
    elsewhere = {k for d in (shape.defs if shape else {}).values() for k in d.get("properties", ())}
    if word in known | elsewhere:
        report.add(path, f"{word!r} does not belong here", key=True)
    else:
        report.add(path, f"unknown key {quoted(word)}", key=True, word=word, known=known)


def _neither(message: str, data: Json, path: Path, shape: Shape | None, report: Report) -> None:
    """A mapping of which it is not clear what it is to be: often the key that says so is misspelt."""
    known = shape.keys if shape else frozenset[str]()
    unknown = [k for k in (data if isinstance(data, dict) else {}) if k not in known]
    for key in unknown:
        _unknown(key, (*path, key), shape, report)
    if not any(nearest(k, known) for k in unknown):
        report.add(path, message)


def _below(shape: Shape | None, path: Path) -> Shape | None:
    for part in path:
        shape = shape.at(part) if shape else None
    return shape


def _message(e: dict[str, Any], raw: str) -> str:
    kind, ctx, value = str(e["type"]), e.get("ctx", {}), e["input"]
    but = f", not {quoted(value)}" if isinstance(value, str | int | float) else ""
    but = ", but nothing is given" if value is None else but
    if kind == "string_type" and raw and value is not None:
        return f'must be text; quote it: "{raw}"'
    if kind in ("value_error", "assertion_error"):
        return str(ctx.get("error", e["msg"]))
    if kind == "literal_error":
        return f"must be {ctx['expected']}{but}"
    if kind == "string_pattern_mismatch":
        return f"{quoted(value)}: {_PATTERNS.get(ctx['pattern'], 'it must match ' + str(ctx['pattern']))}"
    words = {
        "string_type": "must be text",
        "string_too_short": "must not be empty",
        "string_too_long": f"is longer than {ctx.get('max_length')} characters",
        "int_type": "must be a whole number",
        "int_parsing": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "float_parsing": "must be a number",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "list_type": "must be a list",
        "tuple_type": "must be a list",
        "dict_type": "must be a mapping",
        "model_type": "must be a mapping",
        "model_attributes_type": "must be a mapping",
        "dataclass_type": "must be a mapping",
        "too_short": "must not be empty" if ctx.get("min_length") == 1 else f"needs at least {ctx.get('min_length')}",
        "greater_than": f"must be more than {ctx.get('gt')}",
        "greater_than_equal": f"must be at least {ctx.get('ge')}",
        "less_than_equal": f"must be at most {ctx.get('le')}",
    }
    if kind not in words:
        return str(e["msg"]).removeprefix("Value error, ")
    return words[kind] + (but if kind.endswith(("_type", "_parsing", "_from_float", "_than", "_equal")) else "")


def _wanted(e: dict[str, Any]) -> Sequence[str]:
    if e["type"] != "literal_error":
        return ()
    return re.findall(r"'([^']*)'", str(e.get("ctx", {}).get("expected", "")))


def _repaired(error: ValidationError, data: Json, place_of_id: str) -> Json:
    """The data without what is wrong in it, and without what lacks a part of itself."""
    paths = [
        where(e, data)[: -1 if e["type"] == "missing" and e["loc"][-1] != "id" else None]
        for e in error.errors(include_url=False)
    ]
    data = copy.deepcopy(data)
    for path in filter(None, paths):
        parent: Json = data
        for part in path[:-1]:
            parent = _child(parent, part)
        if isinstance(parent, dict):
            parent.pop(str(path[-1]), None)
            if path[-1] == "id" and place_of_id:
                parent["id"] = place_of_id
    return data


def _child(data: Json, part: str | int) -> Json:
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return data.get(str(part)) if isinstance(data, dict) else None
