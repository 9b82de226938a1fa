"""What can be made to happen around the bot: Slack goes, a cluster goes, the bot is killed, CI deploys, a certificate
runs out.

Invariants: a switch says what is true now, not what was asked for; what goes wrong in one is told on the page and
stops nothing else; each does one thing at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp

from bot.playground.demo.stage import DemoFailed, Stage
from bot.playground.workspace import Fault
from bot.playground.workspace.wire import Json

BAD, GOOD, OLDER = "2.4.1", "2.4.0", "2.3.9"
_LATE = 3.0
"""Seconds of payments that are looked back on."""


@dataclass(frozen=True)
class Switch:
    """title: what is true while it is on; turn: makes it so, or not so; on: whether it is; once: it cannot be turned
    off, and is there to be pressed."""

    title: str
    turn: Callable[[bool], Awaitable[None]]
    on: Callable[[], bool] = lambda: False
    once: bool = False


class World:
    """Around one stage. Its bot was told of the releases by CI."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._busy: str = ""
        self._said: str = ""
        self._gone: set[str] = set()
        self._renewed = True
        self._faults: dict[str, list[Fault]] = {
            "slack-gone": [Fault("outage", status=503)],
            "slack-limits": [Fault("ratelimited", "chat.*", next=None, retry_after=2)],
            "slack-slow": [Fault("late", next=None, seconds=2.0)],
            "clicks-lost": [Fault("lose_ack", "interactive", next=None)],
        }
        self.switches: Mapping[str, Switch] = {
            "deploy": Switch(f"CI deploys {BAD}, which cannot take payments", self._deploy, once=True),
            "push": Switch(f"Git says {GOOD} again", self._push, once=True),
            "slack-gone": self._fault("Slack is gone", "slack-gone"),
            "slack-limits": self._fault("Slack answers every post with 429", "slack-limits"),
            "slack-slow": self._fault("Slack delivers 2 s late", "slack-slow"),
            "clicks-lost": self._fault("Acknowledgements of clicks are lost", "clicks-lost"),
            **{f"gone-{name}": self._cluster(name) for name in stage.shop.clusters},
            "certificate": Switch(
                f"The certificate of {GOOD} has run out", self._certificate, lambda: not self._renewed
            ),
            "bot-killed": Switch("The bot is killed", self._kill, lambda: not self._runs),
        }

    async def json(self) -> Json:
        """What is true now, for the page."""
        late = self._stage.traffic.of_late(_LATE)
        return {
            "switches": [
                {"id": name, "title": s.title, "on": s.on(), "once": s.once} for name, s in self.switches.items()
            ],
            "busy": self._busy,
            "said": self._said,
            "bot": "runs" if self._runs else "is down",
            "connections": len(self._stage.workspace.sockets),
            "payments": {"failed": late.failed + late.broken, "total": late.total},
        }

    async def turn(self, name: str, on: bool) -> None:
        """Make it so. LookupError for none of ours; what goes wrong is said on the page."""
        switch = self.switches[name]
        if self._busy:
            raise ValueError(f"still at it: {self._busy}")
        self._busy, self._said = switch.title, ""
        try:
            await switch.turn(on)
        except (DemoFailed, OSError, TimeoutError, aiohttp.ClientError) as error:
            self._said = f"{switch.title}: {error}"
        finally:
            self._busy = ""

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _runs(self) -> bool:
        return self._stage.bot is not None and self._stage.bot.returncode is None

    def _fault(self, title: str, name: str) -> Switch:
        async def turn(on: bool) -> None:
            faults = self._stage.workspace.faults
            (self._gone.add if on else self._gone.discard)(name)
            faults.clear()
            for each in self._faults:
                for fault in self._faults[each] if each in self._gone else ():
                    faults.add(fault)

        return Switch(title, turn, lambda: name in self._gone)

    def _cluster(self, name: str) -> Switch:
        async def turn(on: bool) -> None:
            cluster = self._stage.shop.clusters[name]
            await (cluster.disconnect() if on else cluster.connect())
            (self._gone.add if on else self._gone.discard)(name)

        return Switch(f"Cluster {name} does not answer", turn, lambda: name in self._gone)

    async def _certificate(self, on: bool) -> None:
        await (self._stage.shop.expire(GOOD) if on else self._stage.shop.renew(GOOD))
        self._renewed = not on

    async def _kill(self, on: bool) -> None:
        if on:
            await self._stage.kill()
        elif not self._runs:
            await self._stage.serve()

    async def _deploy(self, on: bool) -> None:
        if not on:
            return
        allowed, why = (await self._stage.may_deploy(BAD)) if self._runs else (True, "")
        if not allowed:
            self._said = f"CI asks first, and is told no: {why}"
            return
        await self._stage.release(BAD)

    async def _push(self, on: bool) -> None:
        if on:
            self._stage.shop.push(GOOD)
