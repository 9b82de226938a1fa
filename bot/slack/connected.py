"""Everything of Slack in one process, put together and kept going: people, channels, what is heard, what is shown.

Invariants:
- nothing of it is ever needed for the bot to start, to go on, or to end: a Slack that is away is a word in `/readyz`;
- at the end first nothing more is heard, then what was heard is answered, then nothing more is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from bot.audit import export_markdown, html, pictures_of
from bot.audit.apart import made
from bot.catalogue import Catalogue
from bot.ports import Blob
from bot.run import events as ev
from bot.run.state import Run
from bot.settings import Settings
from bot.slack.draw import ends
from bot.slack.draw.post import Screen
from bot.slack.draw.screen import ROOT, screen
from bot.slack.hear import replies
from bot.slack.hear.app import PATH, SlackApp
from bot.slack.hear.asks import Asks
from bot.slack.hear.home import Homes
from bot.slack.hear.looks import Looks
from bot.slack.hear.places import Places, SlackServes
from bot.slack.hear.replies import Tells
from bot.slack.hear.socket import Socket
from bot.slack.publish.calls import quiet_client
from bot.slack.publish.publisher import Publisher
from bot.slack.workspace.channels import BROKEN, SlackChannels, words
from bot.slack.workspace.directory import SlackDirectory
from bot.store.blobs import FileBlobs
from bot.store.lease import Lease
from bot.store.log import Store
from bot.store.rows import Token
from bot.telling.eta import Estimates
from bot.tls import trust

log = logging.getLogger(__name__)


class Slack:
    """Slack, for one bot. clock: seconds since the epoch; by_hand: a run's text for whoever goes on without the bot;
    estimates: how long runs still take."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        store: Store,
        files: FileBlobs,
        clock: Callable[[], float],
        by_hand: Callable[[Run], Awaitable[str]],
        estimates: Estimates,
    ) -> None:
        self.settings, self.catalogue, self.store, self.files, self.clock = settings, catalogue, store, files, clock
        self.by_hand, self.estimates = by_hand, estimates
        token = settings.slack_bot_token
        bot_token = token.get_secret_value() if token else ""
        self.client: AsyncWebClient = quiet_client(bot_token, settings.slack_url, trust(settings.ca_file))
        self.people = SlackDirectory(catalogue, self.client, store, clock, team=settings.slack_team)
        self.channels = SlackChannels(self.client, clock)
        self.publisher: Publisher | None = None
        self.app: SlackApp | None = None
        self.socket: Socket | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, bot: SlackServes, lease: Lease, people_changed: Callable[[], Awaitable[None]]) -> None:
        """Begins to show and to hear."""
        self.people.on_change = people_changed
        self.publisher = Publisher(
            self.store, self.client, self.screen_of, lease, self.contents, clock=self.clock, ttl=self.settings.lease
        )
        places = Places(bot, self.channels)
        looks = Looks(bot, places, self.client)
        asks = Asks(bot, self.people, self.client, places, looks, Tells(self.client), Homes(bot, looks, self.client),
                    self.publisher.hint)  # fmt: skip
        secret = self.settings.slack_signing_secret
        self.app = SlackApp(asks, secret.get_secret_value() if secret else "")
        self._begin("people", self.people.run())
        self._begin("publisher", self.publisher.run())
        if self.settings.slack == "socket":
            token = self.settings.slack_app_token
            self.socket = Socket(
                self.app.bolt, token.get_secret_value() if token else "", self.settings.slack_url, trust=self.client.ssl
            )
            self._begin("socket", self.socket.run())

    async def close(self) -> None:
        """Everything down; what was heard is answered first."""
        await self._end("socket")
        if self.socket is not None:
            await self.socket.close()
        if self.app is not None:
            await self.app.close()
        await self._end("publisher")
        for name in [*self._tasks]:
            await self._end(name)

    @property
    def posts(self) -> Mapping[str, Callable[[web.Request], Awaitable[web.Response]]]:
        """Path -> who answers Slack's own requests; none in Socket Mode."""
        if self.settings.slack != "http" or self.app is None:
            return {}
        return {PATH: self.app.handle}

    @property
    def faults(self) -> Mapping[str, str]:
        """What is wrong, by part; one part that is fine where nothing is."""
        found = {"slack": self.people.state}
        if self.socket is not None and self.socket.state:
            found["slack"] = f"Socket Mode: {self.socket.state}"
        if self.publisher is not None:
            for place, text in self.publisher.faults().items():
                found["slack" if place == "slack" else f"slack {place}"] = text
        return found

    async def watch(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Something happened (a watcher of the engine)."""
        if self.publisher is not None:
            self.publisher.hint(run.id)

    def token_issued(self, token: Token) -> None:
        """Tells a person that somebody else has issued a token for them."""
        if token.issued_by != f"slack:{token.person}":
            self._begin(f"token {token.hash}", self._tell(token))

    async def _tell(self, token: Token) -> None:
        """Once, as soon as Slack takes it; no later than it is good for."""
        text, wait = str(replies.token_for_you(token.issued_by, token.expires)), 1.0
        while self.clock() < token.expires:
            try:
                await self.client.chat_postMessage(channel=token.person, text=text, unfurl_links=False)
                return
            except BROKEN as error:
                log.warning("%s cannot be told of a token that was issued for them: %s", token.person, words(error))
            await asyncio.sleep(wait)
            wait = min(2 * wait, 300.0)

    async def screen_of(self, run: Run) -> Screen:
        """What a run is to look like now."""
        if run.created is None:
            return Screen(())
        now = self.clock()
        return screen(
            run, now=now, eta=await self.estimates.of(run, now), progress=await self.store.progress(run.id),
            channels=run.created.channels, notices=await self.store.notices(run.id), roles=self.catalogue.roles,
            marks=await self.store.marks(run.id), links=await self._links(run.id),
        )  # fmt: skip

    async def _links(self, run_id: str) -> Mapping[str, str] | None:
        """The address of each post of a run that is there; None while Slack has not said where it lives."""
        home = self.people.home
        if not home:
            return None
        slots = await self.store.slots(run_id)
        root = slots.get(ROOT)
        found = {}
        for name, s in slots.items():
            if s.ts and "/" not in name:
                threaded = name.startswith(("decision.", "halt.")) and not name.endswith(".call")
                under = f"?thread_ts={root.ts}&cid={s.channel}" if root is not None and threaded else ""
                found[name] = f"{home}archives/{s.channel}/p{s.ts.replace('.', '')}{under}"
        return found

    async def contents(self, run_id: str, what: str) -> bytes:
        """The bytes of an upload. LookupError where there are none."""
        if what == ends.BY_HAND:
            return (await self.by_hand(await self.store.load(run_id))).encode()
        if what == "audit.md":
            return (await made(export_markdown, await self.store.events(run_id))).encode()
        if what == "timeline.html":
            rows = await self.store.events(run_id)
            return (await made(html, rows, await pictures_of(rows, self.files))).encode()
        for step in (await self.store.load(run_id)).steps.values():
            for kept in step.receipt.evidence.values() if step.receipt else ():
                if isinstance(kept, Mapping) and kept.get("digest") == what:
                    return await self.files.get(_blob(kept))
        raise LookupError(f"run {run_id} has no {what[:40]}")

    def _begin(self, name: str, work: Any) -> None:
        self._tasks[name] = asyncio.create_task(work, name=f"slack {name}")

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _blob(kept: Mapping[str, Any]) -> Blob:
    return Blob(str(kept["digest"]), int(kept["size"]), str(kept["type"]))
