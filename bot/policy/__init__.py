"""People, roles, gates and refusals, as values. Who may approve is in `approval.py`.

Invariant: strangers, guests, bots and deactivated people are refused before any role is looked at.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

COMMANDER = "commander"
APPROVER = "approver"
SILENCE = 300.0
"""Seconds without a sign of the commander after which any commander may take over."""


@dataclass(frozen=True, slots=True)
class Person:
    """Someone as the directory knows them now. roles: role names of the catalogue that they hold now; young: those
    that a group gives and that were first seen to be theirs within the last hour -> seconds since then."""

    id: str
    name: str
    roles: frozenset[str] = frozenset()
    kind: Literal["member", "guest", "bot", "stranger", "deactivated"] = "member"
    on_call: frozenset[str] = frozenset()
    young: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, with the roles they held at that moment, and by which way in."""

    id: str
    name: str
    roles: tuple[str, ...] = ()
    via: str = "cli"

    @classmethod
    def of(cls, person: Person, via: str) -> Actor:
        """The person as recorded in an event."""
        return cls(person.id, person.name, tuple(sorted(person.roles)), via)


@dataclass(frozen=True, slots=True)
class Requirement:
    """`count` different people of this role. own: requester and commanders may be among them."""

    role: str
    count: int = 1
    own: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """What must be decided by people before a step may act. remind, escalate: seconds after opening; lifetime: seconds
    after which a yes holds no longer, where nothing of what it lets pass has begun."""

    by: tuple[Requirement, ...]
    self_approval: bool = False
    typed_phrase: bool = False
    remind: float = 60.0
    escalate: float = 300.0
    lifetime: float = 3600.0

    @property
    def roles(self) -> frozenset[str]:
        """Every role that has a part in this gate."""
        return frozenset(r.role for r in self.by)

    @property
    def words(self) -> str:
        """ "a dba and 2 approvers"."""
        return joined([_people(r.role, r.count) for r in self.by])


ONE_APPROVER = Gate((Requirement(APPROVER),))
"""Skipping or accepting a step that has no gate of its own."""
COMMANDER_AND_APPROVER = Gate((Requirement(COMMANDER, own=True), Requirement(APPROVER)))
"""Retarget, admit a fix, go on without a part: the commander proposes, an approver agrees (barred as anywhere)."""


class Why(enum.StrEnum):
    """Kinds of refusal, for programs; people read the text."""

    NOT_YOURS = "not-yours"
    BARRED = "barred"
    ALREADY = "already"
    STALE = "stale"
    NOT_NOW = "not-now"
    IMPOSSIBLE = "impossible"
    """Some decision could be passed only by breaking the glass; it can be opened despite that."""
    UNKNOWN = "unknown"
    BAD_INPUT = "bad-input"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A "no" for one person: what is wrong, who can, and that nothing was changed. field: of what they have said, which
    of it is meant; empty where none is."""

    why: Why
    text: str
    who_can: tuple[str, ...] = ()
    field: str = ""


def stranger(person: Person) -> Refusal | None:
    """Refuses everyone who is not an active member, whatever their roles say."""
    words = {
        "guest": "guests may read, not decide",
        "bot": "bots do not decide",
        "stranger": "you are not a member of this workspace",
        "deactivated": "this account is deactivated",
    }
    if person.kind == "member":
        return None
    return Refusal(Why.NOT_YOURS, f"Refused: {words[person.kind]}. Nothing was changed.")


def _people(role: str, count: int) -> str:
    article = "an" if role[0] in "aeiou" else "a"
    return f"{article} {role}" if count == 1 else f"{count} {role}s"


def joined(words: Sequence[str], word: str = "and") -> str:
    """ "a, b and c"."""
    return f" {word} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
