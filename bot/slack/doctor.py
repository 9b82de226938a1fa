"""What can be wrong between the bot and Slack, looked at from outside, and the next thing to do about each.

Invariants:
- it posts nothing and changes nothing, and needs no running bot;
- a connection of its own is opened only where no bot runs: Slack gives each click to one connection of the app, and
  one that lands here would be lost;
- what could not be looked at is said to be so, never called fine.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from bot.catalogue import Catalogue, Channels
from bot.ports import Trouble, Unreachable
from bot.slack.manifest import EVENTS_PATH, scopes
from bot.slack.workspace.channels import BROKEN, SlackChannels, words

State = Literal["ok", "look", "fault"]
PATIENCE = 10.0
"""Seconds that one answer may take."""
SKEW = 60.0
"""Seconds that the clocks may differ: Slack's signatures are good for five minutes."""
REINSTALL = "paste `rollback-bot slack manifest` into the app's page (App Manifest), then Reinstall to Workspace"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. next: what to do, empty where all is well."""

    name: str
    state: State
    text: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """What the bot is told about Slack. bot_url: where the bot itself listens, empty where none runs now."""

    mode: Literal["socket", "http"]
    api_url: str = "https://slack.com/api/"
    bot_token: str = ""
    app_token: str = ""
    signing_secret: str = ""
    team: str = ""
    bot_url: str = ""
    trust: ssl.SSLContext | None = None

    @property
    def client(self) -> AsyncWebClient:
        """A client with the bot's token."""
        return AsyncWebClient(self.bot_token, base_url=self.api_url, timeout=int(PATIENCE), ssl=self.trust)


async def examine(
    slack: SlackSettings, catalogue: Catalogue, clock: Callable[[], float], cards: Mapping[str, Sequence[Any]]
) -> AsyncIterator[Finding]:
    """Everything, one finding after another. cards: name -> blocks, asked of Slack's own validator."""
    good, found = await _token(slack, clock)
    for finding in found:
        yield finding
    if slack.mode == "socket":
        yield await _socket(slack)
    else:
        yield await _signature(slack, clock)
    if good:
        for finding in await _channels(slack, catalogue, clock):
            yield finding
        for finding in await _groups(slack, catalogue):
            yield finding
        yield await _cards(slack, cards)


# -- the token ---------------------------------------------------------------------------------------------------------


async def _token(slack: SlackSettings, clock: Callable[[], float]) -> tuple[bool, list[Finding]]:
    """(whether the token opens anything, findings)"""
    if not slack.bot_token.startswith("xoxb-"):
        what = "ROLLBACK_SLACK_BOT_TOKEN is missing" if not slack.bot_token else "is no bot token (xoxb-…)"
        return False, [Finding("token", "fault", what, "copy it from the app's page, OAuth & Permissions")]
    try:
        answer = await slack.client.auth_test()
    except BROKEN as error:
        return False, [_refused("token", error, "ROLLBACK_SLACK_BOT_TOKEN, from OAuth & Permissions of the app's page")]
    found = [Finding("token", "ok", f"@{answer['user']} in {answer['team']} ({answer['team_id']})")]
    if slack.team and slack.team != answer["team_id"]:
        what = f"the token is of {answer['team_id']}, ROLLBACK_SLACK_TEAM says {slack.team}"
        found = [Finding("token", "fault", what, "take the token of that workspace, or correct ROLLBACK_SLACK_TEAM")]
    headers = {str(k).lower(): str(v) for k, v in answer.headers.items()}
    return True, [*found, _scopes(headers.get("x-oauth-scopes")), _clocks(headers.get("date"), clock())]


def _scopes(header: str | None) -> Finding:
    if header is None:
        return Finding("scopes", "look", "Slack did not say which it granted", "see OAuth & Permissions, Scopes")
    granted = {s.strip() for s in header.split(",")}
    if missing := sorted(scopes() - granted):
        return Finding("scopes", "fault", f"not granted: {', '.join(missing)}", REINSTALL)
    if more := sorted(granted - scopes()):
        return Finding("scopes", "look", f"more than the bot uses: {', '.join(more)}", f"to drop them: {REINSTALL}")
    return Finding("scopes", "ok", f"all {len(granted)} granted")


def _clocks(date: str | None, now: float) -> Finding:
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return Finding("clock", "look", "Slack did not say what time it is")
    skew = now - theirs
    if abs(skew) <= SKEW:
        return Finding("clock", "ok", f"within {max(1, round(abs(skew)))} s of Slack's")
    way = "ahead of" if skew > 0 else "behind"
    text = f"{abs(skew):.0f} s {way} Slack's: signed requests are refused at 300 s"
    return Finding("clock", "fault", text, "set this host's clock (NTP)")


# -- hearing Slack -----------------------------------------------------------------------------------------------------


async def _socket(slack: SlackSettings) -> Finding:
    """The app-level token; and, where no bot runs, a connection until Slack's hello."""
    if not slack.app_token.startswith("xapp-"):
        what = "ROLLBACK_SLACK_APP_TOKEN is missing" if not slack.app_token else "is no app-level token (xapp-…)"
        hint = "make one on the app's page, Basic Information, App-Level Tokens, with scope connections:write"
        return Finding("socket", "fault", what, hint)
    client = AsyncWebClient(base_url=slack.api_url, timeout=int(PATIENCE), ssl=slack.trust)
    try:
        answer = await client.apps_connections_open(app_token=slack.app_token)
    except BROKEN as error:
        return _refused("socket", error, "the app-level token, and that Socket Mode is on")
    if slack.bot_url:
        return Finding("socket", "ok", "Slack offers a connection; not taken, because the bot runs (its own: readyz)")
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.ws_connect(str(answer["url"])) as socket,
        ):
            hello = json.loads((await socket.receive(PATIENCE)).data)
    except (*BROKEN, ValueError, TypeError) as error:
        hint = "let this host open WebSockets (wss, port 443) to Slack; a proxy may be in the way"
        return Finding("socket", "fault", f"offered, but cannot be opened ({words(error)})", hint)
    others = int(hello.get("num_connections") or 1) - 1
    if others > 0:
        hint = "two bots of one app share the clicks between them: stop the other, or give it an app of its own"
        return Finding("socket", "look", f"opened; {others} more of this app are open", hint)
    return Finding("socket", "ok", "opened, and Slack said hello")


async def _signature(slack: SlackSettings, clock: Callable[[], float]) -> Finding:
    """The bot answers what is signed with our secret, and nothing else."""
    hint = "copy ROLLBACK_SLACK_SIGNING_SECRET from the app's page, Basic Information"
    if not slack.signing_secret:
        return Finding("signature", "fault", "ROLLBACK_SLACK_SIGNING_SECRET is missing", hint)
    if not slack.bot_url:
        return Finding("signature", "look", "there is a secret; the bot does not run, so it was not tried",
                       "start the bot, then ask the doctor again")  # fmt: skip
    url = slack.bot_url.rstrip("/") + EVENTS_PATH
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
            good = await _challenged(session, url, slack.signing_secret, clock())
            bad = await _challenged(session, url, slack.signing_secret + "x", clock())
    except BROKEN as error:
        return Finding("signature", "fault", f"{url}: {words(error)}", "see the bot's log")
    if good == 404:
        return Finding("signature", "fault", f"the bot hears nothing at {url}", "restart it with ROLLBACK_SLACK=http")
    if good != 200:
        return Finding("signature", "fault", f"the bot refuses what is signed with this secret ({good})",
                       "restart the bot with the secret that stands in this environment")  # fmt: skip
    if bad == 200:
        return Finding("signature", "fault", "the bot takes what is signed with another secret",
                       "stop it: anybody may speak as anybody")  # fmt: skip
    return Finding("signature", "ok", "the bot takes what is signed, and refuses what is not")


async def _challenged(session: aiohttp.ClientSession, url: str, secret: str, now: float) -> int:
    """The status that a signed challenge is answered with; 0 where the answer is another one."""
    body = json.dumps({"type": "url_verification", "challenge": "rollback-bot-doctor", "token": ""})
    at = str(int(now))
    digest = hmac.new(secret.encode(), f"v0:{at}:{body}".encode(), hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json", "X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={digest}",
    }  # fmt: skip
    async with session.post(url, data=body, headers=headers) as answer:
        text = await answer.text()
        return answer.status if answer.status != 200 or "rollback-bot-doctor" in text else 0


# -- who hears the bot -------------------------------------------------------------------------------------------------


async def _channels(slack: SlackSettings, catalogue: Catalogue, clock: Callable[[], float]) -> Iterable[Finding]:
    named: dict[str, list[str]] = {}
    for service in catalogue.services.values():
        for use in Channels.__dataclass_fields__:
            for channel in getattr(service.channels, use):
                named.setdefault(channel, []).append(f"{service.name} {use}")
    channels = SlackChannels(slack.client, clock)
    try:
        trouble = await channels.trouble(named)
        outside = {name for name in named if (c := await channels.find(name)) is not None and not c.inside}
    except Unreachable as error:
        return [Finding("channels", "fault", str(error), "see scopes, above")]
    bare = sorted(s.name for s in catalogue.services.values() if not s.channels.incident)
    hint = "name one under services.<name>.channels.incident of the catalogue"
    return [
        *(_channel(name, uses, trouble.get(name), name not in outside) for name, uses in named.items()),
        *(Finding(f"channel of {s}", "look", "no incident channel is named", hint) for s in bare),
    ]


def _channel(name: str, uses: Sequence[str], trouble: Trouble | None, inside: bool) -> Finding:
    label, of = f"channel {name}", f"for {', '.join(uses)}"
    if trouble is None:
        return Finding(label, "ok", f"{'the bot is in it' if inside else 'the bot comes in when it first posts'}; {of}")
    what, _, hint = trouble.what.partition(": ")
    return Finding(label, "fault" if trouble.cut_off else "look", f"{what}; {of}", hint)


async def _groups(slack: SlackSettings, catalogue: Catalogue) -> list[Finding]:
    """Every user group that a role or an on-call schedule names, by id or handle."""
    used: dict[str, list[str]] = {}
    for role in catalogue.roles.values():
        for group in role.groups:
            used.setdefault(group, []).append(role.name)
        for group in role.on_call.groups:
            used.setdefault(group, []).append(f"{role.name} on call")
    try:
        listed = (await slack.client.usergroups_list(include_users=True, include_disabled=True))["usergroups"]
    except BROKEN as error:
        return [_refused("user groups", error, "scopes, above")] if used else []
    known: dict[str, Mapping[str, Any]] = {key: g for g in listed for key in (g["id"], g["handle"])}
    return [_group(name, known.get(name.removeprefix("@")), roles) for name, roles in used.items()]


def _group(name: str, group: Mapping[str, Any] | None, roles: Sequence[str]) -> Finding:
    label, of = f"user group {name}", f"for {', '.join(roles)}"
    if group is None:
        hint = "correct it in the catalogue: its handle, or its id (S…, in the group's menu, Copy group ID)"
        return Finding(label, "fault", f"there is none of this id or handle; {of}", hint)
    if group.get("date_delete"):
        return Finding(label, "fault", f"is disabled; {of}", "enable it in Slack, or name another in the catalogue")
    if not (members := group.get("users") or ()):
        return Finding(label, "fault", f"nobody is in it; {of}", "put people into it, or name another in the catalogue")
    handle = f"@{group['handle']}, " if group.get("handle") != name else ""
    return Finding(label, "ok", f"{handle}{len(members)} {'person' if len(members) == 1 else 'people'}; {of}")


async def _cards(slack: SlackSettings, cards: Mapping[str, Sequence[Any]]) -> Finding:
    """Slack's own word on the blocks of a whole sample run."""
    for name, blocks in cards.items():
        try:
            await slack.client.api_call("blocks.validate", json={"blocks": list(blocks)})
        except BROKEN as error:
            hint = "this version of the bot draws what Slack refuses: take the one before it, and report this line"
            return Finding("cards", "fault", f"{name}: {words(error)}", hint)
    return Finding("cards", "ok", f"Slack takes all {len(cards)}")


def _refused(name: str, error: BaseException, what: str) -> Finding:
    said = words(error)
    if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
        return Finding(name, "fault", f"Slack does not answer ({said})", "see whether this host reaches slack.com:443")
    return Finding(name, "fault", f"Slack refuses it ({said})", f"check {what}")
