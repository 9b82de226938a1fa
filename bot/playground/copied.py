"""A copy of JSON, a fifth of the price of `copy.deepcopy`: a simulator copies more than it does anything else."""

from __future__ import annotations

from typing import TypeVar, cast

T = TypeVar("T")


def copied(value: T) -> T:
    """The same value; nothing that is changed in one is changed in the other. Mappings and lists alone are copied."""
    if isinstance(value, dict):
        return cast(T, {k: copied(v) for k, v in value.items()})
    if isinstance(value, list):
        return cast(T, [copied(v) for v in value])
    return value
