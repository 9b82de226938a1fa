"""A small schema language whose complaints are worded as Slack's own validator words them.

A rule looks at one value and says what is wrong with it, each complaint with the JSON pointer of the culprit. The
messages and codes are those of Slack's published validator generator (slackhq/hack-json-schema), which its Web API
and `blocks.validate` answer with.

Invariants: rules are pure; every complaint is reported, not only the first; a value of the wrong type is reported
once and not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Code = Literal["missing_field", "invalid_type", "failed_constraint"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One complaint. pointer: RFC 6901, of the value complained of; constraint: what was expected, for programs."""

    pointer: str
    message: str
    code: Code = "failed_constraint"
    constraint: Mapping[str, Any] | None = None
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.message} [json-pointer:{self.pointer}]" if self.pointer else self.message

    def json(self) -> dict[str, Any]:
        """As `blocks.validate` answers it."""
        body: dict[str, Any] = {"code": self.code, "message": self.message, "pointer": self.pointer}
        if self.constraint is not None:
            body["constraint"] = dict(self.constraint)
        return body | ({"field": self.field} if self.field else {})


Rule = Callable[[Any, str], list[Problem]]
"""(value, its pointer) -> what is wrong with it."""


def failed(pointer: str, message: str, kind: str, expected: object) -> list[Problem]:
    """One constraint that does not hold."""
    return [Problem(pointer, message, constraint={"type": kind, "expected": expected})]


def mistyped(pointer: str, noun: str) -> list[Problem]:
    """The value is of another JSON type; noun: "a string", "an object"."""
    return [Problem(pointer, f"must {'be' if noun == 'a boolean' else 'provide'} {noun}", "invalid_type")]


def string(low: int = 0, high: int | None = None, pattern: str | None = None) -> Rule:
    """Text of low to high characters."""

    def rule(value: Any, pointer: str) -> list[Problem]:
        if not isinstance(value, str):
            return mistyped(pointer, "a string")
        if high is not None and len(value) > high:
            return failed(pointer, f"must be less than {high + 1} characters", "max_length", high)
        if len(value) < low:
            return failed(pointer, f"must be more than {low - 1} characters", "min_length", low)
        if pattern is not None and not re.search(pattern, value):
            return failed(pointer, f"input must match regex pattern: {pattern}", "pattern", pattern)
        return []

    return rule


def integer(low: int | None = None, high: int | None = None) -> Rule:
    """A whole number, bounds included."""

    def rule(value: Any, pointer: str) -> list[Problem]:
        if isinstance(value, bool) or not isinstance(value, int):
            return mistyped(pointer, "an integer")
        if high is not None and value > high:
            return failed(pointer, f"must be less than {high}", "maximum", high)
        if low is not None and value < low:
            return failed(pointer, f"must be greater than {low}", "minimum", low)
        return []

    return rule


def number(value: Any, pointer: str) -> list[Problem]:
    """Any number."""
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    return mistyped(pointer, "a number") if wrong else []


def boolean(value: Any, pointer: str) -> list[Problem]:
    """True or false."""
    return [] if isinstance(value, bool) else mistyped(pointer, "a boolean")


def enum(*values: Any) -> Rule:
    """One of these values."""

    def rule(value: Any, pointer: str) -> list[Problem]:
        fine = any(value is v or (value == v and type(value) is type(v)) for v in values)
        return [] if fine else failed(pointer, "must be a valid enum value", "enum", list(values))

    return rule


def array(item: Rule, low: int = 0, high: int | None = None) -> Rule:
    """low to high items, each of which keeps the rule."""

    def rule(value: Any, pointer: str) -> list[Problem]:
        if not isinstance(value, list):
            return mistyped(pointer, "an array")
        if high is not None and len(value) > high:
            return failed(pointer, f"no more than {high} items allowed", "max_items", high)
        if len(value) < low:
            return failed(pointer, f"must provide at least {low} items", "min_items", low)
        return [problem for i, each in enumerate(value) for problem in item(each, f"{pointer}/{i}")]

    return rule


def obj(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None, *more: Rule) -> Rule:
    """An object with these fields and no others; `more` look at the whole of one whose fields are fine."""
    fields = {**required, **(optional or {})}

    def rule(value: Any, pointer: str) -> list[Problem]:
        if not isinstance(value, dict):
            return mistyped(pointer, "an object")
        found = [
            Problem(pointer, f"missing required field: {name}", "missing_field", field=name)
            for name in required
            if name not in value
        ]
        for name in value:
            if name not in fields:
                found += failed(
                    pointer, f"invalid additional property: {name}", "additional_properties", sorted(fields)
                )
        for name, check in fields.items():
            if name in value:
                found += check(value[name], f"{pointer}/{name}")
        return found or [problem for check in more for problem in check(value, pointer)]

    return rule


def tagged(options: Mapping[str, Rule]) -> Rule:
    """An object whose `type` says which rule it keeps."""

    def rule(value: Any, pointer: str) -> list[Problem]:
        if not isinstance(value, dict):
            return mistyped(pointer, "an object")
        if "type" not in value:
            return [Problem(pointer, "missing required field: type", "missing_field", field="type")]
        kind = value["type"]
        if not isinstance(kind, str) or kind not in options:
            return failed(f"{pointer}/type", f"unsupported type: {kind}", "enum", list(options))
        return options[kind](value, pointer)

    return rule


def one_of(*names: str) -> Rule:
    """At least one of these fields is there; for `obj`."""

    def rule(value: Any, pointer: str) -> list[Problem]:
        if any(name in value for name in names):
            return []
        wanted = " or ".join(f"`{name}`" for name in names)
        return failed(pointer, f"must define either {wanted}", "any_of", list(names))

    return rule


def not_both(first: str, second: str) -> Rule:
    """These two fields exclude each other; for `obj`."""

    def rule(value: Any, pointer: str) -> list[Problem]:
        if first not in value or second not in value:
            return []
        return failed(pointer, f"must not define both `{first}` and `{second}`", "one_of", [first, second])

    return rule
