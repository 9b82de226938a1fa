"""The catalogue of a drill: the shop's targets under the team's names, everything about people as the team has it.

Invariant: a kind of target that the team has not is not there; one that has no double is named, with what follows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.playground.workspace.app import App
from bot.playground.workspace.cast import Cast
from bot.playground.workspace.people import Channel, Group, User

Told = dict[str, Any]
KINDS = ("kubernetes", "http", "postgres", "redis", "backups", "prometheus", "site", "edge")
"""By the key that each kind of target has in a catalogue."""
MOST = 4
"""Clusters that are played at once."""
_ONE = ("postgres", "redis", "backups", "prometheus", "site", "edge")
"""Kinds of which the shop has one."""
_AS_IT_IS = ("title", "limits")
_CHANNEL = "drill"
"""Where it is played where the team has no incident channel."""


@dataclass(frozen=True)
class Member:
    """Somebody of the team, with the roles that they hold and are on call for. stand_in: nobody knows who it is."""

    name: str
    roles: frozenset[str]
    on_call: frozenset[str] = frozenset()
    stand_in: bool = False


@dataclass(frozen=True)
class Team:
    """service: its name; told: it as the catalogue has it; plan: which one is rehearsed; plans: name -> text of the
    team's own; roles: every one of the catalogue -> whether it may break the glass."""

    service: str
    told: Told
    plan: str
    plans: Mapping[str, str]
    roles: Mapping[str, bool]
    members: Sequence[Member]

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of those that are played; one where the team has none, as customers pay somewhere."""
        return tuple(of_kind(self.told, "kubernetes"))[:MOST] or ("eu-1",)

    @property
    def whole(self) -> bool:
        """Whether it has more than clusters and pages, so that the shop's second half is needed."""
        beside = [key for key in ("journeys", "partners") if key in self.told]
        return bool(beside) or any(of_kind(self.told, kind) for kind in _ONE)

    @property
    def channels(self) -> Mapping[str, Sequence[str]]:
        """For what -> names."""
        told = {use: [f"#{n.removeprefix('#').lower()}" for n in listed]
                for use, listed in self.told.get("channels", {}).items()}  # fmt: skip
        return {**told, "incident": told.get("incident") or [f"#{_CHANNEL}"]}

    @property
    def here(self) -> str:
        """The channel in which it is played."""
        return self.channels["incident"][0].removeprefix("#")


def of_kind(service: Told, kind: str) -> list[str]:
    """Its targets of a kind, as they follow one another."""
    return [name for name, target in service.get("targets", {}).items() if kind in target]


def unplayed(team: Team, watched: bool) -> list[str]:
    """What has no double, a sentence each. watched: Prometheus is installed."""
    told = team.told
    found = [f"clusters beyond {MOST}: {', '.join(of_kind(told, 'kubernetes')[MOST:])}"] * (
        len(of_kind(told, "kubernetes")) > MOST
    )
    for kind in _ONE:
        if more := of_kind(told, kind)[1:]:
            found.append(f"{', '.join(more)}: one {kind} is played")
    if of_kind(told, "prometheus") and not watched:
        found.append("numbers and alerts: apt-get install prometheus prometheus-alertmanager")
    unknown = [name for name, target in told.get("targets", {}).items() if not set(target) & set(KINDS)]
    return found + [f"{name}: nothing plays such a target" for name in unknown]


def catalogue(team: Team, shop: Told, front: Mapping[str, Any]) -> Told:
    """rollback.yaml of the drill. shop: its service as the demo has it; front: its targets of the frontend."""
    has = {kind for kind in KINDS if of_kind(team.told, kind)}
    has -= {"backups"} if "postgres" not in has else set()
    targets = {name: dict(t) for name, t in {**shop["targets"], **front}.items() if has & t.keys()}
    if "postgres" not in has:
        for target in targets.values():
            target.pop("database", None)
    if "http" not in has:
        for target in targets.values():
            for key in ("backend", "reports"):
                target.pop(key, None)
    service: Told = {"targets": targets, "plan": team.plan, "channels": dict(team.channels)}
    service |= {key: team.told[key] for key in _AS_IT_IS if key in team.told}
    service |= {key: shop[key] for key in ("journeys", "partners") if key in team.told and "http" in has}
    names = {of: to for kind in _ONE if kind in has for of, to in _renamed(targets, team.told, kind)}
    service = {**service, "targets": {names.get(name, name): _named(t, names) for name, t in targets.items()}}
    door = next((t["http"] for t in targets.values() if "health" in t), None)
    for name in of_kind(team.told, "http") if door else ():
        service["targets"].setdefault(name, {"http": door})
    return {"services": {team.service: service}, "roles": {r: _role(team, r) for r in team.roles}}


def _renamed(targets: Told, told: Told, kind: str) -> list[tuple[str, str]]:
    """The shop's one of a kind, and what the team calls its first."""
    return [*zip([n for n, t in targets.items() if kind in t], of_kind(told, kind), strict=False)]


def _named(target: Told, names: Mapping[str, str]) -> Told:
    """A target that names others by the team's names."""
    return {k: names.get(v, v) if k in ("of", "database", "switch") else v for k, v in target.items()}


def _role(team: Team, role: str) -> Told:
    glass = {"break_glass": True} if team.roles[role] else {}
    schedule = any(role in m.on_call for m in team.members)
    return {"groups": [f"@{role}"], **({"on_call": {"groups": [f"@{role}-on-call"]}} if schedule else {}), **glass}


def cast(team: Team, app: App) -> Cast:
    """The team's people, in groups by their roles and in every channel that the catalogue names."""
    ids = {m.name: f"U0DRILL{n:03d}" for n, m in enumerate(team.members, 1)}
    users = [User(app.bot_user, "rollback", app.name, is_bot=True, bot_id=app.bot_id)]
    users += [User(ids[m.name], m.name, m.name.replace("-", " ").title()) for m in team.members]
    groups = []
    for n, role in enumerate(team.roles):
        groups.append(_group(f"S0ROLE{n:04d}", role, [ids[m.name] for m in team.members if role in m.roles]))
        on_call = [ids[m.name] for m in team.members if role in m.on_call]
        groups.append(_group(f"S0CALL{n:04d}", f"{role}-on-call", on_call))
    everybody = [*ids.values(), app.bot_user]
    named = dict.fromkeys(c.removeprefix("#") for listed in team.channels.values() for c in listed)
    return Cast(users, groups, [Channel(f"C0DRILL{n:03d}", name, everybody) for n, name in enumerate(named, 1)])


def _group(id: str, handle: str, members: list[str]) -> Group:
    return Group(id, handle, handle.replace("-", " ").capitalize(), members)


def holders(team: Team, role: str, absent: Collection[str] = ()) -> list[Member]:
    """Who holds a role and answers, whoever is on call first."""
    there = [m for m in team.members if role in m.roles and m.name not in absent]
    return sorted(there, key=lambda m: role not in m.on_call)
