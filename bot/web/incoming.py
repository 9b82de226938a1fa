"""JSON from outside -> values, or one plain line that says what is wrong and where.

Stricter than a parser has to be, because what is read here is recorded for ever and shown to people: no unknown
or doubled field, no number that is none (NaN, Infinity), no type made to fit, no control character, no endless text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bot.located import dotted, nearest, quoted
from bot.located.shapes import Shape

T = TypeVar("T")

TEXT_LIMIT = 2000
"""Characters of one text."""


class Malformed(ValueError):
    """What arrived cannot be read: what is wrong, and where."""


def read_json(adapter: TypeAdapter[T], body: bytes) -> T:
    """The value that the body holds. Malformed says everything that is wrong with it, first things first."""
    try:
        text = body.decode("utf-8")
        data = json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_once_each)
    except RecursionError:
        raise Malformed("The JSON is nested too deeply.") from None
    except UnicodeDecodeError:
        raise Malformed("The body is no UTF-8 text.") from None
    except json.JSONDecodeError as e:
        raise Malformed(f"The body is no JSON: {e.msg} (line {e.lineno}, column {e.colno}).") from None
    except ValueError as e:
        raise Malformed(f"The body cannot be read: {e}.") from None
    for fault in _unfit(data, ()):
        raise Malformed(fault)
    try:
        return adapter.validate_json(body, strict=True, extra="forbid")
    except ValidationError as e:
        shape = Shape.of(adapter.json_schema())
        raise Malformed("\n".join(dict.fromkeys(_line(x, shape) for x in e.errors(include_url=False)))) from None


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word[:20]} is too large a number")
    return number


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(k for i, (k, _) in enumerate(pairs) if k in [p for p, _ in pairs[:i]])
        raise ValueError(f"{quoted(twice)} is there twice")
    return found


def _unfit(value: Any, path: tuple[str | int, ...]) -> Iterator[str]:
    """Texts that have no place in a record."""
    if isinstance(value, str):
        where = f"{dotted(path)}: " if path else ""
        if len(value) > TEXT_LIMIT:
            yield f"{where}{len(value)} characters; at most {TEXT_LIMIT} are read."
        if any(not c.isprintable() and c not in "\n\t\u200d\xa0" for c in value):
            yield f"{where}holds a character that cannot be shown."
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from _unfit(k, path)
            yield from _unfit(v, (*path, k))
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield from _unfit(v, (*path, i))


def _line(error: Any, shape: Shape) -> str:
    """One mistake in plain words."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "union_tag_not_found":
        return "do: is missing; it says which command this is."
    if kind == "union_tag_invalid":
        tags = [t.strip("' ") for t in str(context["expected_tags"]).split(",")]
        return f"do: there is no command {quoted(context['tag'])}{_guess(context['tag'], tags)}"
    path = tuple(p for p in error["loc"] if p not in _tags(shape))
    where = dotted(path) or "the body"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: is not known here{_guess(path[-1], _keys(shape, path[:-1]))}"
    if kind in ("missing", "missing_argument"):
        return f"{where}: is missing."
    words = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{where}: {words[0].lower()}{words[1:]}."


def _guess(word: object, known: list[str]) -> str:
    near = nearest(word, known)
    if near:
        return f"; did you mean {near!r}?"
    return f"; known are {', '.join(known)}." if known else "."


def _keys(shape: Shape, path: tuple[str | int, ...]) -> list[str]:
    for part in path:
        found = shape.at(part)
        if found is None:
            return []
        shape = found
    return sorted(shape.keys - {"do"})


def _tags(shape: Shape) -> frozenset[object]:
    """The words that say which member of a union this is; pydantic puts them into the path."""
    do = shape.at("do")
    return frozenset(do.members or ()) if do is not None else frozenset()
