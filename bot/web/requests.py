"""What a request says: its body, the words of its address, its query and its key; anything odd is Malformed or a No."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web
from pydantic import TypeAdapter

from bot.located import quoted
from bot.policy import Person, Why
from bot.store.tokens import Bearer
from bot.web.answers import No
from bot.web.incoming import Malformed, read_json

T = TypeVar("T")
D = TypeVar("D")

BODY_TIME = 10.0
"""Seconds a body may take to arrive."""
PERSON = web.RequestKey("person", Person)
"""Who asks: set before any handler runs."""

BEARER = web.RequestKey("bearer", Bearer)
"""By which token."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@:-]{0,127}|-")
"""Runs, services and versions in an address; "-" is the only open run."""
_KEY = re.compile(r"[!-~]{1,128}")


def via(request: web.Request, way: str) -> str:
    """The way in as it is recorded: with who issued the token."""
    return request[BEARER].via(way) if BEARER in request else way


async def read_body(adapter: TypeAdapter[T], request: web.Request) -> T:
    """The body as a value. Malformed, or No where it does not arrive in time."""
    return read_json(adapter, await raw_body(request))


async def raw_body(request: web.Request) -> bytes:
    """The body as it was sent."""
    try:
        async with asyncio.timeout(BODY_TIME):
            return await request.read()
    except TimeoutError:
        raise No(408, "too-slow", f"The body did not arrive within {BODY_TIME:g} s. Nothing was changed.") from None


def word_in_address(request: web.Request, part: str) -> str:
    """A part of the address; a No where it cannot be the name of anything."""
    found = request.match_info[part]
    if not _WORD.fullmatch(found):
        raise No(404, Why.UNKNOWN, f"There is no {part} of that name.")
    return found


def click_key(request: web.Request) -> str | None:
    """The click's identity, of this person: a delivery that comes twice is carried out once."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Malformed("Idempotency-Key must be 1 to 128 printable characters without blanks.")
    return f"{request[PERSON].id}:{key}"


def in_query(request: web.Request, name: str, read: Callable[[str], T], default: D) -> T | D:
    """A parameter of the query, as `read` makes it of the word. Malformed where it cannot."""
    word = request.query.get(name)
    if word is None:
        return default
    try:
        return read(word)
    except (ValueError, LookupError, OverflowError):
        raise Malformed(f"?{name}={quoted(word)} cannot be read here.") from None


def boolean(word: str) -> bool:
    """`true` or `false`. LookupError."""
    return {"true": True, "false": False}[word]


def name(word: str) -> str:
    """Something that can be a name. ValueError."""
    if not _WORD.fullmatch(word):
        raise ValueError(word)
    return word


def one_of(*words: str) -> Callable[[str], str]:
    """One of these words. LookupError otherwise."""
    return {w: w for w in words}.__getitem__


def between(low: float, high: float) -> Callable[[str], float]:
    """A number in these bounds, both included. ValueError otherwise."""

    def read(word: str) -> float:
        if not low <= (number := float(word)) <= high:
            raise ValueError(word)
        return number

    return read
