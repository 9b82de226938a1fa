"""What happened, in plain words: one sentence for every kind of event, and the details that belong in code font.

Pure; used by the audit's export and by whoever shows a timeline. Nothing is escaped here: the writer of Markdown,
Slack or HTML does that. Every kind is covered (mypy holds `assert_never` to it, and a test).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never

from bot.contract import Change, Receipt, Value, canonical
from bot.plan.model import Plan
from bot.policy import Actor
from bot.ports import Blob
from bot.run import events as ev
from bot.telling.times import newcomer, seat

_DOING = {"plan": "plans", "apply": "acts", "undo": "takes back", "check": "looks"}
_CAUSE = {
    "retryable": "for a reason that may pass",
    "fatal": "and trying again is useless",
    "unknown": "with an unknown outcome",
    "timeout": "because its time was up",
}


@dataclass(frozen=True, slots=True)
class Names:
    """How steps and decisions are called, by id; an id without a name stands for itself."""

    steps: Mapping[str, str] = field(default_factory=dict)
    decisions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> Names:
        """The titles in a plan."""
        return cls({s.id: s.title for s in plan.steps}, {d.name: d.title for d in plan.decisions})

    def step(self, id: str) -> str:
        """Title of a step."""
        return self.steps.get(id) or id

    def decision(self, id: str) -> str:
        """Title of a decision, in quotes."""
        return f'"{self.decisions.get(id) or id}"'


NO_NAMES = Names()


def who(event: ev.Event) -> Actor | None:
    """The person behind it; None: the bot."""
    by = getattr(event, "by", None)
    return by if isinstance(by, Actor) else None


def sentence(event: ev.Event, names: Names = NO_NAMES) -> str:
    """The event in one sentence without a full stop. Text that people or vendors wrote is in it as it is."""
    if isinstance(event, _OF_RUN):
        said = _of_run(event, names)
    elif isinstance(event, _OF_DECISION):
        said = _of_decision(event, names.decision(event.decision))
    elif isinstance(event, _OF_PEOPLE):
        said = _of_people(event, names.step(event.step))
    else:
        return f"{names.step(event.step)}: {_of_attempt(event)}"
    person = who(event)
    return f"{person.name} {said}" if person else said


def details(event: ev.Event) -> tuple[str, ...]:
    """Commands, edits, evidence: one line each, to be shown as they are."""
    match event:
        case ev.Created():
            digests = {"plan": event.plan_digest, **event.digests}
            places = (f"{target}: {w.at}" for target, w in event.places.items())
            return (*(f"{name}: {digest}" for name, digest in digests.items() if digest), *places, *event.evidence)
        case ev.Recorded():
            return (event.command,)
        case ev.Planned():
            return (*_edits(event.change), *_seen(event.left))
        case ev.Drifted() | ev.ApplyStarted():
            return tuple(_edits(event.change))
        case ev.Noted():
            return (f"{event.name}: {shown(event.value)}",)
        case ev.Applied():
            return tuple(_evidence(event.receipt))
        case ev.Undone():
            return (*_evidence(event.receipt), *_seen(event.observed))
        case ev.Inherited():
            return tuple(_edits(event.change))
        case ev.Failed() | ev.Adopted() | ev.Seen():
            return tuple(_seen(event.observed))
        case ev.Approved() | ev.BrokeGlass():
            return tuple(f"{step}: {fingerprint}" for step, fingerprint in event.fingerprints.items() if fingerprint)
        case ev.LossAccepted():
            return (f"kept outside: {event.lost}",)
        case ev.Vouched():
            return (f"signed with {event.key}", *event.runs)
        case _:
            return ()


def shown(value: Value) -> str:
    """A value as text: strings as they are, "absent" for None, a blob by its digest."""
    if value is None:
        return "absent"
    if isinstance(value, Blob):
        return f"{value.digest} ({value.size} bytes, {value.type})"
    return value if isinstance(value, str) else canonical(value)


_OfRun = (
    ev.Created | ev.Stopped | ev.Resumed | ev.Aborted | ev.Proposed | ev.Agreed | ev.Retargeted | ev.Relocated
    | ev.FixAdmitted
    | ev.FreezeOverridden | ev.CommandTaken | ev.CommandOffered | ev.Told | ev.PeopleChanged | ev.Restored | ev.Closed
    | ev.PartProposed | ev.WentWithout | ev.PartBack | ev.PartHandedOver
    | ev.Inherited | ev.TakenOver | ev.Overdue | ev.Lifted | ev.CameBack | ev.Reviewed | ev.LossAccepted
    | ev.Vouched | ev.ClockJumped | ev.Unknown
    | ev.TokenIssued | ev.TokenRevoked
)  # fmt: skip
_OfDecision = ev.Approved | ev.Declined | ev.BrokeGlass | ev.Taken | ev.Lapsed | ev.Reminded | ev.Paged
_OfPeople = ev.Retried | ev.Skipped | ev.Accepted | ev.UndoAsked | ev.HandedOver | ev.AdoptAsked
_OfAttempt = ev.Started | ev.NotNeeded | ev.OfAttempt
_OF_RUN, _OF_DECISION, _OF_PEOPLE = _OfRun, _OfDecision, _OfPeople


def _of_run(event: _OfRun, names: Names) -> str:
    match event:
        case ev.Created():
            return _created(event)
        case ev.Stopped():
            return "stopped the run" + _because(event.reason)
        case ev.Resumed():
            return "let the run go on"
        case ev.Aborted():
            return "aborted the run" + _because(event.reason)
        case ev.Proposed():
            return f"proposed to {_proposal(event, names)} (proposal {event.id}{_yes(event.role)})" + _because(
                event.reason
            )
        case ev.Agreed():
            role = f" as {seat(event.role, event.young)}" if event.role else ""
            return f"agreed to proposal {event.id}{role}"
        case ev.Retargeted():
            return f"had the run bring {event.target.version} from here on" + _because(event.reason)
        case ev.Relocated():
            return f"the catalogue says other places by now, so it is asked again: {'; '.join(event.differences)}"
        case ev.FixAdmitted():
            return f"let release {event.release.version} through the freeze" + _because(event.reason)
        case ev.FreezeOverridden():
            return f"deployed {event.deployed or 'something'} in spite of the freeze" + _because(event.reason)
        case ev.CommandTaken():
            how = "after it was offered" if event.how == "handed over" else "after a silence of the commander"
            return f"took command {how}{newcomer(event.young)}"
        case ev.CommandOffered():
            return f"offered command to {event.to}"
        case ev.Told():
            works = f"; what works all the same: {event.workaround.rstrip('.')}" if event.workaround else ""
            return f"told stakeholders: {event.impact.rstrip('.')}{works}"
        case ev.PeopleChanged():
            stuck = "; ".join(f"{names.decision(d)} {why}" for d, why in event.impossible.items())
            return f"these decisions cannot be made now: {stuck}" if stuck else "every decision can be made again"
        case ev.Restored():
            return "the verification passed; from here on it is watched"
        case ev.Closed():
            how = "closed the run as" if event.by else "the run closed itself:"
            return f"{how} {event.outcome}" + _because(event.note)
        case ev.TokenIssued():
            return f"{event.issuer} issued token {event.token} for {event.person}, until {moment(event.until)}"
        case ev.TokenRevoked():
            return f"token {event.token} of {event.person} was ended"
        case ev.LossAccepted():
            lost = f"the record behind checkpoint {event.ended}" if event.lost else "the copy of the record's head"
            return f"accepted that {lost} is lost" + _because(event.reason)
        case ev.Vouched():
            return f"vouched for entries of {event.count} runs that no known key had signed" + _because(event.reason)
        case ev.Inherited():
            return f"{names.step(event.step)} was handed over by run {event.run}: this run gives it back"
        case ev.ClockJumped():
            if event.by < 0:
                return f"the clock was put back by {-event.by:.0f} s: what waits for a moment comes as it was to come"
            return f"the clock went ahead by {event.by:.0f} s: nothing that is under way grows older by that"
        case ev.PartProposed():
            what = f"proposed to go on without {event.part} ({event.why}; proposal {event.id}{_yes(event.role)})"
            return what + _because(event.reason)
        case ev.WentWithout():
            return f"had the run go on without {event.part} ({event.why})" + _because(event.reason)
        case ev.PartBack():
            return f"{'says that ' if event.by else ''}{event.part} is back: what it is owed is done now"
        case ev.PartHandedOver():
            until = moment(event.until)
            return f"handed what {event.part} is owed over to {event.to} until {until}" + _because(event.reason)
        case ev.TakenOver() if event.part:
            return f"what {event.part} is owed is done by run {event.run}"
        case ev.TakenOver():
            return f"{names.step(event.step)} is given back by run {event.run}"
        case ev.Overdue():
            if event.part:
                return f"what {event.part} is owed was promised for now: whose it is was reminded"
            if event.step:
                return f"{names.step(event.step)} was to be given back by now: whose it is was reminded"
            return f"the broken glass for {names.decision(event.decision)} was to be reviewed by now"
        case ev.Lifted():
            what = "; ".join(f"{target.partition('/')[0]}: {words}" for target, words in event.missing.items())
            return (
                f"{names.step(event.step)} was lifted by somebody else: {what}"
                if what
                else (f"{names.step(event.step)} stands again everywhere")
            )
        case ev.CameBack():
            seen = "; ".join(f"{target} {words}" for target, words in event.seen.items())
            return f"what was removed is back: {seen}" if seen else "nothing of what was removed is seen any more"
        case ev.Reviewed():
            return f"reviewed the broken glass for {names.decision(event.decision)}" + _because(event.note)
        case ev.Unknown():
            return f"an entry that this version does not know: {event.was}"
        case _:
            assert_never(event)


def _created(event: ev.Created) -> str:
    versions = f"from {event.removed.version} to {event.target.version}"
    wish = {
        "rollback": f"asked to roll {event.service} back {versions}",
        "forward": f"asked to roll {event.service} forward again {versions}",
        "freeze": f"asked to freeze deployments of {event.service}",
        "thaw": f"asked to lift the freeze of {event.service}",
        "postmortem": f"schedule the postmortem of {event.follows}",
        "disown": f"let go of the fields of {event.service} that the bot has written",
        "unban": f"let {event.service} {event.removed.version} be deployed again, after {event.target.version}",
    }.get(event.purpose, f"asked for {event.purpose} of {event.service} {versions}")
    takes_back = event.follows and event.purpose in ("rollback", "forward")
    follows = f", taking back run {event.follows}" if takes_back else ""
    return f"{wish} by plan {event.plan.name}{follows}" + _because(event.reason)


def _proposal(event: ev.Proposed, names: Names) -> str:
    version = event.release.version if event.release else "another release"
    step = names.step(event.step)
    return {
        "retarget": f"bring {version} instead",
        "forward": "roll forward again",
        "admit": f"let release {version} through the freeze",
        "skip": f"skip {step}",
        "accept": f"accept {step} as it is",
    }[event.what]


def _yes(role: str) -> str:
    return f", which counts as a yes from the {role}" if role else ""


def _of_decision(event: _OfDecision, decision: str) -> str:
    match event:
        case ev.Approved():
            return f"approved {decision} as {seat(event.role, event.young)}" + (
                ", with the phrase typed" if event.phrase else ""
            )
        case ev.Declined():
            return f'said "not now" to {decision}' + _because(event.reason)
        case ev.BrokeGlass():
            return f"broke the glass for {decision}{newcomer(event.young)}" + _because(event.reason)
        case ev.Taken():
            return f"{decision} needed nobody's yes" + _because(event.why)
        case ev.Lapsed():
            return f"{decision} is to be decided again: {event.why}"
        case ev.Reminded():
            return f"{decision} waits: those who can decide were reminded"
        case ev.Paged():
            return f"{decision} still waits: those who can decide were paged"
        case _:
            assert_never(event)


def _of_people(event: _OfPeople, step: str) -> str:
    match event:
        case ev.Retried():
            return f"had {step} tried again"
        case ev.Skipped():
            return f"skipped {step}" + _because(event.reason)
        case ev.Accepted():
            return f"accepted {step} as it is" + _because(event.reason)
        case ev.UndoAsked():
            return f"asked to undo {step}" + (" before the end" if event.debt else "") + _because(event.reason)
        case ev.HandedOver():
            return f"handed {step} over to {event.to} until {moment(event.until)}" + _because(event.reason)
        case ev.AdoptAsked():
            return f"says that {step} was done by hand" + _because(event.reason)
        case _:
            assert_never(event)


def _of_attempt(event: _OfAttempt) -> str:
    match event:
        case ev.Started():
            return f"attempt {event.n} {_DOING[event.doing]}" + (f" on {event.node}" if event.node else "")
        case ev.Planned():
            if event.change.is_noop and not event.left:
                return f"nothing to do: {event.change.summary}"
            left = f"; {_count(len(event.left), 'target')} changed by others" if event.left else ""
            return f"would make {_size(event.change)}: {event.change.summary}{left}"
        case ev.Drifted():
            return f"no longer what was approved, the approvals are void: {'; '.join(event.differences)}"
        case ev.ApplyStarted():
            return f"begins to make {_size(event.change)}: {event.change.summary}"
        case ev.Recorded():
            return "is about to run"
        case ev.Noted():
            return f"kept the result of {event.name}"
        case ev.Waiting():
            far = f" ({event.done} of {event.total})" if event.total is not None else ""
            return f"taking effect: {event.note}{far}; looked at again at {moment(event.until)}"
        case ev.Applied():
            return f"done: {event.receipt.detail}"
        case ev.Undone():
            return f"put back, and seen to be: {event.receipt.detail}"
        case ev.Checked():
            return f"{event.verdict.status}: {event.verdict.observed}; expected: {event.verdict.expected}"
        case ev.Failed():
            hint = f" ({event.hint})" if event.hint else ""
            again = f"; tried again at {moment(event.retry_at)}" if event.retry_at is not None else ""
            return f"attempt {event.n} failed {_CAUSE[event.cause]}: {event.error}{hint}{again}"
        case ev.Cancelled():
            return f"attempt {event.n} was cancelled" + _because(event.why)
        case ev.Lost():
            return f"attempt {event.n} is lost" + _because(event.why)
        case ev.NotNeeded():
            return "not needed" + _because(event.why)
        case ev.Seen():
            looked = f"nobody could look ({event.error})" if event.error else "looked where it stands"
            return f"was given up; {looked}"
        case ev.Adopted():
            return f"seen to be done by hand: {event.summary}"
        case _:
            assert_never(event)


def moment(at: float) -> str:
    """A moment (seconds since the epoch) as "2026-11-23 14:02:05 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _size(change: Change) -> str:
    parts = [_count(len(change.edits), "change")] if change.edits else []
    parts += [_count(len(change.effects), "effect")] if change.effects else []
    return " and ".join(parts) or "no change"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _edits(change: Change) -> Iterator[str]:
    yield from (f"{e.target}: {shown(e.before)} -> {shown(e.after)}" for e in change.edits)
    yield from (e.what for e in change.effects)


def _seen(observed: Mapping[str, Value]) -> Iterator[str]:
    yield from (f"{target}: now {shown(value)}" for target, value in observed.items())


def _evidence(receipt: Receipt) -> Iterator[str]:
    yield from (f"{name}: {shown(value)}" for name, value in receipt.evidence.items())
    yield from (f"{text}: {url}" for text, url in receipt.links)
