"""May this be deployed now? What CI is told of a service: frozen by which run, which releases are banned. Pure.

There is no state of its own: a service is locked while a freeze of an open run stands, or one that an aborted run has
handed over (until a `thaw`); what is banned is read from the ledger.

Invariants:
- locked from the moment a freeze begins until it has been given back; a freeze that found no cluster to freeze counts;
- what a rollback removes is banned from its first effect on, and when the run has ended by the ledger: there is no
  moment between the two, nor after a run that a person has closed;
- a ban that a run has put ends when a newer release is registered; a ban that a person has put ends when a person
  lifts it;
- a digest that a release in good standing has as well is not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bot.releases.ledger import BY_RUN, Ledger, Registered, removes
from bot.run.state import Run, Step


@dataclass(frozen=True, slots=True)
class Banned:
    """A release that is not to come back. by: who banned it, "run <id>" or a person."""

    version: str
    digests: tuple[str, ...]
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """A release that people have let through the freeze."""

    version: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeployAnswer:
    """Whether something may be deployed, and why (not), in one sentence."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """How a service stands. run, who, why, since (seconds since the epoch): of the freeze, where there is one."""

    service: str
    banned: tuple[Banned, ...] = ()
    admitted: tuple[Admitted, ...] = ()
    run: str = ""
    who: str = ""
    why: str = ""
    since: float | None = None

    @classmethod
    def of(cls, service: str, runs: Iterable[Run], banned: Iterable[Banned]) -> Freeze:
        """From the runs of the service that are open or have left something, newest first, and the bans of its
        ledger. One that has thawed counts until what it thawed is settled."""
        runs = tuple(runs)
        banned = (*banned, *(b for run in runs for b in _removing(run)))
        thawed = max((t for run in runs if (t := _thawed(run)) is not None), default=float("-inf"))
        for run in runs:
            since = frozen_since(run)
            left_behind = run.closed_at is not None and run.closed_at < thawed
            if since is not None and run.created is not None and not left_behind:
                admitted = tuple(Admitted(r.version, tuple(sorted(r.digests))) for r in run.admitted)
                return cls(service, banned, admitted, run.id, run.created.by.name, run.created.reason, since)
        return cls(service, banned)

    @property
    def locked(self) -> bool:
        """Whether new releases are refused."""
        return self.since is not None

    def answer(self, version: str, digests: Sequence[str]) -> DeployAnswer:
        """Whether all of this may be deployed. version: "" where it is not known."""
        for b in self.banned:
            if b.version == version or set(b.digests).intersection(digests):
                return DeployAnswer(False, f"{self.service} {b.version} is banned: {b.reason}")
        if not self.locked:
            unseen = "" if version else ", ".join(b.version for b in self.banned if not b.digests)
            but = f"; {unseen} is banned and has no image of its own: ask by version to be sure" if unseen else ""
            return DeployAnswer(True, f"{self.service} is open for releases{but}")
        passes = {d for a in self.admitted for d in a.digests}
        named = next((a for a in self.admitted if a.version == version), None)
        if (digests and passes.issuperset(digests)) or (named is not None and not digests):
            return DeployAnswer(True, f"{self.service} is frozen by {self.run}, which lets this fix through")
        return DeployAnswer(False, f"{self.service} is frozen by {self.run} (@{self.who}): {self.why}")


def _removing(run: Run) -> Iterator[Banned]:
    """What an open rollback has begun to remove."""
    if run.open and run.purpose == "rollback" and run.created is not None and removes(run):
        for version, digests in run.kept_out.items():
            yield Banned(version, digests, f"removed by run {run.id}: {run.created.reason}", f"{BY_RUN}{run.id}")


def frozen_since(run: Run) -> float | None:
    """Since when the run refuses new releases, in seconds since the epoch; None where it does not."""
    for s in run.steps.values():
        if "freeze" in s.spec.duties and s.spec.undo is None:
            if s.spec.id in run.debts:
                return run.debts[s.spec.id].since
            if run.open and run.aborted is None and _begun(s) and not _given_back(run, s):
                return s.began or s.ended or run.created_at
    return None


def _thawed(run: Run) -> float | None:
    """When the run has lifted what ended runs had left frozen."""
    return next((s.ended for s in run.steps.values() if "thaw" in s.spec.duties and s.end == "done"), None)


def _begun(s: Step) -> bool:
    """Whether it has begun in any application; neither one that people left out nor one that was taken back."""
    out = s.end in ("skipped", "not needed") or (s.halt is not None and s.halt.cause == "undone")
    return not out and (s.began is not None or s.application > 1)


def _given_back(run: Run, freeze: Step) -> bool:
    return any(s.spec.undo == freeze.spec.id and not s.open for s in run.steps.values())


def bans(ledger: Ledger) -> tuple[Banned, ...]:
    """The releases that may not be deployed now."""
    good = {d for r in ledger.values() if r.state in ("candidate", "stable") for d in r.release.digests}
    return tuple(
        Banned(r.version, tuple(sorted(r.release.digests - good)), r.reason, mark.by)
        for r in ledger.values()
        if (mark := r.last("banned")) is not None and r.state == "banned" and not ban_is_over(r)
    )


def ban_is_over(r: Registered) -> bool:
    """Whether a ban was put on a release and refuses nothing any more: lifted by a person, or put by a run with a
    newer release registered since."""
    ever = over = by_a_person = False
    for e in r.history:
        if e.what == "banned":
            ever, over, by_a_person = True, False, by_a_person or not e.run
        elif e.what == "lifted":
            over, by_a_person = ever, False
        elif e.what == "newer registered":
            over = over or (ever and not by_a_person)
    return over
