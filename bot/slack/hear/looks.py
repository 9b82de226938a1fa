"""What people look at, each for themselves: status, history, previews, the record; and the token that they get."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.audit import verify
from bot.engine.preview import preview
from bot.opening.rollbacks import Wanted
from bot.policy import Person, Refusal
from bot.run.state import Run
from bot.slack.draw.blocks import Mrkdwn
from bot.slack.hear import replies, slash
from bot.slack.hear.payloads import Act
from bot.slack.hear.places import Places, SlackServes
from bot.store.log import Head
from bot.store.tokens import TOKEN_LIFE
from bot.telling.view import status, title


@dataclass(frozen=True, slots=True)
class Looks:
    """Answers that change no run."""

    bot: SlackServes
    places: Places
    client: AsyncWebClient

    async def look(self, act: Act, said: slash.SlashCommand, person: Person) -> str | Refusal:
        match said.do:
            case "help":
                return Mrkdwn("\n".join(slash.help_lines()))
            case "token":
                return await self._token(said, person)
            case "history":
                return await self._history(said.run)
            case "debts":
                owed = await self.bot.rollbacks.debts.owed(said.run or None)
                return self._clean(replies.debts(owed, self.bot.clock()))
            case "preview":
                return await self._preview(act, said, person)
            case _:
                found = await self.places.run(act.channel, said.run, ended=True)
                if isinstance(found, Refusal):
                    return found
                run = await self.bot.store.load(found)
                if said.do == "status":
                    return await self.standing(run)
                return replies.record(run, await verify(self.bot.store, run=run.id))

    async def _token(self, said: slash.SlashCommand, person: Person) -> str:
        if said.run == "revoke":
            n = await self.bot.store.revoke_tokens(person.id, self.bot.clock())
            return f"{n} of your tokens ended just now."
        value = await self.bot.tokens.issue(person.id, f"slack:{person.id}")
        return replies.token(value, self.bot.clock() + TOKEN_LIFE, self.bot.url)

    async def _history(self, service: str) -> Mrkdwn:
        rows: list[tuple[Head, str, str]] = []
        for head in await self.bot.store.heads(service=service or None, limit=10):
            run = await self.bot.store.load(head.run)
            rows.append((head, title(run), status(run, self.bot.clock())))
        return replies.history(rows)

    async def _preview(self, act: Act, said: slash.SlashCommand, person: Person) -> str | Refusal:
        service = said.run if said.run in self.bot.catalogue.services else ""
        if said.subject and not service:
            service = said.run or await self.places.service_of(act.channel)
        if not service or (not said.subject and await self.bot.store.find_open(service)):
            found = await self.places.run(act.channel, said.run)
            if isinstance(found, Refusal):
                return found
            return await self.changes(await self.bot.store.load(found))
        seen = await self.bot.rollbacks.preview(Wanted(service, "preview", said.subject or None), person)
        return seen if isinstance(seen, Refusal) else self._clean(replies.forecast(seen, service))

    async def changes(self, run: Run, decision: str = "") -> Mrkdwn:
        """What a run would do: looked up now while nothing was done, later as its cards have it."""
        if run.created is None or decision or any(s.made is not None for s in run.steps.values()):
            return replies.changes(run, self.bot.clock(), decision)
        registry, ports_of = self.bot.rollbacks.registry, self.bot.rollbacks.engine.ports_of
        return self._clean(
            replies.forecast(await preview(run.created, registry, ports_of, self.bot.clock), run.service)
        )

    def _clean(self, text: Mrkdwn) -> Mrkdwn:
        """What comes from targets and not from the log, without secrets."""
        return Mrkdwn(self.bot.redactor.text(text))

    async def standing(self, run: Run) -> Mrkdwn:
        return replies.standing(run, self.bot.clock(), await self.bot.eta(run), await self.link(run.id))

    async def link(self, run_id: str) -> str:
        """Where the run's card is, empty where there is none or Slack does not say."""
        root = (await self.bot.store.slots(run_id)).get("root")
        if root is None or not root.ts:
            return ""
        with contextlib.suppress(SlackClientError, OSError, TimeoutError):
            async with asyncio.timeout(2):
                found = await self.client.chat_getPermalink(channel=root.channel, message_ts=root.ts)
                return str(found["permalink"])
        return ""
