"""The team at work in a drill: each decision is taken by who may, at a pace; what nobody may take is found out.

Invariants: policy is the bot's, and what it shows is all that is known of it; who is away does nothing; a yes goes by
the button on its card where there is one, else by the command line; a gate that nobody can pass is told, and its glass
is broken, so that the rest is rehearsed too.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bot.playground.demo.stage import Stage
from bot.playground.drill.world import Member, Team, holders

Told = dict[str, Any]
LONGEST = 900.0
"""Seconds after which a drill is given up."""
_LOOK = 0.5
_OPENS = 15.0
"""Seconds in which a run that was asked for is there."""
_TWO_DAYS = 172800.0
_QUIET = 20.0
"""Seconds after which a step that has stopped is skipped, or given up."""
WHY = "this is a drill"


@dataclass
class Seen:
    """What came to light. waited: decision -> seconds until it was taken; took: by whom; stuck: decisions that nobody
    could take, with why; refused: what somebody was told who tried; stopped: steps that stopped, with why."""

    waited: dict[str, float] = field(default_factory=dict)
    took: dict[str, list[str]] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)


@dataclass
class Actors:
    """Everybody. pace: seconds that somebody takes to read a card; absent: names of who does not answer."""

    stage: Stage
    team: Team
    pace: float
    absent: Collection[str]
    say: Callable[[str, str], None]
    seen: Seen = field(default_factory=Seen)
    run: str = ""
    _opened: dict[str, float] = field(default_factory=dict)
    _halted: dict[str, float] = field(default_factory=dict)
    _handed: set[str] = field(default_factory=set)
    _pushed: bool = False

    async def open(self) -> bool:
        """A commander asks for the rollback; whether there is one now."""
        there = holders(self.team, "commander", self.absent)
        if not there:
            self.seen.stuck["the rollback itself"] = self._nobody("commander", ())
            return False
        who, text = there[0].name, f"{self.team.service} because {WHY}"
        self.say(who, f"/rollback {text}")
        told = await self.stage.workspace.driver.slash(who, self.team.here, "/rollback", text, patience=15)
        if not await self._found():
            said = told.text or told.error or (told.modal.plain if told.modal else "") or "nothing"
            self.say(f"(to {who})", said)
            self.seen.refused.append(f"{who}, asking for it: {said}")
            body = {"service": self.team.service, "reason": WHY, "despite": True, "channel": f"#{self.team.here}"}
            found = await self._post(who, "rollbacks", body)
            if "why" in found:
                self.seen.stuck["the rollback itself"] = found["text"]
                return False
        return await self._found()

    async def _found(self) -> bool:
        """Whether the run is there, within a while."""
        end = time.monotonic() + _OPENS
        while not self.run and time.monotonic() < end:
            runs = (await self._get("runs?open=true&limit=1"))["runs"]
            self.run = runs[0]["run"] if runs else ""
            await asyncio.sleep(_LOOK)
        return bool(self.run)

    async def play(self) -> Told:
        """The run as it stands when it has ended, or was given up."""
        end = time.monotonic() + LONGEST
        uses = await self._uses()
        while True:
            run = await self._get(f"runs/{self.run}")
            if not run["open"] or time.monotonic() > end:
                return run
            await self._decide(run)
            await self._unstick(run)
            await self._around(run, uses)
            await asyncio.sleep(_LOOK)

    # -- decisions -----------------------------------------------------------------------------------------------------

    async def _decide(self, run: Told) -> None:
        now = time.monotonic()
        for d in _one_a_choice(run["decisions"]):
            since = self._opened.setdefault(d["name"], now)
            if now - since < self.pace * (1 + len(self.seen.took.get(d["name"], ()))):
                continue
            who = self._who(d)
            if who is not None:
                await self._yes(who, d)
            elif d["title"] not in self.seen.stuck:
                self.seen.stuck[d["title"]] = self._missing(d)
                await self._break(d)

    def _who(self, d: Told) -> Member | None:
        """Somebody who may say yes and has not."""
        said = self.seen.took.setdefault(d["name"], [])
        for role in _roles(self.team, d["needs"]):
            for m in holders(self.team, role, self.absent):
                if m.name not in said and f"@{m.name}" not in _barred(d["needs"]):
                    return m
        return None

    async def _yes(self, who: Member, d: Told) -> None:
        self.seen.took[d["name"]].append(who.name)
        self.say(who.name, f"[ {d['title']} ]")
        body = {"do": "approve", "decision": d["name"], "card": d["card"], "phrase": d["phrase"]}
        said = "" if d["phrase"] else await self._pressed(who, d["title"])
        found = {} if said is not None and not d["phrase"] else await self._post(who.name, self._commands, body)
        if told := said or (found.get("text", "") if "why" in found else ""):
            self.say(f"(to {who.name})", told)
            self.seen.refused.append(f"{who.name}, {d['title']}: {told.splitlines()[0]}")
        run = await self._get(f"runs/{self.run}")
        if any(x["name"] == d["name"] and x["state"] == "decided" for x in run["decisions"]):
            self.seen.waited[d["title"]] = time.monotonic() - self._opened[d["name"]]

    async def _pressed(self, who: Member, title: str) -> str | None:
        """What they alone are told; None where no card has such a button."""
        driver = self.stage.workspace.driver
        cards = [p for p in reversed(driver.read(self.team.here)) if title in p.buttons]
        if not cards:
            return None
        seen = await driver.click(who.name, cards[0], title, patience=8)
        text = seen.text or seen.error
        return "" if text.startswith("Approved") else text

    async def _break(self, d: Told) -> None:
        glass = [r for r, may in self.team.roles.items() if may] or [*self.team.roles]
        said = "nobody may"
        for who in (m for role in glass for m in holders(self.team, role, self.absent)):
            body = {"do": "break-glass", "decision": d["name"], "card": d["card"], "reason": WHY}
            found = await self._post(who.name, self._commands, body)
            if "why" not in found:
                self.say(who.name, f"breaks the glass of {d['title']!r}, as nobody may say yes")
                return
            said = found["text"]
        self.say("nobody", f"can go on, and the glass stays whole: {said}")
        await self._anyone({"do": "abort", "reason": WHY})

    def _missing(self, d: Told) -> str:
        return "; ".join(self._nobody(role, _barred(d["needs"])) for role in _roles(self.team, d["needs"]))

    def _nobody(self, role: str, barred: Collection[str]) -> str:
        found = [f"@{m.name}" for m in holders(self.team, role)]
        if not found:
            return f"nobody is {role}"
        why = [f"{n} {'asked for it' if n in barred else 'does not answer' if n[1:] in self.absent else 'has said yes'}"
               for n in found]  # fmt: skip
        return f"no other {role}: {', '.join(why)}"

    # -- what stops, and the world around ------------------------------------------------------------------------------

    async def _unstick(self, run: Told) -> None:
        """Once tried again, then skipped, then the run is given up."""
        now = time.monotonic()
        offered = re.findall(rf"rollback-bot (retry|skip|accept) {self.run} (\S+)", "\n".join(run["commands"]))
        for do, step in offered:
            since = self._halted.setdefault(f"{do} {step}", now)
            if do == "retry":
                self.seen.stopped.setdefault(step, "; ".join(run["halts"])[:300])
                self.say("the bot", f"{step} stopped")
                del self._halted[f"{do} {step}"]
                if f"tried {step}" not in self._halted:
                    self._halted[f"tried {step}"] = now
                    await self._anyone({"do": "retry", "step": step})
            elif now - since > _QUIET:
                del self._halted[f"{do} {step}"]
                if not await self._anyone({"do": do, "step": step, "reason": WHY}):
                    await self._anyone({"do": "abort", "reason": WHY})

    async def _around(self, run: Told, uses: Told) -> None:
        """Git is put right once the target serves everywhere; jobs that it cannot read become somebody's."""
        states = {s["id"]: s["state"] for s in run["steps"]}
        deploys = [i for i, u in uses.items() if u == "release.deploy"]
        if deploys and not self._pushed and all(states.get(i) == "done" for i in deploys):
            self._pushed = True
            self.stage.shop.push("2.4.0")
            self.say("Git", "says 2.4.0 again")
        parked = [i for i, u in uses.items() if u == "jobs.park" and states.get(i) == "done" and i not in self._handed]
        for step in parked if "watching" in run["status"] else ():
            self._handed.add(step)
            who, until = holders(self.team, "commander", self.absent)[0].name, time.time() + _TWO_DAYS
            await self._anyone({"do": "hand-over", "step": step, "to": who, "until": until, "reason": WHY})

    async def _anyone(self, body: Told) -> bool:
        """The first who may; a proposal is agreed to by the first other who may."""
        everybody = [m for m in self.team.members if m.name not in self.absent]
        for m in everybody:
            if "why" not in await self._post(m.name, self._commands, body):
                run = await self._get(f"runs/{self.run}")
                for p in (p.partition(":")[0] for p in run["proposals"]):
                    for other in everybody:
                        if "why" not in await self._post(other.name, self._commands, {"do": "agree", "proposal": p}):
                            break
                return True
        return False

    # -- asking --------------------------------------------------------------------------------------------------------

    @property
    def _commands(self) -> str:
        return f"runs/{self.run}/commands"

    async def _uses(self) -> Told:
        """Step -> handler."""
        found = await self._get(f"runs/{self.run}/events?after=0")
        return {s["id"]: s.get("uses") or "" for s in found["events"][0]["body"]["plan"]["steps"]}

    async def _get(self, path: str) -> Told:
        return await self._asked("GET", path, self.stage.reader, None)

    async def _post(self, who: str, path: str, body: Told) -> Told:
        return await self._asked("POST", path, who, body)

    async def _asked(self, method: str, path: str, who: str, body: Told | None) -> Told:
        headers = {"Authorization": f"Bearer {await self.stage.token(who)}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, self.stage.at(path), json=body) as answer,
        ):
            found: Told = await answer.json()
            return found


def _one_a_choice(decisions: list[Told]) -> list[Told]:
    """Those that are open; of the ways of a choice the first that can be gone and decided: people agree on one."""
    found: dict[object, Told] = {}
    for d in sorted(decisions, key=lambda d: bool(d["impossible"])):
        if d["state"] == "open" and not d["refused"]:
            found.setdefault(d["number"], d)
    return [*found.values()]


def _roles(team: Team, needs: str) -> list[str]:
    """Roles that are asked, of "a dba and 2 approvers, not @ana"."""
    return [r for r in team.roles if re.search(rf"\b{re.escape(r)}s?\b", needs.partition(", not ")[0])]


def _barred(needs: str) -> list[str]:
    return re.findall(r"@[\w.-]+", needs.partition(", not ")[2])
