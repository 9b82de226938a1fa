"""Hears people in Slack: acknowledges at once, reads what they did, and hands it over to `asks`.

Invariants:
- every payload is acknowledged before any work begins (a form's within `FORM` seconds, because its answer shows in it),
  and is answered once: done, refused, or told that something broke; nothing is decided here;
- work is a task of our own set, never Bolt's; `close` waits for what is under way;
- the same act delivered twice at once is one task; what was done before is known by its key in the database;
- whatever arrives by HTTP is signed, small, and not old (401, 413); what cannot be read is a 400, never a 500.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.located import Faults
from bot.policy import Person, Refusal
from bot.releases.register import verify_signature
from bot.slack.draw.blocks import Mrkdwn
from bot.slack.draw.press import NotLegible, NotOurs
from bot.slack.hear import payloads
from bot.slack.hear.asks import NOT_OURS, Asks
from bot.slack.hear.payloads import Act, PayloadBody
from bot.store.log import SchemaMismatch, StoreUnavailable
from bot.words import Unclear

log = logging.getLogger(__name__)
T = TypeVar("T")

PATH = "/slack/events"
"""Where Slack's requests arrive in HTTP mode."""
BODY = 1024 * 1024
"""Bytes of one request; a click brings its whole message along."""
SLOW = 10.0
"""Seconds in which a request must have arrived."""
FORM = 2.3
"""Seconds after which a form is closed, and its answer comes as a message: Slack waits for three."""
LATE = "Not opened: nobody can pass some of its decisions. `/rollback` shows the form again, and asks what to do then."
"""What is said where a form has been closed before this was known."""
LONGEST = 120.0
"""Seconds that one piece of work may take."""
REMEMBERED = 4096
"""Keys of acts that were answered, kept to say nothing twice."""

SHORTCUT = "rollback-of-message"
"""The message shortcut that opens the form with the message as reason."""
_AT_HOME = "app_home_opened"
_OF_PEOPLE = ("subteam_members_changed", "subteam_updated", "user_change")
_ALL = re.compile(r".*", re.DOTALL)


class _HasAct(Protocol):
    @property
    def act(self) -> Act: ...


R = TypeVar("R", bound=_HasAct)


class SlackApp:
    """The listening half. `bolt` is the app that Socket Mode or `handle` feeds."""

    def __init__(self, asks: Asks, signing_secret: str = "") -> None:
        self.asks = asks
        self._secret = signing_secret
        self._tasks: set[asyncio.Task[Any]] = set()
        self._forms: dict[str, asyncio.Task[Mapping[str, Any]]] = {}
        self._acted: OrderedDict[str, None] = OrderedDict()
        self.bolt = self._listening()

    def _listening(self) -> AsyncApp:
        """Everything that can arrive has a listener: what nobody hears, Slack would send again."""
        ours = self.asks.client
        app = AsyncApp(
            logger=log, name="rollback-bot", client=AsyncWebClient(base_url=ours.base_url, ssl=ours.ssl),
            signing_secret=self._secret, authorize=_authorize, process_before_response=True,
        )  # fmt: skip
        app.command(_ALL)(self._command)
        app.action(_ALL)(self._action)
        app.view(_ALL)(self._view)
        app.event(_ALL)(self._event)
        app.message_shortcut(SHORTCUT)(self._shortcut)
        for hear in (app.view_closed, app.shortcut, app.options):
            hear(_ALL)(self._noted)
        return app

    async def close(self, patience: float = 5.0) -> None:
        """Waits for what is under way (seconds), then gives it up."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience)
            for task in late:
                log.warning("given up at shutdown: %s", task.get_name())
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # -- listeners -------------------------------------------------------------------------------------------------

    async def _command(self, ack: Any, body: PayloadBody) -> None:
        await ack()
        self._take(body, payloads.typed, self.asks.typed)

    async def _action(self, ack: Any, body: PayloadBody) -> None:
        await ack()
        if payloads.is_link(body):
            return
        if payloads.at_home(body):
            self._take(body, payloads.clicked, self.asks.from_home)
        elif isinstance(body.get("view"), Mapping):
            self._take(body, payloads.picked, lambda p, _: self.asks.picked(p))
        else:
            self._take(body, payloads.clicked, self.asks.clicked)

    async def _event(self, ack: Any, body: PayloadBody) -> None:
        await ack()
        event = body.get("event")
        if isinstance(event, Mapping) and event.get("type") in _OF_PEOPLE:
            user = event.get("user")
            self.asks.people.changed(str(user["id"]) if isinstance(user, Mapping) and "id" in user else "")
        elif isinstance(event, Mapping) and (event.get("type"), event.get("tab")) == (_AT_HOME, "home"):
            self._begin("home", self.asks.home(Act(str(event.get("user", "")), str(body.get("team_id") or ""))))

    async def _shortcut(self, ack: Any, body: PayloadBody) -> None:
        await ack()
        self._take(body, payloads.pointed, self.asks.pointed)

    async def _noted(self, ack: Any) -> None:
        await ack()

    async def _view(self, ack: Any, body: PayloadBody) -> None:
        try:
            submitted = payloads.submitted(body)
            act = self.asks.answered_at(submitted)
        except NotOurs as e:
            await ack()
            self._begin("not ours", self._not_ours(body, e))
            return
        form = self._forms.get(act.key)
        if form is None and act.key in self._acted:
            await ack()
            return
        if form is None:
            form = self._begin(act.key, self._form(act, lambda p: self.asks.submitted(submitted, p)))
            self._forms[act.key] = form
            form.add_done_callback(lambda _: self._forms.pop(act.key, None))
        done, _ = await asyncio.wait({form}, timeout=FORM)
        if not done:
            form.add_done_callback(lambda f: self._late(act, f))
        await ack(**(form.result() if done else {}))

    # -- work ------------------------------------------------------------------------------------------------------

    def _take(
        self, body: PayloadBody, read: Callable[[PayloadBody], R], work: Callable[[R, Person], Awaitable[None]]
    ) -> None:
        """Begins the work, unless this act was taken before."""
        try:
            found = read(body)
        except NotOurs as e:
            self._begin("not ours", self._not_ours(body, e))
            return
        if self._first_time(found.act.key):
            self._begin(found.act.key, self._guarded(found.act, lambda person: work(found, person)))

    def _begin(self, name: str, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _first_time(self, key: str) -> bool:
        if key in self._acted:
            return False
        self._acted[key] = None
        if len(self._acted) > REMEMBERED:
            self._acted.popitem(last=False)
        return True

    async def _form(self, act: Act, work: Callable[[Person], Awaitable[Mapping[str, Any]]]) -> Mapping[str, Any]:
        self._first_time(act.key)
        answer = await self._guarded(act, work) or {}
        if answer:  # something was wrong in it: the same form comes again, under the same key
            self._acted.pop(act.key, None)
        return answer

    def _late(self, act: Act, form: asyncio.Task[Mapping[str, Any]]) -> None:
        """The form is closed by now: what was wrong in it is said instead."""
        found = {} if form.cancelled() else form.result()
        errors = [*found.get("errors", {}).values(), *([LATE] if "view" in found else [])]
        for text in errors:
            self._begin("late", self.asks.tell(act, str(text)))

    async def _guarded(self, act: Act, work: Callable[[Person], Awaitable[T]]) -> T | None:
        """The work, for a person who may ask at all; whatever goes wrong is told to them."""
        try:
            async with asyncio.timeout(LONGEST):
                person = await self.asks.who(act)
                if not isinstance(person, Refusal):
                    return await work(person)
                said = person.text
        except NotOurs as e:
            log.info("a press that is none of ours: %s", e)
            said = NOT_OURS
        except Unclear as e:
            said = f"{e} Nothing was changed."
        except Faults as e:
            said = f"The plan has {len(e.faults)} mistakes; `rollback-bot plan lint` shows them. Nothing was changed."
        except (StoreUnavailable, SchemaMismatch) as e:
            said = f"Not done: {e}. Press or type it again when the database is back."
        except Exception:
            ref = secrets.token_hex(4)
            log.exception("fault %s while answering %s", ref, act.key[:100])
            said = f"Something broke in the bot; its log has it under {ref}. `/rollback status` shows what is true now."
        self._acted.pop(act.key, None)
        try:
            await self.asks.tell(act, said)
        except Exception:  # told without the directory, then
            await self.asks.tells.tell(act, Mrkdwn(said))
        return None

    async def _not_ours(self, body: PayloadBody, why: NotOurs) -> None:
        log.info("a payload that cannot be read: %s", why)
        act = payloads.whoever(body)
        if act is not None:
            text = f"I cannot read this: {why}. Nothing was changed." if isinstance(why, NotLegible) else NOT_OURS
            await self.asks.tells.tell(act, Mrkdwn(text))

    # -- HTTP mode -------------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.Response:
        """A request of Slack's, at PATH."""
        try:
            async with asyncio.timeout(SLOW):
                body = await request.clone(client_max_size=BODY).read()
        except TimeoutError:
            return web.json_response({"error": "too slow"}, status=408)
        if not self._signed(request, body):
            return web.json_response({"error": "not signed by Slack with this app's secret, or too old"}, status=401)
        try:
            asked = AsyncBoltRequest(body=body.decode(), query=request.query_string, headers=dict(request.headers))
            answer = await self.bolt.async_dispatch(asked)
        except Exception as e:
            log.info("a request that cannot be read: %s: %s", type(e).__name__, e)
            answer = BoltResponse(status=500)
        if answer.status >= 500:
            return web.json_response({"error": "this cannot be read"}, status=400)
        return await to_aiohttp_response(answer)

    def _signed(self, request: web.Request, body: bytes) -> bool:
        timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
        signature = request.headers.get("X-Slack-Signature", "")
        return verify_signature(self._secret, timestamp, body, signature, time.time())


async def _authorize(team_id: str | None) -> AuthorizeResult:
    """One workspace, and a client of our own: Slack is not asked about a token at each click."""
    return AuthorizeResult(enterprise_id=None, team_id=team_id)
