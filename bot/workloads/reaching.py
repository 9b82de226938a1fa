"""What actions on clusters share where a cluster is away or refuses: which were not reached, and what people are told.

Invariant: which clusters were not reached stands in the change that people approve, so that `apply` cannot end well
without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bot.contract import Change, Fact, Fatal, Json, Retryable
from bot.ports import Unreachable
from bot.ports.kubernetes import Changed, Denied, Place

_LOST = "clusters not reached"


def not_reached(names: Iterable[str]) -> tuple[Fact, ...]:
    """The fact of a change that names the clusters which could not be reached; none where there are none."""
    found: list[Json] = [*names]
    return (Fact(_LOST, found),) if found else ()


def left_out(change: Change) -> list[str]:
    """The clusters that could not be reached when it was planned."""
    return [str(v) for f in change.facts if f.name == _LOST and isinstance(f.value, list) for v in f.value]


@contextmanager
def writing(next_step: str) -> Iterator[None]:
    """While clusters are written to: what passes by itself is tried again, and of a refusal people are told the
    cluster's words and the next step. Raises Retryable, Fatal."""
    try:
        yield
    except (Unreachable, Changed) as error:
        raise Retryable(str(error)) from error
    except Denied as error:
        raise Fatal(str(error), next_step) from error


def guards(change: Change) -> tuple[dict[Place, Json], dict[Place, Json]]:
    """The guards of a change that is about nothing else, place -> rules: which it puts there, and which it takes away.
    Fatal where a value is no rules."""
    put = {Place.of(e.target): _rules(e.after) for e in change.edits if e.after is not None}
    gone = {Place.of(e.target): _rules(e.before) for e in change.edits if e.after is None}
    return put, gone


def _rules(value: object) -> Json:
    if value is None or isinstance(value, dict):
        return value
    raise Fatal(f"{value!r} are no rules of a guard", "look at the record; this is a fault of the bot")
