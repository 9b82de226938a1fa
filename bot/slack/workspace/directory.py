"""Who there is, as Slack says: members of its user groups hold the catalogue's roles.

Invariants:
- nobody waits for Slack: answers come from what is known, which a background task keeps fresh (user groups are Tier 2:
  one listing a minute, sooner when an event says that something changed); only somebody without a role, not seen
  lately, is looked up at once, for at most `PATIENCE` seconds;
- what is known is kept in the database, so that while Slack is away, or the bot has just started, people are who they
  were, by command line too; how old that is, is logged and told in `state`;
- a role that a group gives is young for an hour from the first look at which somebody holds it who did not at the look
  before; of what was there at the very first look, and of people that the catalogue names, nothing is said;
- a person of another team, a guest, a bot or somebody deactivated is that before any role is looked at; who cannot
  be found is a stranger.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.catalogue import Catalogue, Crew
from bot.policy import Person
from bot.ports import Unreachable
from bot.slack.workspace.channels import BROKEN, words
from bot.steady.outage import Outage
from bot.store.log import Known, Store, StoreUnavailable
from bot.telling.times import duration

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two looks at the user groups."""
FRESH = 600.0
"""Seconds that what is known of one person is good for, unless an event says otherwise."""
PATIENCE = 2.0
"""Seconds that looking somebody up may take while a click waits for it."""
SETTLE = 0.2
"""Seconds in which further changes are awaited before looking again."""
YOUNG = 3600.0
"""Seconds for which a role that somebody has come to hold is told to be new."""
MOST = 5000
"""People remembered; those without a role are forgotten first."""
NAME = "slack/people"
"""What the database keeps this under."""

Kind = Literal["member", "guest", "bot", "stranger", "deactivated"]


@dataclass(frozen=True, slots=True)
class Member:
    """One person as Slack last told of them. at: when, in seconds since the epoch."""

    id: str
    name: str
    kind: Kind
    at: float
    teams: tuple[str, ...] = ()
    """Of an Enterprise Grid: the workspaces that they are in, whichever Slack names as theirs."""

    @classmethod
    def of(cls, user: Mapping[str, Any], team: str, at: float) -> Member:
        """From Slack's user object. team: ours."""
        profile = user.get("profile") or {}
        name = profile.get("display_name") or user.get("name") or profile.get("real_name") or user["id"]
        return cls(str(user["id"]), str(name), _kind(user, team), at, _teams(user))


def _kind(user: Mapping[str, Any], team: str) -> Kind:
    ours = user.get("team_id") == team or team in _teams(user)
    if user.get("is_stranger") or not ours or user.get("id") == "USLACKBOT":
        return "stranger"
    if user.get("deleted"):
        return "deactivated"
    if user.get("is_bot") or user.get("is_workflow_bot"):
        return "bot"
    return "guest" if user.get("is_restricted") or user.get("is_ultra_restricted") else "member"


def _teams(user: Mapping[str, Any]) -> tuple[str, ...]:
    found = (user.get("enterprise_user") or {}).get("teams") or ()
    return tuple(str(t) for t in found)


@dataclass(frozen=True, slots=True)
class Roster:
    """Everything that is known. groups: members by id and by handle of a user group; at: as of when, 0 for never;
    young: (person, role) -> when it was first seen that the one had come to hold the other."""

    team: str
    groups: Mapping[str, frozenset[str]]
    accounts: Mapping[str, Member]
    at: float
    young: Mapping[tuple[str, str], float] = field(default_factory=dict)


class SlackDirectory:
    """`bot.people.Directory` over Slack. clock: seconds since the epoch; team: ours, asked of Slack where empty.

    Without a client it knows only what the database kept.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        client: AsyncWebClient | None,
        store: Store,
        clock: Callable[[], float],
        *,
        team: str = "",
        every: float = EVERY,
    ) -> None:
        self.catalogue, self.client, self.store, self.clock, self.every = catalogue, client, store, clock, every
        self.on_change: Callable[[], Awaitable[None]] = _nothing
        self.fault = "has not been asked yet"
        self._outage = Outage("Slack's word on who there is", log, words=("is missing", "is there again"))
        self.home = ""
        self._seen = Roster(team, {}, {}, 0.0)
        self._loaded = False
        self._wanted = team
        self._stale: set[str] = set()
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()

    # -- who there is ----------------------------------------------------------------------------------------------

    @property
    def team(self) -> str:
        """Our team's id, empty while Slack has never told."""
        return self._seen.team

    @property
    def state(self) -> str:
        """What is wrong, empty where nothing is."""
        if not self.fault:
            return ""
        age = f"as of {duration(self.clock() - self._seen.at)} ago" if self._seen.at else "nobody is known yet"
        return f"people: {self.fault}; {age}"

    async def everyone(self) -> Sequence[Person]:
        """Everybody with a role, as last known."""
        await self._load()
        found = (self._seen.accounts.get(id) for id in self._with_roles(self._seen.groups))
        return [self._person(a) for a in found if a is not None]

    async def person(self, id: str) -> Person:
        """One person, looked up if they were never seen; a stranger where Slack knows nobody, or does not answer."""
        await self._load()
        known = self._seen.accounts.get(id)
        kept_fresh = self._with_roles(self._seen.groups)
        if known is None or (self.clock() - known.at > FRESH and id not in kept_fresh):
            known = await self._look_up(id) or known
        return self._person(known) if known is not None else Person(id, id, kind="stranger")

    async def still(self, id: str) -> Person:
        """One person as Slack says at this moment, within `PATIENCE` seconds. Unreachable where it does not say."""
        await self._load()
        if self.client is None:
            raise Unreachable("Slack is off")
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._account(id, self._seen.team or await self._our_team())
        except BROKEN as error:
            raise Unreachable(words(error)) from error
        return self._person(found) if found is not None else Person(id, id, kind="stranger")

    def at_home(self, id: str, team: str) -> bool:
        """Whether somebody who acts as one of this team is one of ours: of our workspace, or, in an organisation of
        several, of another one and of ours as well."""
        known = self._seen.accounts.get(id)
        teams = known.teams if known is not None else ()
        return not (team and self.team) or team == self.team or (team in teams and self.team in teams)

    def id_of(self, word: str) -> str:
        """The id of somebody known by this name; the word itself where there is none, or more than one."""
        found = [a.id for a in self._seen.accounts.values() if a.name == word and a.kind == "member"]
        return found[0] if len(found) == 1 else word

    def _person(self, a: Member) -> Person:
        roles = self.catalogue.roles.values()
        groups = self._seen.groups
        holds = frozenset(r.name for r in roles if a.id in _members(Crew(r.people, r.groups), groups))
        on_call = frozenset(r.name for r in roles if a.id in _members(r.on_call, groups))
        return Person(a.id, a.name, holds, a.kind, on_call, self._young(a.id, holds))

    def _young(self, id: str, holds: Collection[str]) -> dict[str, int]:
        now, named = self.clock(), {r.name for r in self.catalogue.roles.values() if id in r.people}
        ages = {role: max(0, round(now - at)) for (who, role), at in self._seen.young.items() if who == id}
        return {role: age for role, age in ages.items() if role in holds and role not in named and age < YOUNG}

    def _given(self, groups: Mapping[str, frozenset[str]]) -> set[tuple[str, str]]:
        """(person, role) that groups give."""
        return {(i, r.name) for r in self.catalogue.roles.values() for i in _members(Crew((), r.groups), groups)}

    def _came(self, groups: Mapping[str, frozenset[str]], now: float) -> Mapping[tuple[str, str], float]:
        """Who has come to hold what within the last hour, now that the groups are these."""
        seen = self._seen
        if not seen.at:
            return {}
        kept = {pair: at for pair, at in seen.young.items() if now - at < YOUNG}
        before = self._given(seen.groups)
        return {pair: now if pair not in before else kept[pair]
                for pair in sorted(self._given(groups)) if pair not in before or pair in kept}  # fmt: skip

    def _with_roles(self, groups: Mapping[str, frozenset[str]]) -> list[str]:
        crews = [c for r in self.catalogue.roles.values() for c in (Crew(r.people, r.groups), r.on_call)]
        return list(dict.fromkeys(id for c in crews for id in sorted(_members(c, groups))))

    async def _look_up(self, id: str) -> Member | None:
        try:
            async with asyncio.timeout(PATIENCE):
                team = self._seen.team or await self._our_team()
                found = await self._account(id, team)
        except BROKEN as error:
            log.warning("Slack cannot say who %s is: %s", id[:40], words(error))
            return None
        if found is not None:
            accounts = {**self._seen.accounts, id: found}
            self._seen = replace(self._seen, team=team, accounts=self._bounded(accounts, self._seen.groups))
        return found

    # -- keeping it fresh ------------------------------------------------------------------------------------------

    async def start(self, patience: float = 5.0) -> None:
        """Knows what there is to know: from Slack if it answers in time (seconds), else from the database."""
        await self._load()
        try:
            async with asyncio.timeout(patience):
                await self.refresh()
        except TimeoutError:
            self._failed("no answer in time")

    def changed(self, user: str = "") -> None:
        """Something changed, as an event says: one person, or the groups."""
        if user:
            self._stale.add(user)
        self._wake.set()

    async def run(self) -> None:
        """Refreshes once a minute, and soon after each change, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.every * random.uniform(0.8, 1.2)):  # noqa: S311
                    await self._wake.wait()
            if self._wake.is_set():
                await asyncio.sleep(SETTLE)
            self._wake.clear()
            try:
                async with asyncio.timeout(self.every):
                    await self.refresh()
            except TimeoutError:
                self._failed("no answer in time")
            except Exception:
                log.exception("cannot refresh the people")

    async def refresh(self) -> None:
        """Asks Slack once; what is known stays as it is where Slack does not answer."""
        if self.client is None:
            return
        async with self._turn:
            before = self._roles()
            stale, self._stale = self._stale, set()
            try:
                self._seen = await self._ask(stale)
            except BROKEN as error:
                self._stale |= stale
                self._failed(words(error))
                return
            self.fault = ""
            self._outage.up()
            await self._keep()
            if self._roles() != before:
                await self.on_change()

    async def _ask(self, stale: Collection[str]) -> Roster:
        team = await self._our_team()
        groups = await self._groups()
        now = self.clock()
        accounts = dict(self._seen.accounts)
        known_to_change = {i for i in stale if i in accounts}
        for id in [*self._with_roles(groups), *known_to_change]:
            old = accounts.get(id)
            if old is None or id in stale or now - old.at > FRESH:
                found = await self._account(id, team)
                accounts[id] = found or Member(id, id, "stranger", now)
                self._seen = replace(self._seen, accounts=dict(accounts))  # where Slack stops answering, this is kept
        return Roster(team, groups, self._bounded(accounts, groups), now, self._came(groups, now))

    async def _our_team(self) -> str:
        if self.client is None:
            return self._seen.team
        told = await self.client.auth_test()
        team, self.home = str(told["team_id"]), str(told.get("url") or "")
        if self._wanted and team != self._wanted:
            log.error("the bot token belongs to team %s, but ROLLBACK_SLACK_TEAM says %s", team, self._wanted)
        return self._wanted or team

    async def _groups(self) -> dict[str, frozenset[str]]:
        if self.client is None or not any(r.groups or r.on_call.groups for r in self.catalogue.roles.values()):
            return {}
        answer = await self.client.usergroups_list(include_users=True)
        found: dict[str, frozenset[str]] = {}
        for group in cast(list[dict[str, Any]], answer["usergroups"]):
            if not group.get("date_delete"):
                found[str(group["id"])] = found[str(group["handle"])] = frozenset(group.get("users") or ())
        return found

    async def _account(self, id: str, team: str) -> Member | None:
        if self.client is None:
            return None
        try:
            answer = await self.client.users_info(user=id)
        except SlackApiError as error:
            if words(error) in ("user_not_found", "user_not_visible", "invalid_arguments"):
                return None
            raise
        return Member.of(cast(dict[str, Any], answer["user"]), team, self.clock())

    def _bounded(self, accounts: Mapping[str, Member], groups: Mapping[str, frozenset[str]]) -> Mapping[str, Member]:
        if len(accounts) <= MOST:
            return accounts
        needed = set(self._with_roles(groups))
        newest = sorted(accounts.values(), key=lambda a: (a.id not in needed, -a.at))
        return {a.id: a for a in newest[:MOST]}

    def _roles(self) -> frozenset[Person]:
        found = (self._seen.accounts.get(id) for id in self._with_roles(self._seen.groups))
        return frozenset(self._person(a) for a in found if a is not None)

    def _failed(self, why: str) -> None:
        self.fault = why
        self._outage.down(f"{why}; going on with what is known ({self.state})")

    # -- what the database keeps -----------------------------------------------------------------------------------

    async def _load(self) -> None:
        if self._loaded:
            return
        kept = await self.store.known(NAME)
        if kept is not None and not self._seen.at:
            self._seen = _read(kept.body, self._wanted)
        self._loaded = True

    async def _keep(self) -> None:
        try:
            await self.store.put_known(Known(NAME, _written(self._seen), self._seen.at))
        except StoreUnavailable as error:
            log.warning("cannot keep who there is: %s", error)


def _members(crew: Crew, groups: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset(crew.people).union(*(groups.get(g.removeprefix("@"), frozenset()) for g in crew.groups))


def _written(seen: Roster) -> str:
    groups = {name: sorted(ids) for name, ids in sorted(seen.groups.items())}
    accounts = [[a.id, a.name, a.kind, a.at, a.teams] for a in seen.accounts.values()]
    young = [[id, role, at] for (id, role), at in seen.young.items()]
    body = {"team": seen.team, "groups": groups, "accounts": accounts, "at": seen.at, "young": young}
    return json.dumps(body, ensure_ascii=False)


def _read(text: str, team: str) -> Roster:
    """What was kept; nothing where it cannot be read (another version wrote it): Slack will tell it again."""
    try:
        body = json.loads(text)
        accounts = {a[0]: Member(a[0], a[1], a[2], a[3], tuple(a[4]) if a[4:] else ()) for a in body["accounts"]}
        groups = {name: frozenset(ids) for name, ids in body["groups"].items()}
        young = {(id, role): at for id, role, at in body.get("young", ())}
        return Roster(team or body["team"], groups, accounts, body["at"], young)
    except (ValueError, LookupError, TypeError, AttributeError):
        return Roster(team, {}, {}, 0.0)


async def _nothing() -> None:
    """Nobody wants to know."""
