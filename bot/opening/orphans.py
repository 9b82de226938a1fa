"""What stands in the clusters by the bot's name and no run of this database accounts for: a lost one has left it there.

Guards say by themselves that they are ours, and what they refuse; objects say by their managedFields that the bot has
set something; by-hand files name their run. So a fresh bot can name it all, and people take it over with one decision:
`thaw` lifts a freeze, the next rollback or `freeze` has it as its own debt, `release ban` takes a ban over.

Invariants: looking is reading; a cluster that does not answer is named, never taken for empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bot.contract import Change, Edit, Retryable
from bot.ports import Json, Unreachable
from bot.ports.guards import GuardRules
from bot.ports.kubernetes import WRITTEN, Denied, Kind, Kubernetes, Place, Thing, standing
from bot.releases.freeze_answer import frozen_since
from bot.releases.ledger import Ledger
from bot.run.state import Run


@dataclass(frozen=True, slots=True)
class Orphans:
    """freezes: target -> the rules that stand there; bans: version -> the same; owned: objects whose fields the bot has
    set; paused: those of them that stand still; lost: cluster -> why it could not be read."""

    freezes: Mapping[str, Json] = field(default_factory=dict)
    bans: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    owned: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)

    def freeze(self, service: str) -> Change | None:
        """The freeze, as if a step had put it there; None where none is left."""
        if not self.freezes:
            return None
        where = ", ".join(dict.fromkeys(Place.of(t).cluster for t in self.freezes))
        summary = f"{where}: new releases of {service} are refused, by a run that this database does not know"
        return Change(summary, tuple(Edit(t, None, rules) for t, rules in self.freezes.items()))

    def lines(self, service: str) -> list[tuple[str, str]]:
        """(what is left, the next thing to do), for people."""
        found = []
        if (freeze := self.freeze(service)) is not None:
            text = f"`rollback-bot thaw {service}` lifts it; the next rollback, or `freeze`, takes it over and lifts it"
            found.append((freeze.summary, text))
        for version, guards in self.bans.items():
            where = ", ".join(dict.fromkeys(Place.of(t).cluster for t in guards))
            text = f"`rollback-bot release ban {service} {version}` takes it over, `release lift` then ends it"
            found.append((f"{where}: {version} is banned, by a run that this database does not know", text))
        if self.paused:
            text = "how many there were stands in the by-hand file of the run that is lost; start them by that"
            found.append((f"stand still, set so in no run that this database knows: {_few(self.paused)}", text))
        if moving := [t for t in self.owned if t not in self.paused]:
            text = (
                "look whether they are as they should be; the next rollback's end gives the fields back to their tools"
            )
            found.append((f"fields were set by the bot, in no run that this database knows: {_few(moving)}", text))
        return found


async def left(kube: Kubernetes, service: str, runs: Iterable[Run], ledger: Ledger) -> Orphans:
    """What no run of the service (all of them) and no release accounts for."""
    known = [*runs]
    things, lost = await _things(kube, ("guard", *WRITTEN))
    guards = [(t.place.target("rules"), t, standing(t, None)) for t in things if t.place.kind == "guard"]
    freezes = {} if _frozen(known) else _freezes(things, service)
    bans: dict[str, dict[str, Json]] = {}
    made = {
        e.target for run in known for s in run.steps.values() if "ban" in s.spec.duties and s.made for e in s.made.edits
    }
    for target, t, rules in guards:
        ban = GuardRules.read(rules)
        if ban is not None and ban.service == service and ban.banned and target not in made:
            version = ban.version or t.place.name.removeprefix(f"rollback-ban-{service}-")
            if version not in ledger or ledger[version].last("banned") is None:
                bans.setdefault(version, {})[target] = rules
    touched = {str(Place.of(e.target)) for run in known for s in run.steps.values() if s.made is not None
               for e in s.made.edits if _in_cluster(e.target)}  # fmt: skip
    owned = [t for t in things if t.facts.get("owned") and str(t.place) not in touched]
    paused = tuple(str(t.place) for t in owned if t.fields.get("replicas") == 0 or t.fields.get("suspend") is True)
    return Orphans(freezes, bans, tuple(str(t.place) for t in owned), paused, lost)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


async def left_freeze(kube: Kubernetes, service: str, runs: Iterable[Run]) -> Change | None:
    """The freeze alone, from the runs that are open or have left something: quick, as each new run asks for it."""
    if _frozen(runs):
        return None
    things, _ = await _things(kube, ("guard",))
    return Orphans(_freezes(things, service)).freeze(service)


def _frozen(runs: Iterable[Run]) -> bool:
    return any(_frozen_by(run) or frozen_since(run) is not None for run in runs)


def _freezes(things: Iterable[Thing], service: str) -> dict[str, Json]:
    """Target -> rules, of the freezes of the service that stand."""
    own = [t for t in things if t.place.kind == "guard" and t.place.name == f"rollback-freeze-{service}"]
    return {t.place.target("rules"): rules for t in own if (rules := standing(t, None)) is not None}


async def _things(kube: Kubernetes, kinds: Sequence[Kind]) -> tuple[list[Thing], dict[str, str]]:
    """What stands in all clusters, and cluster -> why it could not be read."""
    names = [c.name for c in kube.clusters]
    answers = dict(zip(names, await asyncio.gather(*(_read(kube, name, kinds) for name in names)), strict=True))
    lost = {name: found for name, found in answers.items() if isinstance(found, str)}
    return [t for found in answers.values() if not isinstance(found, str) for t in found], lost


def _frozen_by(run: Run) -> bool:
    return any("freeze" in run.steps[step].spec.duties for step in run.debts)


def _in_cluster(target: str) -> bool:
    try:
        Place.of(target)
    except ValueError:
        return False
    return True


async def _read(kube: Kubernetes, cluster: str, kinds: Iterable[Kind]) -> list[Thing] | str:
    try:
        lists = await asyncio.gather(*(kube.list(cluster, kind) for kind in kinds))
    except (Unreachable, Denied, Retryable) as error:
        return str(error)
    return [thing for found in lists for thing in found]
