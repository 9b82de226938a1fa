"""People at work in the incident's channel: they type `/rollback ...` and press what stands on the cards.

Invariants: whoever presses has seen the button; what a person alone is told comes back as text. Where Slack says that
the app did not answer, they look again, and press once more if the button still stands there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from bot.playground.demo.live import Live
from bot.playground.demo.stage import HERE, DemoFailed, Stage
from bot.playground.workspace import Outcome, Post

PATIENCE = 60.0
"""Seconds in which what is waited for must appear."""
_ANSWER = 8.0
"""Seconds that somebody waits to see what comes of a click."""
_LOOKS_AGAIN = 3.0
"""Seconds after which somebody looks again whose click was not answered."""


@dataclass(frozen=True)
class People:
    """Everybody in the channel."""

    stage: Stage
    live: Live

    async def open(self, who: str, text: str, button: str = "Stop") -> None:
        """Somebody asks for a run, and again until its card stands there, with this button. DemoFailed."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            await self.type(who, text)
            try:
                await self.stage.workspace.driver.wait_for(lambda: self._offering(button), _ANSWER)
            except TimeoutError:
                continue
            return
        raise self._missing("the card", PATIENCE)

    async def type(self, who: str, text: str) -> str:
        """Somebody types `/rollback <text>`; what they alone are told."""
        self.live.tell(who, f"/rollback {text}")
        seen = await self.stage.workspace.driver.slash(who, HERE, "/rollback", text, patience=_ANSWER)
        return self._told(who, seen)

    async def press(self, who: str, button: str) -> str:
        """Somebody presses a button, once one is called so; what they alone are told. "" where nobody answered and
        the button is gone, so that it was heard all the same. DemoFailed."""
        end = time.monotonic() + PATIENCE
        card: Post | None = await self.card(button)
        while card is not None and time.monotonic() < end:
            self.live.look()
            self.live.tell(who, f"[ {button} ]")
            seen = await self.stage.workspace.driver.click(who, card, button, patience=_ANSWER)
            if said := self._told(who, seen):
                return said
            await asyncio.sleep(_LOOKS_AGAIN)
            card = self._offering(button)
        return ""

    async def confirm(self, who: str, button: str, phrase: str) -> str:
        """Somebody presses a button that asks for a phrase, and types it; what they alone are told. DemoFailed."""
        await self.card(button)
        self.live.look()
        self.live.tell(who, f'[ {button} ], and types "{phrase}"')
        end = time.monotonic() + PATIENCE
        while (asked := await self._asked(who, button)).modal is None:  # the card was drawn anew meanwhile: once more
            if time.monotonic() > end:
                raise DemoFailed(f"{button!r} asks for no phrase: {self._told(who, asked) or 'nothing was said'}")
        return self._told(who, await self.stage.workspace.driver.submit(who, {"phrase": phrase}, patience=_ANSWER))

    async def _asked(self, who: str, button: str) -> Outcome:
        """What a button brings up, or an entry of the ⋯ menu: it stands in one or the other as others come and go."""
        driver, end = self.stage.workspace.driver, time.monotonic() + PATIENCE
        while True:
            card = await self.card(button)
            for take in (driver.click, driver.overflow):
                with contextlib.suppress(LookupError):
                    return await take(who, card, button, patience=_ANSWER)
            if time.monotonic() > end:
                raise self._missing(f"a button {button!r} that can be pressed", PATIENCE)

    async def card(self, button: str, within: float = PATIENCE) -> Post:
        """The newest message with a button that is called so. DemoFailed with the channel as it stands."""
        try:
            found = await self.stage.workspace.driver.wait_for(lambda: self._offering(button), within)
        except TimeoutError:
            raise self._missing(f"a button {button!r}", within) from None
        if found is None:
            raise LookupError(button)
        return found

    async def reads(self, text: str, within: float = PATIENCE) -> Post:
        """The newest message that says this, once there is one. DemoFailed with the channel as it stands."""
        try:
            return await self.stage.workspace.driver.wait_for_text(HERE, text, timeout=within)
        except TimeoutError:
            raise self._missing(repr(text), within) from None

    async def gone(self, run: str, within: float = PATIENCE) -> None:
        """Returns when `rollback-bot debts` lists nothing of a run any more. DemoFailed."""
        end = time.monotonic() + within
        while run in (said := await self.stage.host("debts", token=await self.stage.token("ana"))):
            if time.monotonic() > end:
                raise DemoFailed(f"something is still owed: {said}")
            await asyncio.sleep(0.5)

    def _offering(self, button: str) -> Post | None:
        return next((p for p in reversed(self.stage.workspace.driver.read(HERE)) if button in p.buttons), None)

    def _told(self, who: str, seen: Outcome) -> str:
        if (said := seen.text or seen.error) and not said.startswith("Approved: "):
            self.live.tell(f"(to {who})", said)
        return seen.text

    def _missing(self, what: str, within: float) -> DemoFailed:
        stands = self.stage.workspace.driver.transcript(HERE)
        return DemoFailed(f"{what} did not appear within {within:.0f} s, but:\n{stands}\n{self.stage.log_end()}")
