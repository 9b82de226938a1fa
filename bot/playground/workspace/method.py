"""A Web API method: its name, arguments, scopes and rate, and the function that answers it.

Invariants: a method runs only for a token of its type with one of its scopes, with typed arguments, and within its
rate; whatever else it refuses, it refuses with a `SlackError`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from bot.playground.workspace.core import Core
from bot.playground.workspace.people import Channel
from bot.playground.workspace.rates import Rate, Rates
from bot.playground.workspace.sockets import Sockets
from bot.playground.workspace.state import Message, State
from bot.playground.workspace.wire import Arg, Json, SlackError, invalid, spec

T = TypeVar("T")
TokenType = Literal["bot", "app"]


@dataclass(frozen=True)
class Call:
    """One call that may be made. args: typed; missing ones are absent."""

    core: Core
    rates: Rates
    sockets: Sockets
    args: Json

    @property
    def state(self) -> State:
        """What the workspace remembers."""
        return self.core.state

    @property
    def me(self) -> str:
        """The app's bot user."""
        return self.state.app.bot_user

    def text(self, name: str, default: str = "") -> str:
        """A string argument."""
        return str(self.args.get(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean argument."""
        return bool(self.args.get(name, default))

    def need(self, *scopes: str) -> None:
        """One of these scopes. SlackError missing_scope."""
        granted = self.state.app.scopes
        if scopes and not granted & set(scopes):
            provided = ",".join(sorted(granted))
            raise SlackError("missing_scope", more={"needed": ",".join(scopes), "provided": provided})

    def seen(self, channel_id: str) -> Channel:
        """A conversation by id that the app may know of. SlackError channel_not_found."""
        channel = self.state.channels.get(channel_id)
        if channel is None or (channel.letter != "channel" and self.me not in channel.members):
            raise SlackError("channel_not_found")
        return channel

    def inside(self, channel_id: str) -> Channel:
        """A conversation by id that the app is in. SlackError."""
        channel = self.seen(channel_id)
        if self.me not in channel.members:
            raise SlackError("not_in_channel")
        return channel

    def message(self, channel: str, ts: str) -> Message:
        """A message. SlackError message_not_found."""
        found = self.state.message(channel, ts)
        if found is None:
            raise SlackError("message_not_found")
        return found

    def page(self, items: Sequence[T], *, default: int, most: int = 1000) -> tuple[Sequence[T], str]:
        """(the items that were asked for, the cursor of the next ones). SlackError."""
        limit = int(self.args.get("limit", 0)) or default
        if not 0 < limit <= most:
            raise SlackError("invalid_limit")
        start = 0
        if cursor := self.text("cursor"):
            try:
                start = int(base64.b64decode(cursor).decode().removeprefix("next:"))
            except ValueError as error:
                raise SlackError("invalid_cursor") from error
        after = start + limit
        following = base64.b64encode(f"next:{after}".encode()).decode() if after < len(items) else ""
        return items[start:after], following


Run = Callable[[Call], Json]


@dataclass(frozen=True)
class Method:
    """One method. scopes: any one of them will do; takes: which token."""

    name: str
    args: Mapping[str, Arg]
    scopes: tuple[str, ...]
    rate: Rate
    takes: TokenType
    run: Run


METHODS: dict[str, Method] = {}


def method(
    name: str, args: str = "", *, rate: Rate, scopes: Sequence[str] = (), takes: TokenType = "bot"
) -> Callable[[Run], Run]:
    """Registers a function as a Web API method; args: see `wire.spec`."""

    def register(run: Run) -> Run:
        METHODS[name] = Method(name, spec(args), tuple(scopes), rate, takes, run)
        return run

    return register


def documents(value: Any, error: str) -> list[Json] | None:
    """An array of objects, or nothing. SlackError with this code for anything else."""
    if value is None or value == "":
        return None
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise SlackError(error)
    return value


def number_of(text: str, name: str) -> float:
    """A timestamp argument as a number. SlackError."""
    try:
        return float(text)
    except ValueError:
        raise invalid(f"must provide a number [json-pointer:/{name}]") from None
