"""What does not work with Slack at present: what is left alone for how long, and what people can do about it. Pure.

Trouble belongs to a place: all of Slack, a method, a channel, or one post. It holds up that place and no other.

Invariants:
- while a place is held, one call at a time tries it again, when its time has come;
- what is told stays told until a call there succeeds, and is logged once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.slack.publish.calls import SlackRefused
from bot.steady.outage import Outage

log = logging.getLogger(__name__)

RETRY = 60.0
"""Seconds between two tries of what will hardly pass by itself."""
SOON = 5.0
"""The same after a hint that something changed."""
LONGEST = 30.0
"""Seconds between two tries of what passes by itself."""
SILENT = 3
"""Calls in a row without an answer after which all of Slack counts as down."""
SLACK = "slack"

_TEAM = frozenset({
    "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "access_denied",
    "org_login_required", "ekm_access_denied", "team_access_not_granted", "not_allowed_token_type",
})  # fmt: skip
_CHANNEL = frozenset({"channel_not_found", "not_in_channel", "is_archived", "is_inactive"})
_REINSTALL = "set ROLLBACK_SLACK_BOT_TOKEN to the bot token of the installed app, and restart the bot"
_OURS = "report this line as a fault of the bot; the run goes on, and the command line shows all of it"
_NEXT = {
    "channel_not_found": "check its name in the catalogue; if it is private, type /invite and the bot's name there",
    "not_in_channel": "type /invite and the bot's name in the channel",
    "is_archived": "unarchive the channel, or name another one in the catalogue",
    "is_inactive": "unarchive the channel, or name another one in the catalogue",
}
_MANAGER = "a channel manager or a workspace admin"
_ADMIN = "a workspace admin"
_THERE: Mapping[str, tuple[str, str]] = {
    "restricted_action": (_MANAGER, "let the bot post there: channel settings, Posting permissions"),
    "restricted_action_read_only_channel": (_MANAGER, "the channel is read-only; add the bot to who may post there"),
    "posting_to_channel_denied": (_ADMIN, "let apps post there: Manage members and channels, Channel management"),
    "no_permission": (_ADMIN, "let the bot post there: Channel management, Posting permissions"),
    "external_channel_migrating": (_ADMIN, "the channel is being moved to another organisation: wait for that, or "
                                   "name another channel in the catalogue"),
}  # fmt: skip
"""What keeps the bot out of a whole channel: who can change it, and how."""
_THIS: Mapping[str, tuple[str, str]] = {
    "restricted_action_thread_only_channel": (
        _MANAGER, "the channel takes replies only; allow new messages there, or name another channel in the catalogue"),
    "restricted_action_non_threadable_channel": (
        _MANAGER, "the channel takes no replies; allow threads there, or name another channel in the catalogue"),
    "restricted_action_thread_locked": (_MANAGER, "the thread was locked; unlock it"),
    "slack_connect_file_upload_sharing_blocked": (
        _ADMIN, "files are not allowed in channels shared with others; allow them, or name another channel"),
    "slack_connect_file_link_sharing_blocked": (
        _ADMIN, "links to files are not allowed in channels shared with others; allow them, or name another channel"),
    "messages_tab_disabled": (_ADMIN, "paste `rollback-bot slack manifest` into the app's page, then Reinstall"),
    "edit_window_closed": (_ADMIN, "messages may be changed for a short time only; allow longer: Permissions, Message "
                           "editing. Until then the bot posts a new card once a minute"),
    "cant_update_message": (_ADMIN, "the card belongs to another installation of the app; keep one installed"),
    "update_failed": ("nobody here", "Slack itself fails; the bot posts the card anew once a minute"),
    "file_type_not_allowed": (_ADMIN, "allow this kind of file: Organization settings, Security, File types"),
    "file_uploads_disabled": (_ADMIN, "allow files: workspace settings, Permissions, File uploading"),
    "file_uploads_except_images_disabled": (
        _ADMIN, "only images may be uploaded; allow other files: workspace settings, Permissions, File uploading"),
}  # fmt: skip
"""What Slack's own settings refuse of one post or file: who can change it, and how."""
_EVERYWHERE: Mapping[str, tuple[str, str]] = {
    "message_limit_exceeded": (_ADMIN, "the workspace sends more messages than its plan allows; raise the limit"),
    "two_factor_setup_required": ("whoever installed the app", "set up two-factor sign-in, as is asked for"),
    "enterprise_is_restricted": ("an organisation admin", "let the app be used in this workspace: Integrations, Apps"),
    "accesslimited": (_ADMIN, "access to the workspace is limited at present; let the app in"),
}  # fmt: skip
"""What keeps the bot out of the whole workspace: who can change it, and how."""


@dataclass(slots=True)
class _Hold:
    until: float
    tried: float
    outage: Outage
    text: str = ""
    fails: int = 0


class Troubles:
    """Places that are held. now: seconds of one clock."""

    def __init__(self) -> None:
        self._holds: dict[str, _Hold] = {}
        self._silent = 0

    def faults(self) -> dict[str, str]:
        """Place -> what is wrong there, and the next thing to do."""
        return {place: hold.text for place, hold in self._holds.items() if hold.text}

    def held(self, places: Iterable[str], now: float) -> float:
        """Seconds until something there may be tried; 0: now."""
        return max((self._holds[p].until - now for p in places if p in self._holds), default=0.0)

    def hopeless(self, places: Iterable[str]) -> bool:
        """Whether something there waits for people, not for time."""
        return any(p in self._holds and self._holds[p].text for p in places)

    def trying(self, places: Iterable[str], now: float) -> None:
        """A call is made there: others wait for what comes of it."""
        for place in places:
            if (hold := self._holds.get(place)) is not None and hold.text:
                hold.until, hold.tried = now + RETRY, now

    def well(self, places: Iterable[str]) -> None:
        """A call there was answered."""
        if self._silent >= SILENT:  # all was held for the same reason: let all go
            self._holds = {p: h for p, h in self._holds.items() if h.text}
        self._silent = 0
        for place in places:
            if (hold := self._holds.pop(place, None)) is not None and hold.text:
                hold.outage.up()

    def hint(self, place: str, soon: float) -> None:
        """Something changed: where people are waited for, try again so many seconds after the last try."""
        hold = self._holds.get(place)
        if hold is not None and hold.text:
            hold.until = min(hold.until, hold.tried + soon)

    def wait(self, place: str, seconds: float, now: float) -> None:
        """Leave it alone for so long; nothing is wrong."""
        self._holds[place] = _hold(place, now + seconds, now)

    def silent(self, place: str, why: str, now: float, *, doubtful: bool = False) -> None:
        """No answer came: leave the place alone, longer each time; and all of Slack if this comes in a row. doubtful:
        what was done must be looked for first, which may begin at once."""
        self._silent += 1
        for held in (place, SLACK) if self._silent >= SILENT else (place,):
            hold = self._holds.setdefault(held, _hold(held, now, now))
            hold.until, hold.tried = now + min(LONGEST, 2.0 ** min(hold.fails, 9)), now
            hold.fails += 1
        if doubtful:
            self._holds[place].until = now
        if self._silent >= SILENT and not self._holds[SLACK].text:
            self._tell(SLACK, f"Slack does not answer ({why}). Next: nothing, the bot goes on by itself when it is "
                       "back; until then drive runs with the command line.")  # fmt: skip

    def refused(self, e: SlackRefused, method: str, channel: str, post: str, now: float, *, called: str = "") -> None:
        """Slack said no to a call of this method, in this channel, for this post. called: the channel, for people."""
        if e.code in _TEAM:
            place, what, then = SLACK, "Slack does not let the bot in", _REINSTALL
        elif e.code in _EVERYWHERE:
            place, what, then = SLACK, "the workspace's settings keep the bot out", _told(_EVERYWHERE[e.code])
        elif e.code in _THERE:
            there = called or channel
            place, what, then = channel, f"the settings of {there} keep the bot from posting", _told(_THERE[e.code])
        elif e.code in _THIS:
            place, what = post, f"the settings of {called or channel} refuse {post}"
            then = _told(_THIS[e.code])
        elif e.code == "missing_scope":
            place, what = method, f"Slack does not let the bot call {method}"
            then = f"add the scope {e.needed or 'it needs'} to the app, and install it again"
        elif e.code in _CHANNEL:
            place, what, then = channel, f"cannot write to the channel {called or channel}", _NEXT[e.code]
        else:
            place, what, then = post, f"Slack refuses {post}", _OURS
        self.broken(place, f"{what} ({e.code}). Next: {then}.", now)

    def broken(self, place: str, text: str, now: float) -> None:
        """This will hardly pass by itself."""
        known = self._holds.setdefault(place, _hold(place, now, now))
        known.until, known.tried = now + RETRY, now
        if known.text != text:
            self._tell(place, text)

    def _tell(self, place: str, text: str) -> None:
        hold = self._holds[place]
        if hold.text:  # something else is wrong by now
            log.warning("%s", text)
        hold.text = text
        hold.outage.down(text)


def _hold(place: str, until: float, tried: float) -> _Hold:
    what = "Slack" if place == SLACK else f"Slack, {place}:"
    return _Hold(until, tried, Outage(what, log, words=("does not work", "works again")))


def _told(remedy: tuple[str, str]) -> str:
    who, how = remedy
    return f"{who} can change it: {how}"
