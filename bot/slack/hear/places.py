"""The bot, as far as Slack reaches it, and where in it and in Slack things are: which run, which channel, which service
is meant. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bot.catalogue import Catalogue, Service
from bot.opening.rollbacks import Rollbacks
from bot.policy import Refusal, Why
from bot.ports import Unreachable
from bot.redaction.redactor import Redactor
from bot.releases.register import ReleaseRegister
from bot.run.decide import RELEASING
from bot.run.state import Run
from bot.slack.workspace.channels import Channel, SlackChannels
from bot.store.log import Store
from bot.store.tokens import Tokens
from bot.telling.eta import Eta

LATEST = 20
"""Runs among which the last rollback is looked for."""
LOOKED_AT = 200
"""Open runs among which a channel's own is looked for."""


class SlackServes(Protocol):
    """The bot, as far as Slack reaches it. `bot.wiring.Bot` is one."""

    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def store(self) -> Store: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def releases(self) -> ReleaseRegister: ...
    @property
    def rollbacks(self) -> Rollbacks: ...
    @property
    def redactor(self) -> Redactor: ...
    @property
    def clock(self) -> Callable[[], float]: ...
    @property
    def url(self) -> str:
        """Where the command line finds the bot."""
        ...

    async def eta(self, run: Run) -> Eta | None:
        """How long it will still take; None where nothing is left."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """Finds what is meant by a word, or by the channel where something was said."""

    bot: SlackServes
    channels: SlackChannels

    async def run(self, channel: str, word: str, *, ended: bool = False) -> str | Refusal:
        """The run that a word means; without one the channel's own, else the only open one. ended: if none is open,
        the last one."""
        if word:
            found = await self.bot.rollbacks.find(word)
            last = await self._last(word) if ended and isinstance(found, Refusal) else ""
            return last or found
        heads = await self.bot.store.heads(open=True, limit=LOOKED_AT)
        own = [h for h in heads if await self._is_here(h.run, channel)]
        main = [h for h in own if h.kind in RELEASING]  # a freeze beside it is asked for by its id, or by `thaw`
        here = [h.run for h in main or own]
        if len(here) == 1:
            return here[0]
        if here:
            return Refusal(Why.BAD_INPUT, f"Which one? Open in this channel are {', '.join(here)}.")
        if not heads and ended and (newest := await self._last(None)):
            return newest
        return await self.bot.rollbacks.find(None)

    async def _last(self, service: str | None) -> str:
        """The last run that brought a release back, else the last one; "" where there is none. What the bot opens by
        itself afterwards is asked for by its id."""
        heads = await self.bot.store.heads(service=service, limit=LATEST)
        main = [h for h in heads if h.kind in RELEASING]
        return next((h.run for h in (*main, *heads)), "")

    async def _is_here(self, run_id: str, channel: str) -> bool:
        run = await self.bot.store.load(run_id)
        if run.created is None:
            return False
        service = self.bot.catalogue.services.get(run.service)
        named = run.created.channel or next(iter(service.channels.incident if service else ()), "")
        return bool(named) and (named == channel or await self._id_of(named) == channel)

    async def _id_of(self, name: str) -> str:
        if not name.startswith("#"):
            return name
        try:
            found = await self.channels.find(name)
        except Unreachable:
            return ""
        return found.id if found is not None else ""

    async def service_of(self, channel: str) -> str:
        """The service whose incidents are handled in this channel, or the only one there is."""
        services = self.bot.catalogue.services.values()
        for s in services:
            if channel in [await self._id_of(name) for name in s.channels.incident]:
                return s.name
        return next(iter(services)).name if len(services) == 1 else ""

    async def card_at(self, channel: str, service: Service | None) -> Channel | Refusal:
        """Where a new run's card can go: here, else where the service's incidents are handled."""
        own = service.channels.incident if service is not None else ()
        try:
            for name in (channel, *own):
                found = await self.channels.find(name) if name else None
                if found is not None and not (found.trouble is not None and found.trouble.cut_off):
                    return found
        except Unreachable:  # Slack is away: the card comes when it is back
            return Channel(channel or next(iter(own), ""), "")
        text = "I am not in this channel, so nobody would see the card: `/invite` me, then try again."
        return Refusal(Why.NOT_NOW, f"{text} Nothing was opened.")
