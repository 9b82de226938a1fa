"""What a person does on the page, as calls of the workspace's driver: the one that tests type and click with.

Invariant: what makes no sense (a button that is gone, somebody who is not there) is said in words and changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bot.playground.workspace.driver import Driver
from bot.playground.workspace.seen import Outcome, Post
from bot.playground.workspace.wire import Json

_ERRORS = {
    "operation_timeout": "The app did not answer in time.",
    "dispatch_failed": "The app could not be reached.",
    "unknown_command": "There is no such command here.",
    "unknown_shortcut": "The app has no such shortcut.",
}
"""What Slack's client says for its own words."""


class Refused(ValueError):
    """What was asked for cannot be done; says why, for people."""


async def do(driver: Driver, user: str, verb: str, args: Mapping[str, Any]) -> Json:
    """What came of it: `error` and `errors` (under inputs, by block_id) as the driver's Outcome has them. Refused."""
    act = _VERBS.get(verb)
    if act is None:
        raise Refused(f"nobody can {verb!r} here; there are {', '.join(_VERBS)}")
    try:
        found = await act(driver, user, args)
    except KeyError as error:
        raise Refused(f"{verb}: {error.args[0] if error.args else error}") from None
    except (LookupError, PermissionError, TypeError, ValueError) as error:
        raise Refused(str(error)) from None
    return _json(found) if isinstance(found, Outcome) else {"ok": True}


def _json(seen: Outcome) -> Json:
    return {"ok": seen.ok, "error": _ERRORS.get(seen.error, seen.error), "errors": dict(seen.errors)}


async def _say(driver: Driver, user: str, args: Mapping[str, Any]) -> None:
    await driver.say(user, args["channel"], args["text"], thread=args.get("thread"))


async def _slash(driver: Driver, user: str, args: Mapping[str, Any]) -> Outcome:
    return await driver.slash(user, args["channel"], args["command"], args["text"], patience=0)


async def _click(driver: Driver, user: str, args: Mapping[str, Any]) -> Outcome:
    return await driver.click(user, args["target"], args["action"], block=args["block"], patience=0)


async def _overflow(driver: Driver, user: str, args: Mapping[str, Any]) -> Outcome:
    return await driver.overflow(user, args["target"], args["value"], menu=args["action"], patience=0)


async def _select(driver: Driver, user: str, args: Mapping[str, Any]) -> Outcome:
    return await driver.select(user, args["target"], args["action"], args["value"], patience=0)


async def _submit(driver: Driver, user: str, args: Mapping[str, Any]) -> Outcome:
    return await driver.submit(user, args["values"], modal=args["view"])


async def _close(driver: Driver, user: str, args: Mapping[str, Any]) -> Outcome:
    return await driver.close(user, everything=bool(args.get("everything")))


async def _home(driver: Driver, user: str, args: Mapping[str, Any]) -> None:
    await driver.home(user, patience=0)


def _post(driver: Driver, user: str, args: Mapping[str, Any]) -> Post:
    post = next((p for p in driver.read(args["channel"], reader=user) if p.ts == args["target"]), None)
    if post is None:
        raise Refused("this message is gone")
    return post


async def _shortcut(driver: Driver, user: str, args: Mapping[str, Any]) -> Outcome:
    return await driver.shortcut(user, _post(driver, user, args), args["callback"], patience=0)


async def _react(driver: Driver, user: str, args: Mapping[str, Any]) -> None:
    driver.react(user, _post(driver, user, args), args["emoji"], on=bool(args["on"]))


_VERBS: Mapping[str, Callable[[Driver, str, Mapping[str, Any]], Awaitable[Outcome | None]]] = {
    "say": _say,
    "slash": _slash,
    "click": _click,
    "overflow": _overflow,
    "select": _select,
    "submit": _submit,
    "close": _close,
    "home": _home,
    "shortcut": _shortcut,
    "react": _react,
}
