"""Releases of one service: what can happen to them, and which one can be gone back to. Pure.

Invariants:
- one version stands for one content; another one under its name is refused;
- one release serves at a time: it ends where the next one begins, in whatever order that is told;
- whatever happens to a release is added to its history, nothing is forgotten; telling the same again changes nothing;
- never gone back to: the removed one, a bad or banned one, one below the floor; one that never served only where
  somebody vouches for it or there is nothing else. A run marks what it removed, so a second rollback cannot bring it
  back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, cast

from packaging.version import InvalidVersion, Version

from bot.catalogue import Release
from bot.run.state import Run
from bot.telling.times import duration

ReleaseState = Literal["candidate", "stable", "bad", "banned"]
"""candidate: nothing known against it; stable: somebody says so; bad: not gone back to; banned: refused by CI too."""

NAMED = 4
"""Releases passed over that are named; the rest is counted."""
BY_RUN = "run "
"""Before the id of a run that has written an entry."""
REMOVED = "the one to be removed"
"""Why the removed one is passed over."""


class ReleaseConflict(ValueError):
    """The ledger already says something else of this release. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a release's history. at: seconds since the epoch; what: "registered", "serving", "lifted",
    "newer registered", or the state that it came into."""

    at: float
    what: str
    by: str
    why: str = ""

    @property
    def run(self) -> str:
        """The run that has written it; empty where a person, or CI, has."""
        return self.by.removeprefix(BY_RUN) if self.by.startswith(BY_RUN) else ""


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which it served, in seconds since the epoch. until None: it serves now."""

    since: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A release as the ledger has it. at: registered, seconds since the epoch; reason: of its state."""

    service: str
    release: Release
    at: float
    state: ReleaseState = "candidate"
    reason: str = ""
    history: tuple[Entry, ...] = ()
    served: tuple[Spell, ...] = ()

    @property
    def version(self) -> str:
        """Its name."""
        return self.release.version

    @property
    def moment(self) -> float:
        """When it served last (infinity: it serves now), else when it was registered; seconds since the epoch."""
        if not self.served:
            return self.at
        until = self.served[-1].until
        return float("inf") if until is None else until

    @property
    def serves(self) -> bool:
        """Whether it serves now."""
        return bool(self.served) and self.served[-1].until is None

    def served_for(self, now: float, since: float = float("-inf")) -> float:
        """Seconds that it has served, all in all, from a moment on."""
        spells = ((max(s.since, since), now if s.until is None else s.until) for s in self.served)
        return sum((max(0.0, until - began) for began, until in spells), 0.0)

    def last(self, *what: str) -> Entry | None:
        """The newest entry of its history of these kinds."""
        return next((e for e in reversed(self.history) if e.what in what), None)


Over = Literal["removed", "marked", "floor", "never served"]
"""Why a release is passed over. marked: bad, banned, or as a newer version calls it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A release and what speaks for it, in sentences without a full stop. passed_over: why it is not gone back to,
    empty where it can be; warning: what to be careful about, also the last sentence of `why`; over: the same as
    `passed_over`, for programs."""

    release: Release
    why: tuple[str, ...]
    passed_over: str = ""
    warning: str = ""
    over: Over | None = None


@dataclass(frozen=True, slots=True)
class BestRelease:
    """The best candidate, if there is one, and the releases that were passed over, the removed one left out."""

    best: Candidate | None
    passed_over: tuple[Candidate, ...]

    @property
    def evidence(self) -> tuple[str, ...]:
        """Why this one, and why not the others, in whole sentences."""
        passed = [f"Passed over: {_listed(self.passed_over)}."] if self.passed_over else []
        if self.best is None:
            return ("No release to go back to.", *passed, _NEXT)
        first, *more = self.best.why
        return (f"{self.best.release.version} {first}.", *(f"{w[0].upper()}{w[1:]}." for w in more), *passed)


_NEXT = "Next: register one with `rollback-bot release record`, or lift a ban with `rollback-bot release lift`."

Ledger = Mapping[str, Registered]
"""Version -> release of one service, first registered first."""


# -- what can happen to a release ------------------------------------------------------------------------------------


def registered(ledger: Ledger, service: str, release: Release, entry: Entry) -> Ledger:
    """The ledger with this release. ReleaseConflict if its version stands for something else."""
    was = ledger.get(release.version)
    if was is not None:
        if other := differences(was.release, release):
            raise ReleaseConflict(
                f"{service} {release.version} is registered already, with another content: {'; '.join(other)}. "
                "Nothing was changed. Next: give the new build a version of its own."
            )
        return ledger
    at = entry.at
    new = Registered(service, release, at, history=(entry,))
    return {**{v: _noticed(r, release.version, at, entry.by) for v, r in ledger.items()}, release.version: new}


def _noticed(r: Registered, version: str, at: float, by: str) -> Registered:
    """A bad or banned release after a newer one was registered: written down once. It lifts nothing by itself."""
    mark = r.last("bad", "banned", "newer registered")
    newer = _number(version) is None or _number(r.version) is None or _below(r.version, version, {})
    if r.state not in ("bad", "banned") or mark is None or mark.what == "newer registered" or not newer:
        return r
    return replace(r, history=(*r.history, Entry(at, "newer registered", by, version)))


def serving(ledger: Ledger, version: str, at: float, by: str) -> Ledger:
    """The ledger after it was told that this version serves from `at` on."""
    r = ledger[version]
    at = round(at, 6)
    if any(e.what == "serving" and e.at == at for e in r.history):
        return ledger
    return {**ledger, version: replace(r, history=(*r.history, Entry(at, "serving", by)))}


def marked(ledger: Ledger, version: str, entry: Entry) -> Ledger:
    """The ledger after somebody judged a release; unchanged where that is what is known of it."""
    r = ledger[version]
    what = entry.what
    if what == "stable" and r.state in ("bad", "banned"):
        raise ReleaseConflict(
            f"{r.service} {version} is {r.state} ({r.reason}), so it cannot be marked stable. Nothing was changed. "
            "Next: `rollback-bot release lift`, with a reason."
        )
    if what == "lifted" and r.state not in ("bad", "banned"):
        return ledger
    state = cast(ReleaseState, "candidate" if what == "lifted" else what)
    last = r.last("stable", "bad", "banned", "lifted")
    if last is not None and (last.what, last.why) == (what, entry.why):
        return ledger
    r = replace(r, history=(*r.history, entry))
    weaker = (what, r.state) == ("bad", "banned")
    return {**ledger, version: r if weaker else replace(r, state=state, reason="" if what == "lifted" else entry.why)}


def removes(run: Run) -> bool:
    """Whether the run has begun to take out what it removes, and has not taken that back."""
    return any("replace" in s.spec.duties and s.made is not None for s in run.steps.values())


def learned(ledger: Ledger, run: Run, forward: bool) -> Ledger:
    """The ledger after a run. What this run has said before is not said again: people may have decided since."""
    by, created = f"run {run.id}", run.created
    if created is None or run.target is None:
        return ledger
    for release in (created.removed, run.target, *(tried for tried, _ in run.tried)):
        if release.version not in ledger:
            entry = Entry(run.created_at, "registered", by, "not registered before the run")
            ledger = registered(ledger, run.service, release, entry)

    def say(version: str, what: str, why: str) -> Ledger:
        said = any(e.by == by and e.what == what for e in ledger[version].history)
        return ledger if said else marked(ledger, version, Entry(at, what, by, prose(why)))

    at = run.closed_at if run.closed_at is not None else run.at
    for release, reason in run.tried:
        if release.version == run.target.version:
            continue  # people went back to it knowingly
        ledger = say(release.version, "banned", f"tried by run {run.id}: {reason}")
    outcome = run.closed.outcome if run.closed is not None else None
    restored = run.restored if run.restored is not None else at if outcome == "verified" else None
    if outcome is not None and restored is not None:
        ledger = serving(ledger, run.target.version, restored, by)
        ledger = say(run.target.version, "lifted", f"run {run.id} went forward to it") if forward else ledger
    if not forward and outcome is not None and (restored is not None or outcome == "closed"):
        what = "banned" if restored is not None or removes(run) else "bad"
        ledger = say(created.removed.version, what, f"removed by run {run.id}: {created.reason}")
    return ledger


def timed(ledger: Ledger) -> Ledger:
    """The ledger with each release's spells: one serves until another begins to."""
    starts = sorted((e.at, v) for v, r in ledger.items() for e in r.history if e.what == "serving")
    starts = [s for i, s in enumerate(starts) if i == 0 or starts[i - 1][1] != s[1]]
    ends: list[float | None] = [at for at, _ in starts[1:]]
    spells: dict[str, list[Spell]] = {v: [] for v in ledger}
    for (since, version), until in zip(starts, [*ends, None], strict=False):
        spells[version].append(Spell(since, until))
    return {v: replace(r, served=tuple(spells[v])) for v, r in ledger.items()}


# -- what to go back to ----------------------------------------------------------------------------------------------


def rank(ledger: Ledger, removed: str | None, floor: str | None, now: float, stable_after: float) -> list[Candidate]:
    """Every release as a candidate, best first: those that are stable and served, newest first; then those that
    served for too short a time; those that never served only if somebody vouches for them, or there is nothing else;
    then all others."""
    order = {v: i for i, v in enumerate(ledger)}
    ruled_out = {v: _ruled_out(r, removed, floor, order) for v, r in ledger.items()}
    some_served = any(r.served for v, r in ledger.items() if ruled_out[v] is None)

    def candidate(r: Registered) -> Candidate:
        why, warning = _evidence(r, now, stable_after), ""
        over, words = ruled_out[r.version] or (None, "")
        if not r.served and over is None:
            if some_served and r.state != "stable":
                over, words = "never served", "never served"
            else:
                warning = "careful: it has never served, so nothing is known of how it behaves"
        return Candidate(r.release, (*why, warning) if warning else why, words, warning, over)

    def place(found: tuple[Registered, Candidate]) -> tuple[bool, bool, bool, float, float]:
        r, c = found
        return c.over is not None, not r.served, not _is_stable(r, now, stable_after), -r.moment, -r.at

    return [c for _, c in sorted(((r, candidate(r)) for r in ledger.values()), key=place)]


def _ruled_out(
    r: Registered, removed: str | None, floor: str | None, order: Mapping[str, int]
) -> tuple[Over, str] | None:
    """Why it is not gone back to, for programs and in words; None where it can be."""
    if r.version == removed:
        return "removed", REMOVED
    if r.state not in ("candidate", "stable"):  # nor what a newer version calls it
        return "marked", f"{r.state}: {r.reason}"
    if floor is None or r.version == floor:
        return None
    if (_number(r.version) is None or _number(floor) is None) and floor not in order:
        return "floor", f"cannot be compared with the floor {floor}, which is not registered"
    return ("floor", f"below the floor {floor}") if _below(r.version, floor, order) else None


def _below(version: str, other: str, order: Mapping[str, int]) -> bool:
    """Whether a version is older: by number where both are version numbers, else by when it was registered."""
    mine, theirs = _number(version), _number(other)
    if mine is not None and theirs is not None:
        return mine < theirs
    return order[version] < order[other]


def _number(version: str) -> Version | None:
    """A version number by PEP 440, which reads semantic versions too; a bare number may be a commit, and is none."""
    try:
        return Version(version) if "." in version else None
    except InvalidVersion:
        return None


def _is_stable(r: Registered, now: float, stable_after: float) -> bool:
    return r.state == "stable" or (r.state == "candidate" and _clean(r, now) >= stable_after)


def _clean(r: Registered, now: float) -> float:
    """Seconds that it has served since it was last marked bad."""
    mark = r.last("bad", "banned")
    return r.served_for(now, mark.at if mark is not None else float("-inf"))


def _evidence(r: Registered, now: float, stable_after: float) -> tuple[str, ...]:
    found = [_how_it_served(r, now, stable_after)]
    vouched, lifted = r.last("stable"), r.last("lifted")
    if r.state == "stable" and vouched is not None:
        found.append(f"marked stable by {vouched.by}{': ' + vouched.why if vouched.why else ''}")
    if lifted is not None and r.state in ("candidate", "stable"):
        found.append(f"cleared by {lifted.by}: {lifted.why}")
    return tuple(found)


RECENT = 60.0
"""Seconds that are not worth counting."""


def _how_it_served(r: Registered, now: float, stable_after: float) -> str:
    if not r.served:
        return f"registered {duration(now - r.at)} ago, never served"
    until = r.served[-1].until
    times = f" in {len(r.served)} spells" if len(r.served) > 1 else ""
    recent = until is not None and now - until < RECENT
    last = "and serves now" if until is None else "until just now" if recent else f"until {duration(now - until)} ago"
    if _is_stable(r, now, stable_after):
        judged = ", stable"
    elif r.state == "candidate":
        judged = f"; not yet the {duration(stable_after)} that count as stable"
    else:
        judged = ""
    return f"served {duration(r.served_for(now))}{times} {last}{judged}"


def _listed(passed: Sequence[Candidate]) -> str:
    named = ", ".join(f"{c.release.version} ({c.passed_over})" for c in passed[:NAMED])
    return named if len(passed) <= NAMED else f"{named} and {len(passed) - NAMED} more"


def differences(was: Release, sent: Release) -> list[str]:
    """In which fields two releases of one version differ: "images.api: registered ..., sent ..."."""
    a, b = _flat(was), _flat(sent)
    return [f"{k}: registered {a.get(k) or 'none'}, sent {b.get(k) or 'none'}"
            for k in dict.fromkeys([*a, *b]) if (a.get(k) or "") != (b.get(k) or "")]  # fmt: skip


def _flat(release: Release) -> dict[str, object]:
    found: dict[str, object] = {}
    for f in fields(Release):
        if f.name in ("settings", "last"):
            continue  # not registered, but noted when it serves
        value = getattr(release, f.name)
        found |= {f"{f.name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {f.name: value}
    return found


def prose(text: str) -> str:
    """One line that every database can keep."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
