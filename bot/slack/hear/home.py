"""What the app's home tab shows to whoever opens it, looked up then. Nothing is written but the view."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.policy import Refusal
from bot.run.decide import RELEASING
from bot.run.events import BadEvent
from bot.slack.draw.home import LAST, Home, RunLine, Shut, denied, home
from bot.slack.hear.looks import Looks
from bot.slack.hear.places import SlackServes
from bot.store.log import Head
from bot.telling.view import status, title

log = logging.getLogger(__name__)

OPEN = 20
"""Open runs that are shown."""


@dataclass(frozen=True, slots=True)
class Homes:
    """Publishes home tabs."""

    bot: SlackServes
    looks: Looks
    client: AsyncWebClient

    async def show(self, user: str, refused: Refusal | None) -> None:
        """One person's tab. refused: why they may see nothing."""
        view = denied(refused.text) if refused is not None else home(await self.seen())
        try:
            await self.client.views_publish(user_id=user, view=view)
        except (TimeoutError, SlackClientError, aiohttp.ClientError, OSError) as e:
            log.warning("the home tab of %s could not be shown: %s", user[:40], e)

    async def seen(self) -> Home:
        """Everything that stands on it now."""
        heads = await self.bot.store.heads(open=True, limit=OPEN)
        ended = await self.bot.store.heads(open=False)
        last = [h for h in ended if h.kind in RELEASING][:LAST]
        shut = [await self._shut(name) for name in self.bot.catalogue.services]
        return Home(
            self.bot.clock(),
            [await self._line(h) for h in heads],
            [s for s in shut if s.frozen or s.banned],
            await self.bot.rollbacks.debts.owed(None),
            [await self._line(h) for h in last],
        )

    async def _shut(self, service: str) -> Shut:
        found = await self.bot.rollbacks.freeze(service)
        frozen = f"by {found.who}: {found.why} ({found.run})" if found.locked else ""
        return Shut(service, frozen, {b.version: b.reason for b in found.banned})

    async def _line(self, head: Head) -> RunLine:
        try:
            run = await self.bot.store.load(head.run)
        except BadEvent:
            return RunLine(head.run, head.run, "its record cannot be read", head.created)
        link = await self.looks.link(head.run) if head.open else ""
        return RunLine(head.run, title(run), status(run, self.bot.clock()), head.created, link)
