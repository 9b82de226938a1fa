"""JSON Schema read as a type: where a path leads, and whether every value of one shape fits another.

Made for the schemas that pydantic writes. Only types count (text, number, lists, mappings, enumerations): limits
and patterns are judged when the value is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bot.ports import Json

_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
    "array": "a list",
    "object": "a mapping",
    "any": "anything",
}


class _Later(Mapping[str, Any]):
    """A schema that is written when it is first looked at."""

    def __init__(self, write: Callable[[], Mapping[str, Any]]) -> None:
        self._write = write

    @cached_property
    def _written(self) -> Mapping[str, Any]:
        return self._write()

    def __getitem__(self, key: str) -> Any:
        return self._written[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def __len__(self) -> int:
        return len(self._written)


@dataclass(frozen=True)
class Shape:
    """One schema; `defs` are the definitions that it refers to."""

    schema: Mapping[str, Any]
    defs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Shape:
        """A whole schema as pydantic writes it."""
        return cls(schema, schema.get("$defs", {}))

    @classmethod
    def later(cls, write: Callable[[], Mapping[str, Any]]) -> Shape:
        """The same, written when it is first looked at: that takes some 10 ms, and many are asked only after a
        mistake."""
        return cls(whole := _Later(write), _Later(lambda: whole.get("$defs", {})))

    @classmethod
    def value(cls, value: Json) -> Shape:
        """The shape of one known value."""
        return cls({"enum": [value]})

    @property
    def widened(self) -> Shape:
        """The same types, whatever the values."""
        return Shape({"anyOf": [{k: v for k, v in w.schema.items() if k != "enum"} for w in self.ways]}, self.defs)

    @cached_property
    def ways(self) -> tuple[Shape, ...]:
        """The alternatives, each with one type (or none, where anything goes)."""
        return tuple(self._ways(()))

    @cached_property
    def kinds(self) -> frozenset[str]:
        """JSON types that a value may have; "any" where nothing is said."""
        return frozenset(w.kind for w in self.ways)

    @property
    def kind(self) -> str:
        """The one type of an alternative."""
        return str(self.schema.get("type", "any"))

    @cached_property
    def members(self) -> tuple[Json, ...] | None:
        """The only values there are, if they are listed."""
        if any("enum" not in w.schema and w.kind != "null" for w in self.ways):
            return None
        return tuple(v for w in self.ways for v in w.schema.get("enum", [None]))

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of a mapping, as far as they are named."""
        return frozenset(k for w in self.ways for k in w.schema.get("properties", {}))

    def marks(self, key: str) -> frozenset[str]:
        """What the alternatives say under a key of our own."""
        return frozenset(str(w.schema[key]) for w in self.ways if key in w.schema)

    def of_keys(self, key: str) -> frozenset[str]:
        """The same of the keys of a mapping."""
        named = [w.schema.get("propertyNames", {}) for w in self.ways]
        return frozenset(str(n[key]) for n in named if key in n)

    @property
    def words(self) -> str:
        """ "text or nothing"."""
        found: list[str] = []
        for way in self.ways:
            values = way.schema.get("enum")
            found += [_literal(v) for v in values] if values else [_WORDS.get(way.kind, way.kind)]
        return " or ".join(dict.fromkeys(found))

    def at(self, part: str | int) -> Shape | None:
        """The shape of what stands under this key or index; None where nothing may."""
        found = [c for w in self.ways for c in w._children(part)]
        if not found:
            return None
        return found[0] if len(found) == 1 else Shape({"anyOf": [c.schema for c in found]}, self.defs)

    def fits(self, wanted: Shape) -> bool:
        """Whether every value of this shape has the wanted one."""
        return _fits(self, wanted, frozenset())

    def _ways(self, seen: tuple[str, ...]) -> Iterator[Shape]:
        schema = self.schema
        if "$ref" in schema:
            name = str(schema["$ref"]).rsplit("/", 1)[-1]
            if name not in seen:
                yield from Shape(self.defs.get(name, {}), self.defs)._ways((*seen, name))
            return
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                for part in schema[key]:
                    yield from Shape(part, self.defs)._ways(seen)
                return
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        if values is not None:
            by_type: dict[str, list[Json]] = {}
            for v in values:
                by_type.setdefault(_type(v), []).append(v)
            for kind, members in by_type.items():
                yield Shape({"type": kind, "enum": members}, self.defs)
        elif isinstance(schema.get("type"), list):
            for kind in schema["type"]:
                yield Shape({**schema, "type": kind}, self.defs)
        else:
            yield self

    def _children(self, part: str | int) -> Iterator[Shape]:
        schema = self.schema
        child: object = None
        if isinstance(part, int):
            fixed = schema.get("prefixItems", [])
            child = fixed[part] if part < len(fixed) else schema.get("items")
        else:
            patterned = next(iter(schema.get("patternProperties", {}).values()), None)
            child = schema.get("properties", {}).get(part, patterned or schema.get("additionalProperties"))
        if child is True or (child is None and self.kind == "any"):
            child = {}
        if isinstance(child, Mapping):
            yield Shape(child, self.defs)


def _fits(have: Shape, want: Shape, seen: frozenset[tuple[int, int]]) -> bool:
    pair = (id(have.schema), id(want.schema))
    if pair in seen or len(seen) > 50:  # a recursive type: nothing new to see
        return True
    seen |= {pair}
    return all(any(_way_fits(h, w, seen) for w in want.ways) for h in have.ways)


def _way_fits(have: Shape, want: Shape, seen: frozenset[tuple[int, int]]) -> bool:
    if want.kind == "any":
        return True
    if have.kind != want.kind and (have.kind, want.kind) != ("integer", "number"):
        return False
    if want.kind == "array":
        return _fits(have.at(0) or Shape({}), want.at(0) or Shape({}), seen)
    if want.kind == "object":
        return _object_fits(have, want, seen)
    allowed = want.schema.get("enum")
    return allowed is None or all(v in allowed for v in have.schema.get("enum", [object()]))


def _object_fits(have: Shape, want: Shape, seen: frozenset[tuple[int, int]]) -> bool:
    if not set(want.schema.get("required", ())) <= set(have.schema.get("required", ())):
        return False
    rest = have.schema.get("additionalProperties")
    keys = [*have.keys, *([""] if rest or not have.keys else [])]  # "": any key that is not named
    for key in keys:
        mine, theirs = have.at(key), want.at(key)
        if theirs is None or not _fits(mine or Shape({}), theirs, seen):
            return False
    return True


def _type(value: Json) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _literal(value: Json) -> str:
    return {True: "true", False: "false", None: "nothing"}[value] if isinstance(value, bool | None) else repr(value)
