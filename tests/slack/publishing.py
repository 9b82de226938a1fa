"""A publisher on a real database, before the strict workspace, with small screens made by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from bot.catalogue import Release
from bot.plan.model import Plan, StepSpec
from bot.playground.workspace import Clock, Workspace
from bot.policy import Actor
from bot.run import events as ev
from bot.run.state import Run, new_run
from bot.slack.draw.post import Message, Post, Screen
from bot.slack.publish.calls import EVENT_TYPE, quiet_client
from bot.slack.publish.publisher import Publisher
from bot.store.lease import Lease
from bot.store.log import Store

ANA = Actor("U0ANA00001", "ana", ("commander",), "slack")
HERE = "inc-4211"
ROOM = "C0INC04211"
PATIENCE = 0.3
"""Real seconds that the publisher waits for an answer in these tests."""


def created(service: str) -> ev.Created:
    """The first event of a run of one step."""
    plan = Plan("small", (StepSpec("deploy", "Deploy", "backend", "action", "http.put"),))
    return ev.Created(service, plan, plan.digest, Release("2.4.1"), Release("2.4.0"), "checkout fails", ANA)


def at_work() -> ev.Started:
    """Its step has begun to be planned."""
    return ev.Started("deploy", 1, 1, "plan", "node")


def message(text: str) -> Message:
    """One section."""
    return Message(text, ({"type": "section", "block_id": "b", "text": {"type": "mrkdwn", "text": text}},))


def root(text: str = "root", channel: str = f"#{HERE}") -> Post:
    """The card in the channel."""
    return Post("root", channel, message(text))


def decision(name: str = "backend", text: str = "decide") -> Post:
    """A card in the thread."""
    return Post(f"decision.{name}", f"#{HERE}", message(text), "root", "decision")


def news(name: str, text: str, *, channel: str = f"#{HERE}", under: str = "") -> Post:
    """A fixed post."""
    return Post(name, channel, message(text), under, "news", fixed=True)


async def contents(run: str, what: str) -> bytes:
    """What an upload holds."""
    return f"{what} of {run}".encode()


@dataclass
class Board:
    """Screens by run, and the publisher that shows them."""

    slack: Workspace
    clock: Clock
    store: Store
    lease: Lease
    screens: dict[str, Screen] = field(default_factory=dict)
    drawn: Counter[str] = field(default_factory=Counter)
    contents: Callable[[str, str], Awaitable[bytes]] = contents

    def __post_init__(self) -> None:
        self.publisher = self.another()

    def another(self) -> Publisher:
        """A publisher that knows nothing yet, as after a restart."""
        return Publisher(
            self.store, quiet_client(self.slack.app.bot_token, self.slack.api_url), self.screen_of, self.lease,
            lambda run, what: self.contents(run, what), clock=self.clock.time, monotonic=self.clock.time,
            patience=PATIENCE,
        )  # fmt: skip

    async def screen_of(self, run: Run) -> Screen:
        """As the test wants it."""
        self.drawn[run.id] += 1
        return self.screens[run.id]

    def draw(self, run: str, *posts: Post, again: float | None = None) -> None:
        """What it is to look like from now on."""
        self.screens[run] = Screen(posts, again)

    async def open(self, run: str, *posts: Post) -> None:
        """A new run, of a service of its own, that looks like this."""
        self.draw(run, *posts)
        await self.store.append(new_run(run), [created(run)], self.clock.time())

    async def happen(self, run: str, *posts: Post, event: ev.Event | None = None, hint: bool = True) -> None:
        """Something happens to the run, and it looks like this now."""
        self.draw(run, *(posts or self.screens[run].posts))
        await self.store.append(await self.store.load(run), [event or ev.Stopped(ANA)], self.clock.time())
        if hint:
            self.publisher.hint(run)

    async def settle(self) -> None:
        """Until nothing more can be done at this moment."""
        while True:
            wait = await self.publisher.round()
            await self.publisher.quiet()
            if wait > 0 and await self.publisher.round() > 0 and not self.publisher.busy:
                return

    async def after(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, with the publisher at work."""
        while seconds > 1e-9:
            self.clock.advance(min(step, seconds))
            seconds -= step
            await self.settle()

    def texts(self, channel: str = HERE) -> list[str]:
        """What stands in the channel, threads included."""
        return [p.text for p in self.slack.driver.read(channel)]

    def calls(self, method: str = "") -> list[str]:
        """The methods that were called, or the errors of one."""
        return [c.method for c in self.slack.web_api.log if c.method == method or not method]

    def slots(self, channel: str = HERE) -> Mapping[tuple[str, str], int]:
        """(run, slot) -> how many messages claim to be it."""
        return claimed(self.slack, channel)


def claimed(slack: Workspace, channel: str = HERE) -> Mapping[tuple[str, str], int]:
    """(run, slot) -> how many messages claim to be it."""
    marks = [p.metadata for p in slack.driver.read(channel) if p.metadata]
    payloads = [m["event_payload"] for m in marks if m["event_type"] == EVENT_TYPE]
    return Counter((p["run"], p["slot"]) for p in payloads)


def saying(post: Post, text: str) -> Post:
    """The same post with another text."""
    return replace(post, message=message(text))
