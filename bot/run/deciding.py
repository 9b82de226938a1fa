"""What may happen about a decision: kinds of events like those in `events.py`, which lists them all.

They are stored for ever; the rules of `events.py` hold for them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from bot.policy import Actor


@dataclass(frozen=True, slots=True)
class Approved:
    """A person's yes to a decision. `fingerprints`: step -> what the card showed; `role`: the seat it filled;
    `phrase`: whether the phrase was typed; `moved`: who voted before -> the seat they fill from now on, where this vote
    has taken theirs; `young`: roles that a group gives and that were first seen to be theirs within the last hour ->
    seconds since then."""

    kind: ClassVar[str] = "approved"
    decision: str
    fingerprints: Mapping[str, str]
    by: Actor
    role: str
    phrase: bool = False
    moved: Mapping[str, str] = field(default_factory=dict)
    young: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Declined:
    """A person's "not now"; the gate stays."""

    kind: ClassVar[str] = "declined"
    decision: str
    by: Actor
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BrokeGlass:
    """One person opened a gate alone. To be announced, paged and reviewed within two working days. `young`: as in
    `Approved`."""

    kind: ClassVar[str] = "broke glass"
    decision: str
    fingerprints: Mapping[str, str]
    by: Actor
    reason: str
    young: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """Nobody had to be asked: a choice's option proven by `unless`, or without a gate."""

    kind: ClassVar[str] = "taken"
    decision: str
    why: str


@dataclass(frozen=True, slots=True)
class Reminded:
    """The role was mentioned because the decision waits."""

    kind: ClassVar[str] = "reminded"
    decision: str


@dataclass(frozen=True, slots=True)
class Paged:
    """The role was paged because the decision still waits."""

    kind: ClassVar[str] = "paged"
    decision: str


@dataclass(frozen=True, slots=True)
class Lapsed:
    """What people had said yes to holds no longer, though it would do the same: too long ago and not begun, or somebody
    who said so is no member any more. It is asked again, and neither approved nor declined by this."""

    kind: ClassVar[str] = "lapsed"
    decision: str
    why: str
