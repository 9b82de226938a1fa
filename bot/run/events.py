"""What can happen in a run. One frozen dataclass a kind; the log keeps them as canonical JSON, for ever.

Invariants:
- an event says what happened, never what is to be done;
- fields are only added, with a default; a field's meaning never changes (`upcast` turns older bodies into today's);
- an event of a kind this version does not know decodes to `Unknown` and is ignored by the fold, so that an old
  and a new version can work on one log at the same time;
- events of an attempt carry `step` and `n`; `n` is the fencing token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from bot.catalogue import Channels, Release
from bot.contract import Json, canonical
from bot.plan.model import Plan
from bot.policy import Actor
from bot.ports import Where
from bot.run.deciding import Approved as Approved
from bot.run.deciding import BrokeGlass as BrokeGlass
from bot.run.deciding import Declined as Declined
from bot.run.deciding import Lapsed as Lapsed
from bot.run.deciding import Paged as Paged
from bot.run.deciding import Reminded as Reminded
from bot.run.deciding import Taken as Taken
from bot.run.owed import CameBack as CameBack
from bot.run.owed import Inherited as Inherited
from bot.run.owed import Lifted as Lifted
from bot.run.owed import Overdue as Overdue
from bot.run.owed import PartBack as PartBack
from bot.run.owed import PartHandedOver as PartHandedOver
from bot.run.owed import PartProposed as PartProposed
from bot.run.owed import Reviewed as Reviewed
from bot.run.owed import Seen as Seen
from bot.run.owed import TakenOver as TakenOver
from bot.run.owed import WentWithout as WentWithout
from bot.run.working import Accepted as Accepted
from bot.run.working import AdoptAsked as AdoptAsked
from bot.run.working import Adopted as Adopted
from bot.run.working import Applied as Applied
from bot.run.working import ApplyStarted as ApplyStarted
from bot.run.working import AttemptKind as AttemptKind
from bot.run.working import Cancelled as Cancelled
from bot.run.working import Checked as Checked
from bot.run.working import Drifted as Drifted
from bot.run.working import Failed as Failed
from bot.run.working import HandedOver as HandedOver
from bot.run.working import Lost as Lost
from bot.run.working import Noted as Noted
from bot.run.working import NotNeeded as NotNeeded
from bot.run.working import Planned as Planned
from bot.run.working import Recorded as Recorded
from bot.run.working import Retried as Retried
from bot.run.working import Skipped as Skipped
from bot.run.working import Started as Started
from bot.run.working import UndoAsked as UndoAsked
from bot.run.working import Undone as Undone
from bot.run.working import Waiting as Waiting

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of one event's body: room for a change of thousands of images, each by digest, before and after. Single values
that are large belong into blobs (`INLINE_LIMIT`)."""

Outcome = Literal["verified", "closed", "aborted", "aborted, debts handed over"]


# -- the run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Created:
    """Somebody asked for it: everything the run will work from, pinned."""

    kind: ClassVar[str] = "created"
    service: str
    plan: Plan
    plan_digest: str
    #: From which release to which, in a run that brings one back; the others name them alone.
    removed: Release
    target: Release
    #: Why and by whom; what the run is for (rollback, forward, freeze, ...); the channel where it was asked for.
    reason: str
    by: Actor
    purpose: str = "rollback"
    channel: str = ""
    #: What `${service.limits.<name>}` asks.
    limits: Mapping[str, Json] = field(default_factory=dict)
    #: Decision -> why nobody can pass it: empty is the proof that all can.
    impossible: Mapping[str, str] = field(default_factory=dict)
    #: Of catalogue and bot at that time.
    digests: Mapping[str, str] = field(default_factory=dict)
    #: What speaks for this target and what to be careful of, a sentence each.
    evidence: tuple[str, ...] = ()
    #: Further releases of which something may still run: those that the run before tried in vain.
    given_up: tuple[Release, ...] = ()
    #: The run whose change this one takes back (rolling forward again).
    follows: str = ""
    #: The run whose place this one takes: the same rollback by another plan, before anything had begun.
    instead_of: str = ""
    #: Where the service's people read.
    channels: Channels = field(default_factory=Channels)
    #: What customers notice, and what works all the same, in plain words: stakeholders read these, never the reason.
    impact: str = ""
    workaround: str = ""
    #: Who had asked for, or commanded, the run whose place this one takes: they do not approve here either.
    barred: tuple[Actor, ...] = ()
    #: The kinds of targets that the service had then ("http", "kubernetes"): what `${service.has.<kind>}` asks.
    kinds: tuple[str, ...] = ()
    #: When people chose to meet, in UTC (2026-12-01T09:00:00+00:00); empty where the catalogue says.
    meeting: str = ""
    #: Target -> which place it is: approvals are for these. Empty in runs of versions that pinned none.
    places: Mapping[str, Where] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing new starts until resumed."""

    kind: ClassVar[str] = "stopped"
    by: Actor
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Goes on."""

    kind: ClassVar[str] = "resumed"
    by: Actor


@dataclass(frozen=True, slots=True)
class Aborted:
    """No further attempt; each debt is restored or handed over, then the run ends."""

    kind: ClassVar[str] = "aborted"
    by: Actor
    reason: str
    instead: str = ""
    """The plan of the run that takes this one's place; only where nothing has begun yet."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """Something that more than one person must want: `what` on `step` or with `detail`; agreed to under `id`. `role`:
    the seat that its author's own yes fills, empty where it fills none."""

    kind: ClassVar[str] = "proposed"
    id: str
    what: Literal["retarget", "forward", "admit", "skip", "accept"]
    by: Actor
    reason: str
    step: str = ""
    release: Release | None = None
    role: str = ""


@dataclass(frozen=True, slots=True)
class Agreed:
    """One person's yes to a proposal. `role`: the seat it filled; `moved`: who wanted it before -> the seat they fill
    from now on, where this vote has taken theirs; `young`: as in Approved."""

    kind: ClassVar[str] = "agreed"
    id: str
    by: Actor
    role: str = ""
    moved: Mapping[str, str] = field(default_factory=dict)
    young: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retargeted:
    """Another release is restored from here on; the one tried before is bad."""

    kind: ClassVar[str] = "retargeted"
    target: Release
    reason: str
    by: Actor


@dataclass(frozen=True, slots=True)
class Relocated:
    """The catalogue says other places by now, and nothing of the run stands at those: it is asked again for these.
    differences: a line each, as `now at …, approved for …`."""

    kind: ClassVar[str] = "relocated"
    places: Mapping[str, Where]
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FixAdmitted:
    """The freeze lets this one release pass."""

    kind: ClassVar[str] = "fix admitted"
    release: Release
    reason: str
    by: Actor


@dataclass(frozen=True, slots=True)
class FreezeOverridden:
    """Something is deployed in spite of the freeze: what (version, digest; empty if nobody said), and why."""

    kind: ClassVar[str] = "freeze overridden"
    deployed: str
    reason: str
    by: Actor


@dataclass(frozen=True, slots=True)
class CommandTaken:
    """Another commander. `how`: offered by the old one, or taken after silence; `young`: as in Approved."""

    kind: ClassVar[str] = "command taken"
    by: Actor
    how: Literal["handed over", "after silence"]
    young: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandOffered:
    """The commander names a successor, who then takes command."""

    kind: ClassVar[str] = "command offered"
    to: str
    by: Actor


@dataclass(frozen=True, slots=True)
class Told:
    """What stakeholders read from now on, in place of what was said before: what customers notice (`impact`), and what
    works all the same (`workaround`, empty where nothing was said)."""

    kind: ClassVar[str] = "told"
    impact: str
    workaround: str
    by: Actor


@dataclass(frozen=True, slots=True)
class PeopleChanged:
    """Which decisions nobody can pass any more, after people or roles changed (empty: all can be passed again)."""

    kind: ClassVar[str] = "people changed"
    impossible: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Restored:
    """The verification passed; from now on it is watched."""

    kind: ClassVar[str] = "restored"


@dataclass(frozen=True, slots=True)
class Closed:
    """The end. `by` None: it closed itself."""

    kind: ClassVar[str] = "closed"
    outcome: Outcome
    by: Actor | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class LossAccepted:
    """A person goes on from a database that lacks what the copy outside it knew of; it stands alone, in no run that was
    created. lost: the newest checkpoint as it was kept outside; ended: number of the last one that the database had."""

    kind: ClassVar[str] = "loss accepted"
    by: Actor
    reason: str
    lost: str
    ended: int


@dataclass(frozen=True, slots=True)
class Vouched:
    """A person vouches for entries that no known key had signed: they were written before signing was on, or the key is
    lost. It stands alone, in no run that was created. key: what signed them now; runs: whose entries, cut at a hundred;
    count: how many they are."""

    kind: ClassVar[str] = "vouched"
    by: Actor
    reason: str
    key: str
    runs: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class TokenIssued:
    """A personal token came to be; it stands with others of its kind, in no run that was created. token: the beginning
    of its hash; issuer: who issued it ("os:root"); until: seconds since the epoch."""

    kind: ClassVar[str] = "token issued"
    token: str
    person: str
    issuer: str
    until: float


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """A personal token ended before its time."""

    kind: ClassVar[str] = "token revoked"
    token: str
    person: str


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """A node's clock went ahead by so many seconds that nobody has lived through: what is under way keeps its time. by
    less than 0: it was put back, and what was written before is ahead of it."""

    kind: ClassVar[str] = "clock jumped"
    by: float
    node: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event of a newer version: kept in the log, ignored by this fold."""

    kind: ClassVar[str] = "unknown"
    was: str
    body: str


Event = (
    Created | Stopped | Resumed | Aborted | Proposed | Agreed | Retargeted | Relocated | FixAdmitted
    | FreezeOverridden | CommandTaken | CommandOffered | Told | PeopleChanged | Restored | Closed | LossAccepted
    | Vouched | TokenIssued | TokenRevoked
    | Approved | Declined | BrokeGlass | Taken | Lapsed | Reminded | Paged
    | Started | Planned | Drifted | ApplyStarted | Recorded | Noted | Waiting | Applied | Undone | Checked
    | Failed | Cancelled | Lost | NotNeeded
    | Retried | Skipped | Accepted | UndoAsked | HandedOver | AdoptAsked | Adopted
    | Seen | Inherited | TakenOver | Overdue | Lifted | CameBack | Reviewed
    | PartProposed | WentWithout | PartBack | PartHandedOver | ClockJumped
    | Unknown
)  # fmt: skip

CHECKPOINTED = (Created, Approved, BrokeGlass, Aborted, Closed, LossAccepted, Vouched)
"""Events that enter the chain of checkpoints with the append that writes them: starts, decisions, ends, and what people
say of the record itself."""

OfAttempt = (
    Planned | Drifted | ApplyStarted | Recorded | Noted | Waiting | Applied | Undone | Checked | Failed
    | Cancelled | Lost | Adopted | Seen
)  # fmt: skip
"""Events that only the attempt that owns the step may write."""

_KINDS: dict[str, type] = {c.kind: c for c in get_args(Event) if c is not Unknown}
_ADAPTERS: dict[str, TypeAdapter[Any]] = {}
"""Of the kinds that were met: making all of them is a tenth of what it takes to start."""


class BadEvent(ValueError):
    """A stored body that does not fit its kind; the message names the field."""


class TooLarge(ValueError):
    """An event above BODY_LIMIT."""


def adapter(kind: str) -> TypeAdapter[Any]:
    """What reads and writes the bodies of a kind that this version knows. KeyError."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(_KINDS[kind])
    return _ADAPTERS[kind]


def encode(event: Event) -> tuple[str, str]:
    """Event -> (kind, body). TooLarge above BODY_LIMIT."""
    if isinstance(event, Unknown):
        return event.was, event.body
    body = canonical(adapter(event.kind).dump_python(event, mode="json"))
    if len(body.encode()) > BODY_LIMIT:
        raise TooLarge(
            f"a {event.kind!r} event has {len(body.encode())} bytes, the limit is {BODY_LIMIT}: "
            "large values belong into blobs"
        )
    return event.kind, body


def decode(kind: str, body: str) -> Event:
    """(kind, body) -> event; `Unknown` for kinds of a newer version."""
    if kind not in _KINDS:
        return Unknown(kind, body)
    try:
        return adapter(kind).validate_python(upcast(kind, json.loads(body)))  # type: ignore[no-any-return]
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        raise BadEvent(f"{kind}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from e


_DUTIES = {
    "deploys.freeze": ["freeze", "hold"], "deploys.thaw": ["thaw"], "release.ban": ["ban"], "gitops.pause": ["hold"],
    "release.deploy": ["replace", "return"], "release.switch": ["replace"], "settings.restore": ["return"],
    "postmortem.schedule": ["learn"],
}  # fmt: skip
"""What actions were counted on for before plans said so, of all of them or of one."""


def upcast(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """A body as any version wrote it -> as this version reads it."""
    if kind == Created.kind and isinstance(plan := body.get("plan"), dict):
        for step in plan.get("steps", ()):
            if isinstance(step, dict):
                known = _DUTIES.get(str(step.get("uses")), [])
                if not step.setdefault("duties", known) and "learn" in known:
                    step["duties"] = known
    return body
