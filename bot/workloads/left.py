"""What is left as it is, and why, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.ports import Json
from bot.ports.kubernetes import Thing
from bot.workloads.record import alike, differ

RIGHTS = "give the bot the right, or lift what forbids it; then try again"
"""What people do where a cluster does not let the bot look or write."""


@dataclass(frozen=True, slots=True)
class Left:
    """A field that is left as it is: who set it or why, in words. secret: because it holds one; unknown: and nobody can
    tell whether it has changed."""

    target: str
    why: str
    secret: bool = False
    unknown: bool = False


def of_secret(thing: Thing, name: str, now: Json, then: Json, befores: Sequence[Json]) -> Iterator[Left]:
    """A value that looks like a secret, now or in the target: left, and named where it is not the same."""
    target, other = thing.place.target(name), differ(now, then)
    if other is None:
        yield Left(target, "it holds a secret, and whether it changed is not known", secret=True, unknown=True)
    elif other:
        ours = not befores or any(alike(now, b, name) for b in befores)
        by = thing.by.get(name)
        since = "" if ours else f" ({who(thing, name)})"
        if now is None:
            yield Left(target, f"gone, held a secret: put it back by hand, from where it is kept{since}", secret=True)
        elif then is None:
            yield Left(target, f"new, holds a secret: take it out by hand, where it is kept{since}", secret=True)
        else:
            where = f"from where {by.manager} has it" if by is not None else "from where it is kept"
            yield Left(target, f"changed, holds a secret: by hand, {where}{since}", secret=True)


def by_hand(secrets: Sequence[Left]) -> list[str]:
    """What of these people have to see to, a line each; what nobody can tell is one line."""
    lines = [f"left alone: {left.target}, {left.why}" for left in secrets if not left.unknown]
    unknown = [left.target for left in secrets if left.unknown]
    if unknown:
        count = f"{len(unknown)} value{'s hold secrets' if len(unknown) > 1 else ' holds a secret'}"
        why = "whether changed is not known (recorded without ROLLBACK_DIGEST_KEY, or with another)"
        lines.append(f"left alone: {count}, {why}: {', '.join(unknown)}")
    return lines


def who(thing: Thing, name: str) -> str:
    """ "changed by dee at 12:00 UTC", as far as the cluster knows."""
    by = thing.by.get(name)
    return f"changed by {by.manager} at {by.at:%H:%M} UTC" if by is not None else "changed by somebody else"


def short(target: str) -> str:
    """ "eu-1 shop-settings/KEY" of a key of a ConfigMap."""
    cluster, _, name, _, key = target.split("/", 4)
    return f"{cluster} {name}/{key}"
