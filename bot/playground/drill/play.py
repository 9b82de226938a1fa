"""A drill from its start to what it showed: what was slow, who was missing, which gate nobody could pass.

Invariant: what is told at the end is read from the record and from what people met, never from what was planned.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from bot.playground.demo.live import WIDTH
from bot.playground.demo.stage import (
    JUDGED,
    NO_WAIT,
    READ,
    SHORT_JUDGED,
    SHORT_READ,
    SHORT_WATCH,
    SOON,
    DemoFailed,
    Stage,
)
from bot.playground.drill.actors import Actors
from bot.playground.drill.world import Team, cast, catalogue, holders, unplayed
from bot.playground.prometheus import installed
from bot.playground.shop.releases import SERVICE
from bot.playground.workspace import App, Workspace

SLOWEST = 6
"""How many steps are told as the slow ones."""
_WATCH = re.compile(r"for: \w+, every: \w+, passes: \d+")
_ENDS = ("applied", "undone", "checked", "failed", "adopted")
_BEGINS = ("started", "apply started")


def shortened(text: str) -> str:
    """A plan whose watches and windows of numbers can be waited for."""
    text = _WATCH.sub(SHORT_WATCH, text).replace(JUDGED, SHORT_JUDGED).replace(SOON, NO_WAIT)
    for window in READ:
        text = text.replace(window, SHORT_READ)
    return text


@dataclass
class DrillStage(Stage):
    """The demo's stage as the team's catalogue has it. team: whose it is."""

    team: Team | None = None

    def catalogue(self) -> dict[str, Any]:
        """See `Stage`."""
        shop = yaml.safe_load(self.shop.catalogue(people={}))["services"][SERVICE]
        return catalogue(self._team, shop, self.front.targets("api") if self.front is not None else {})

    def plans(self) -> Mapping[str, str]:
        """See `Stage`."""
        return {**super().plans(), **{name: shortened(text) for name, text in self._team.plans.items()}}

    @property
    def reader(self) -> str:
        """See `Stage`."""
        return self._team.members[0].name

    @property
    def _team(self) -> Team:
        if self.team is None:
            raise LookupError("whose drill is it?")
        return self.team


async def drill(team: Team, *, pace: float, absent: Collection[str]) -> bool:
    """Plays it and tells it; whether nothing has to be put right. pace: seconds that somebody takes; absent: names of
    who does not answer. DemoFailed where there was no drill to see the end of."""
    _begin(team, absent)
    app = App()
    workspace = Workspace(app=app, cast=cast(team, app))
    stage = DrillStage(second=team.whole, service=team.service, clusters=team.clusters, workspace=workspace, team=team)
    began = time.monotonic()

    def say(who: str, what: str) -> None:
        at = int(time.monotonic() - began)
        told = textwrap.shorten(" ".join(what.split()), WIDTH - 20, placeholder=" …")
        _say(f"{at // 60:02d}:{at % 60:02d}  {who:<12} {told}")

    async with stage:
        try:
            for version in ("2.3.9", "2.4.0", "2.4.1"):
                await stage.release(version)
            _say("2.4.1 serves and cannot take payments.\n")
            began = time.monotonic()
            actors = Actors(stage, team, pace, absent, say)
            run: Mapping[str, Any] = await actors.play() if await actors.open() else {}
            record = await _record(stage, actors.run) if run else []
        except DemoFailed:
            _say(f"\n--- the end of the bot's log ---\n{stage.log_end()}")
            raise
    return _told(team, actors, run, record, absent)


def _begin(team: Team, absent: Collection[str]) -> None:
    clusters = ", ".join(team.clusters)
    _say(f"A drill of {team.service} by plan {team.plan}, on this machine; nothing of yours is reached.")
    _say(f"Yours: roles, channels, gates, limits, the plan. Played by a shop: what runs in {clusters}, and")
    _say("database, cache, backups, frontend, partner and customers where your service has such targets.")
    for missing in unplayed(team, installed()):
        _say(f"NOT REHEARSED: {missing}")
    if stand_ins := [m.name for m in team.members if m.stand_in]:
        _say(f"STAND-INS: {', '.join(stand_ins)}: who is in your user groups is not known here (ROLLBACK_SLACK).")
    if absent:
        _say(f"Does not answer: {', '.join(absent)}.")
    _say("")


async def _record(stage: Stage, run: str) -> list[dict[str, Any]]:
    file = stage.folder / "record.jsonl"
    words = ("audit", run, "export", "--format", "jsonl", "--output", str(file))
    await stage.host(*words, token=await stage.token(stage.reader))
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if "kind" in row]


def times(record: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Step -> seconds that its attempts took which came to something; looking ahead of its turn is no work."""
    began: dict[tuple[str, int], int] = {}
    found: dict[str, float] = {}
    for row in record:
        body, kind = row["body"], row["kind"]
        key = (body.get("step", ""), body.get("n", 0))
        if kind in _BEGINS:
            began[key] = row["at"]
        elif kind in _ENDS and key in began:
            found[key[0]] = found.get(key[0], 0.0) + (row["at"] - began.pop(key)) / 1e6
    return found


def _told(
    team: Team, actors: Actors, run: Mapping[str, Any], record: Sequence[Mapping[str, Any]], absent: Collection[str]
) -> bool:
    seen = actors.seen
    _say(f"\n== How it ended ==\n{run.get('status', 'it never began')}")
    titles = {s["id"]: s["title"] for s in run.get("steps", ())}
    _say("\n== What was slow ==")
    slow = sorted(times(record).items(), key=lambda x: -x[1])[:SLOWEST]
    _say("\n".join(f"{took:7.1f} s  {titles.get(step, step)}" for step, took in slow) or "Nothing was done.")
    for title, took in sorted(seen.waited.items(), key=lambda x: -x[1]):
        _say(f"{took:7.1f} s  waiting for people: {title}")
    _say("\n== Who was missing ==")
    lacking = [f"{role}: nobody" for role in team.roles if not holders(team, role)]
    lacking += [f"{role}: nobody answers" for role in team.roles
                if holders(team, role) and not holders(team, role, absent)]  # fmt: skip
    alone = [f"{role}: {found[0].name} alone" for role in team.roles if len(found := holders(team, role, absent)) == 1]
    _say("\n".join([*lacking, *alone]) or "Nobody.")
    _say("\n== Gates that nobody could pass ==")
    _say("\n".join(f"{title}: {why}" for title, why in seen.stuck.items()) or "None.")
    if seen.stopped or seen.refused:
        _say("\n== What stopped, and who was refused ==")
        _say("\n".join([*(f"{titles.get(s, s)}: {why}" for s, why in seen.stopped.items()), *seen.refused]))
    left = [s["title"] for s in run.get("steps", ()) if s["state"] == "not needed"]
    if left:
        _say(f"\n== Not rehearsed: no such target, or not this way ==\n{textwrap.fill(', '.join(left), WIDTH)}")
    return not seen.stuck and run.get("outcome") == "verified"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
