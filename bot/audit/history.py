"""`bot.ports.History` from the log: the run that asks, told from its own rows for whoever writes about it afterwards.

`story` is pure. Text is as it was recorded, redacted; what happens all the time (attempts, looks, timers) is left to
the record itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.audit.entries import RecordedRun
from bot.catalogue import Catalogue
from bot.policy import Actor
from bot.ports.history import Arrangement, Decided, Due, Happening, KeptFile, Participant, StepEnd, Story
from bot.ports.notices import Topic
from bot.run import events as ev
from bot.run.decide import working_days
from bot.run.state import Asked, Run, Step
from bot.store.chain import Stored
from bot.store.log import Store
from bot.telling.sentences import who

TOLD = (
    ev.Created, ev.Approved, ev.Declined, ev.BrokeGlass, ev.Lapsed, ev.Paged, ev.Applied, ev.Undone, ev.Failed,
    ev.Drifted, ev.Restored, ev.Retargeted, ev.Relocated, ev.Aborted, ev.Closed, ev.Stopped, ev.Resumed,
    ev.Skipped, ev.Accepted, ev.Retried, ev.UndoAsked, ev.HandedOver, ev.AdoptAsked, ev.Adopted, ev.CommandTaken,
    ev.CommandOffered, ev.Told, ev.FixAdmitted, ev.FreezeOverridden, ev.Proposed, ev.Agreed, ev.PartProposed,
    ev.WentWithout, ev.PartBack, ev.PartHandedOver, ev.Lifted, ev.CameBack, ev.Overdue, ev.Reviewed, ev.Inherited,
    ev.TakenOver, ev.Lost,
)  # fmt: skip
"""What belongs into a timeline for people. A check is told where its answer is another one than before."""
REVIEWED_WITHIN = 2
"""Working days in which broken glass is to be looked at."""
_ENDED = {
    "skipped": "was skipped", "accepted": "was accepted as it was", "failed": "failed, and the run went on",
    "adopted": "was done by hand",
}  # fmt: skip
_DID = {
    "created": "asked for it", "command taken": "took command", "aborted": "aborted it", "stopped": "stopped it",
    "broke glass": "broke the glass", "retargeted": "chose another release", "fix admitted": "admitted a fix",
    "closed": "closed it",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """The history of one run; of one that is there for the postmortem of another run, that one's. topic: what a run
    is about."""

    store: Store
    run: Run
    catalogue: Catalogue
    topic: Callable[[Run], Topic]

    @property
    def arranged(self) -> Arrangement:
        """See the port; the usual way for a service that the catalogue has not any more."""
        service = self.catalogue.services.get(self.run.service)
        return service.postmortem if service is not None else Arrangement()

    async def story(self) -> Story:
        """See the port. LookupError for a run that was never asked for, StoreUnavailable."""
        created = self.run.created
        about = created.follows if created is not None and created.purpose == "postmortem" else ""
        run = await self.store.load(about or self.run.id)
        service = self.catalogue.services.get(run.service)
        title = service.title if service is not None else run.service
        return story(run, await self.store.events(run.id), self.topic(run), title)


def story(run: Run, rows: Sequence[Stored], topic: Topic, title: str) -> Story:
    """A run with its rows, as people tell it."""
    created = run.created
    if created is None:
        raise LookupError(f"run {run.id} has not been created")
    record = RecordedRun.of(rows)
    began = next((e.row.at / 1e6 for e in record.entries if isinstance(e.event, ev.ApplyStarted)), None)
    return Story(
        topic, title, _moment(run.created_at), run.impact, run.workaround,
        started=_moment(began) if began is not None else None,
        restored=_moment(run.restored) if run.restored is not None else None,
        work=run.spent.work, waiting=run.spent.waiting,
        people=tuple(_people(run, record)), lines=tuple(_lines(record)), decisions=tuple(_decisions(run)),
        steps=tuple(_steps(run)), kept=tuple(_kept(run)), due=tuple(_due(run)), odd=tuple(dict.fromkeys(_odd(run))),
    )  # fmt: skip


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _lines(record: RecordedRun) -> Iterator[Happening]:
    seen: dict[str, str] = {}
    for e in record.entries:
        if isinstance(e.event, ev.Checked):
            before = seen.get(e.event.step)
            seen[e.event.step] = e.event.verdict.status
            if before == e.event.verdict.status:
                continue
        elif not isinstance(e.event, TOLD):
            continue
        person = who(e.event)
        name = person.name if person is not None else ""
        yield Happening(_moment(e.row.at / 1e6), name, e.said.removeprefix(f"{name} ") if name else e.said)


def _people(run: Run, record: RecordedRun) -> Iterator[Participant]:
    """Everybody who did something, in the order in which they came in."""
    found: dict[str, tuple[Actor, dict[str, None]]] = {}
    if run.commander is not None:
        found[run.commander.id] = (run.commander, {"commander": None})
    for e in record.entries:
        person = who(e.event)
        if person is None:
            continue
        _, did = found.setdefault(person.id, (person, {}))
        if isinstance(e.event, ev.Approved):
            did[f"approved {record.names.decision(e.event.decision)}"] = None
        elif word := _DID.get(e.event.kind):
            did[word] = None
    for actor, did in found.values():
        yield Participant(actor.id, actor.name, tuple(did))


def _decisions(run: Run) -> Iterator[Decided]:
    for a in sorted((a for a in run.asked.values() if a.decided is not None), key=lambda a: a.decided or 0.0):
        at = _moment(a.decided or 0.0)
        if a.glass is not None:
            yield Decided(a.spec.title, at, "break-glass", (f"{a.glass.name} alone",), a.waited, a.taken)
        elif a.votes:
            by = tuple(f"{g.by.name} ({g.role})" if g.role else g.by.name for g in a.votes)
            yield Decided(a.spec.title, at, "approved", by, a.waited)
        else:
            yield Decided(a.spec.title, at, f"nobody was asked: {a.taken}" if a.taken else "nobody was asked")


def _steps(run: Run) -> Iterator[StepEnd]:
    for s in run.steps.values():
        if s.end is None or s.end == "not needed":
            continue
        took = s.ended - s.began if s.ended is not None and s.began is not None else None
        yield StepEnd(s.spec.title, s.end, took, _said(s))


def _said(s: Step) -> str:
    if s.verdict is not None:
        return f"{s.verdict.status}: {s.verdict.observed}"
    return s.receipt.detail if s.receipt is not None else s.why


def _kept(run: Run) -> Iterator[KeptFile]:
    for s in run.steps.values():
        for name, value in s.receipt.evidence.items() if s.receipt is not None else ():
            if isinstance(value, Mapping) and isinstance(digest := value.get("digest"), str):
                size = value.get("size")
                yield KeptFile(s.spec.title, name, digest, size if isinstance(size, int) else 0)


def _due(run: Run) -> Iterator[Due]:
    """What somebody has to look at afterwards: broken glass, and debts that no later step of the plan gives back."""
    for r in run.reviews.values():
        if r.reviewed is None:
            title = _title(run.asked.get(r.decision), r.decision)
            what = f"review of the broken glass for {title} by {r.by.name}: {r.why}"
            yield Due(what, "", _moment(working_days(r.at, REVIEWED_WITHIN)))
    for d in run.debts.values():
        comes = any(s.spec.undo == d.step and s.open for s in run.steps.values()) and not run.over
        if d.owner or not comes:
            until = _moment(d.until) if d.until is not None else None
            yield Due(f"{run.steps[d.step].spec.title} is still in place", _named(run, d.owner), until)
    for p in run.owed_parts:
        until = _moment(p.until) if p.until is not None else None
        yield Due(f"{p.name} has not got what the others have ({p.why})", _named(run, p.owner), until)


def _odd(run: Run) -> Iterator[str]:
    """What did not simply go well."""
    for h in run.halts:
        how = f", then {h.over.kind}{f' by {h.over.by.name}' if h.over.by else ''}" if h.over else ""
        yield f"{run.steps[h.step].spec.title} stopped: {h.halt.error}{how}"
    for s in run.steps.values():
        if s.end in ("skipped", "accepted", "failed", "adopted"):
            yield f"{s.spec.title} {_ENDED[s.end]}{f': {s.why}' if s.why else ''}"
    for release, why in run.tried:
        yield f"{release.version} was tried and given up: {why}"
    for a in run.asked.values():
        for by, reason, _ in a.declined:
            yield f"{by.name} said not now to {a.spec.title}{f': {reason}' if reason else ''}"
        if a.paged is not None:
            yield f"{a.spec.title} waited until people were paged"
        if a.glass is not None:
            yield f"{a.spec.title} was decided by one person alone: {a.taken}"
    if run.aborted is not None:
        yield f"the run was aborted by {run.aborted.name}: {run.abort_reason}"


def _title(asked: Asked | None, name: str) -> str:
    return f'"{asked.spec.title}"' if asked is not None else f'"{name}"'


def _named(run: Run, person: str) -> str:
    """A person's name, where the run knows it; else their id."""
    known = {a.id: a.name for a in (*run.barred_people, *(v for a in run.asked.values() for v in a.said_by))}
    return known.get(person, person)
