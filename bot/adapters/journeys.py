"""`ports.journeys` over real HTTP: a synthetic customer's requests, asserted step by step, and cleaned up.

Invariants:
- only requests of the catalogue are made, to its targets, each once; no redirect is followed;
- before the first request of a walk that changes something, what its clean-up needs is remembered outside this process;
  it is forgotten once the clean-up has succeeded. So a walk that a crash cut off is cleaned up by the next one;
- a walk that may still be under way somewhere is left alone: only older ones are cleaned up, and those that ended and
  left something;
- no secret is remembered: a value that looks like one, or goes into a header, is not kept, and a clean-up that would
  need it is told as left undone.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Protocol
from urllib.parse import quote

from yarl import URL

from bot.adapters.http import HttpEndpoint, exchange
from bot.adapters.session import Session
from bot.ports import Json, Reply, Unreachable
from bot.ports.journeys import MARK, Assertion, ExpectedAnswer, Fetch, Journey, Miss, Request, Walk
from bot.ports.pointers import at

NAMED = re.compile(r"\$\{([a-z_][a-z0-9_]*)\}")
PREFIX = "journey/"
"""What begun walks are remembered under, with service, journey, target and mark."""
CLEAN_UP = 15.0
"""Seconds that a clean-up may take; what is not done by then is left to the next walk."""
AGAIN = (0.5, 2.0)
"""Seconds until one that failed is tried again: what others do with the same rows at that moment passes."""
MARGIN = 60.0
"""Seconds beyond a walk's own limits after which it is no longer under way anywhere."""
SHOWN = 120
"""Characters of a body or value that are shown."""
_GONE = (404, 410)


class WalkMemory(Protocol):
    """Where begun walks are remembered, for every node."""

    async def begun(self, prefix: str) -> Mapping[str, str]:
        """Name -> body, of names that begin so."""
        ...

    async def remember(self, name: str, body: str) -> None:
        """Keep it; again replaces the body."""
        ...

    async def forget(self, name: str) -> None:
        """It is over; again is harmless."""
        ...


@dataclass(frozen=True, eq=False)
class Walks:
    """Implements `bot.ports.journeys.Journeys` for one service.

    lacking: environment variables of journeys that are not set; values: journey -> variable -> its value; secret:
    whether a value looks like one; clock: seconds since the epoch.
    """

    service: str
    journeys: Mapping[str, Journey]
    targets: Mapping[str, HttpEndpoint]
    session: Session
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    lacking: Mapping[str, Sequence[str]] = field(default_factory=dict)
    secret: Callable[[Json], bool] = lambda value: False
    memory: WalkMemory | None = None
    clock: Callable[[], float] = time.time

    def bind(self, memory: WalkMemory) -> Walks:
        """The same, remembering there."""
        return Walks(
            self.service, self.journeys, self.targets, self.session, self.values, self.lacking, self.secret, memory,
            self.clock,
        )  # fmt: skip

    @property
    def catalogued(self) -> Mapping[str, Journey]:
        """See the port."""
        return self.journeys

    async def close(self) -> None:
        """End every connection. Harmless again."""
        await self.session.close()

    async def walk(self, name: str, target: str, through: Fetch | None = None) -> Walk:
        """See the port."""
        journey = self.journeys.get(name)
        if journey is None or target not in journey.targets:
            known = ", ".join(sorted(self.journeys if journey is None else journey.targets)) or "none"
            raise LookupError(f"there is no journey {name!r} on {target!r}; there are {known}")
        if through is not None and not journey.reads:
            raise ValueError(f"{name} changes something: it is walked over the service's own way in, never past it")
        if missing := self.lacking.get(name):
            return Walk(0, len(journey.steps), 0.0, away=f"{', '.join(missing)}: not set in the bot's environment")
        one = _Walk(self, journey, target, through, {**self.values.get(name, {}), MARK: f"rb-{token_hex(6)}"})
        return await one.whole()

    def key(self, journey: str, target: str, mark: str = "") -> str:
        """What a walk is remembered under."""
        return f"{PREFIX}{self.service}/{journey}/{target}/{mark}"


@dataclass
class _Walk:
    """One walk under way. values: variables, and what was captured so far."""

    of: Walks
    journey: Journey
    target: str
    through: Fetch | None
    values: dict[str, Json]

    async def whole(self) -> Walk:
        removed, left = (0, [""]) if self.journey.reads else await self._sweep()
        await self._remember()
        began = time.monotonic()
        try:
            done, miss, away = await self._steps()
        except Exception:
            await self._ended()
            raise
        seconds = time.monotonic() - began
        left += [] if self.journey.reads else [await self._ended(away)]
        total = len(self.journey.steps)
        return Walk(done, total, seconds, miss, away, tuple(filter(None, left)), removed)

    # -- the steps -------------------------------------------------------------------------------------------------

    async def _steps(self) -> tuple[int, Miss | None, str]:
        """How many came as expected; what did not; why nothing is known."""
        until = time.monotonic() + self.journey.within
        for i, request in enumerate(self.journey.steps, 1):
            rest = until - time.monotonic()
            within = request.expect.within
            limit = rest if within is None else min(within, rest)
            try:
                async with asyncio.timeout(max(limit, 0.0)):
                    reply = await self._ask(request, self.values)
            except TimeoutError:
                whole = within is None or rest < within
                came = f"no answer within {self.journey.within:g} s" if whole else f"no answer within {within:g} s"
                return i - 1, Miss(i, request.words, came, "all of it by then" if whole else "one by then"), ""
            except Unreachable as error:
                return i - 1, None, f"step {i}, {request.words}: {self._safe(str(error), 300)}"
            except ValueError as error:
                return i - 1, Miss(i, request.words, self._safe(str(error), 300), "a request that can be made"), ""
            found = self._missed(request.expect, reply) or self._capture(request, reply)
            if found is not None:
                return i - 1, Miss(i, request.words, *found), ""
            if request.capture:
                await self._remember()
        return len(self.journey.steps), None, ""

    async def _ask(self, request: Request, values: Mapping[str, Json]) -> Reply:
        """One request. Unreachable, ValueError (what was put in makes no request), TimeoutError."""
        there = self.of.targets[self.target]
        path = filled(request.path, values, quoted=True)
        headers = {name: filled(text, values) for name, text in request.headers.items()}
        if any(not text.isprintable() for text in headers.values()):
            raise ValueError("a header would hold a character that has no place there")
        if self.through is not None:
            return await self.through(request.method, path, headers)
        url: URL = there.below(path)
        data = None
        if request.body is not None:
            data = json.dumps(body(request.body, values), ensure_ascii=False, allow_nan=False).encode()
            headers = {"Content-Type": "application/json", **headers}
        what = f"{request.method} {self.target}{request.path}"
        sent = {**there.sent(), **headers}
        return await exchange(self.of.session.opened, what, request.method, url, sent, data, there.timeout)

    def _missed(self, expect: ExpectedAnswer, reply: Reply) -> tuple[str, str] | None:
        """What came and what was expected, where it is not that."""
        good = reply.status in expect.status if expect.status else 200 <= reply.status < 300
        if not good:
            said = self._safe(reply.text, SHOWN)
            return f"{reply.status}{f' ({said})' if said else ''}", expect.words
        for name, conditions in expect.headers.items():
            there = name in reply.headers
            if bad := self._unmet(conditions, reply.headers.get(name), there):
                return f"header {name} {self._shown(reply.headers.get(name), there)}", f"{bad}"
        for pointer, conditions in expect.json.items():
            there, value = at(reply.json, pointer)
            if bad := self._unmet(conditions, value, there):
                where = pointer or "the document"
                return f"{where} {self._shown(value, there)}", f"{bad}"
        return None

    def _unmet(self, conditions: Sequence[Assertion], value: Json, there: bool) -> Assertion | None:
        filled_in = (
            Assertion(c.rule, body(c.value, self.values)) if isinstance(c.value, str) and c.rule == "is" else c
            for c in conditions
        )
        return next((c for c in filled_in if not met(c, value, there)), None)

    def _capture(self, request: Request, reply: Reply) -> tuple[str, str] | None:
        for name, source in request.capture.items():
            there, value = captured(reply, source)
            if not there or value is None or isinstance(value, dict | list):
                return f"{source or 'the document'} {self._shown(value, there)}", f"a value for ${{{name}}}"
            self.values[name] = value
        return None

    # -- cleaning up -----------------------------------------------------------------------------------------------

    @property
    def _key(self) -> str:
        return self.of.key(self.journey.name, self.target, str(self.values[MARK]))

    @property
    def _place(self) -> str:
        return self.of.targets[self.target].where.digest

    async def _remember(self, *, over: bool = False) -> None:
        """What a clean-up by somebody else needs. over: the walk has ended. Whatever the memory raises."""
        if self.journey.reads:
            return
        if self.of.memory is None:
            raise ValueError(f"{self.journey.name} is not walked: there is nowhere to remember what it makes")
        headers = {n for r in self.journey.clean_up for text in r.headers.values() for n in NAMED.findall(text)}
        needed = {n for r in self.journey.clean_up for n in _names(r)} - headers - {*self.journey.variables}
        kept = {n: v for n, v in self.values.items() if n in needed and (n == MARK or not self.of.secret(v))}
        began = {"at": self.of.clock(), "place": self._place, "values": kept, "over": over}
        await self.of.memory.remember(self._key, json.dumps(began))

    async def _ended(self, away: str = "") -> str:
        """Cleans up after this walk; why something may be left, "" where nothing is. A target that answers (not `away`)
        is asked again, as no other walk may come; else the next walk tries it."""
        end = time.monotonic() + CLEAN_UP
        fault = await self._clean_up(self.values, self._key)
        for pause in AGAIN if not away else ():
            if not fault or time.monotonic() + pause > end:
                break
            await asyncio.sleep(pause)
            fault = await self._clean_up(self.values, self._key)
        if fault:
            await self._remember(over=True)
        return fault

    async def _sweep(self) -> tuple[int, list[str]]:
        """Cleans up after earlier walks that never ended: how many, and what could not be."""
        if self.of.memory is None:
            return 0, []
        removed, left = 0, []
        limit = self.journey.within + CLEAN_UP + MARGIN
        for name, text in (await self.of.memory.begun(self.of.key(self.journey.name, self.target))).items():
            try:
                began = json.loads(text)
                age, place, values = self.of.clock() - float(began["at"]), began["place"], dict(began["values"])
            except (ValueError, KeyError, TypeError):  # of another version
                await self.of.memory.forget(name)
                continue
            if (
                not began.get("over") and abs(age) < limit
            ):  # nodes' clocks differ: one of a moment ahead may be under way as well
                continue
            if place != self._place:
                left.append(f"walk {values.get(MARK, '')} was made when {self.target} stood at another address")
                continue
            variables = self.of.values.get(self.journey.name, {})
            if fault := await self._clean_up({**variables, **values}, name, earlier=True):
                left.append(fault)
            removed += not fault
        return removed, left

    async def _clean_up(self, values: Mapping[str, Json], name: str, *, earlier: bool = False) -> str:
        """Every request of the clean-up that can be made; why something may be left, "" where nothing is.

        earlier: of a walk that never ended, of which nobody knows all that it captured; what will never be known is
        told once."""
        left: list[str] = []
        never: list[str] = []
        try:
            async with asyncio.timeout(CLEAN_UP):
                for request in self.journey.clean_up:
                    if lacking := sorted({*_names(request)} - values.keys()):
                        # In a walk of our own the step that gives it was not reached: there is nothing to remove.
                        never += [f"{request.words} needs {', '.join(lacking)}, which was not kept"] if earlier else []
                        continue
                    left += await self._removed(request, values)
        except TimeoutError:
            left.append(f"not done within {CLEAN_UP:g} s")
        if not left and self.of.memory is not None:
            await self.of.memory.forget(name)
        return f"walk {values.get(MARK, '')}: {'; '.join([*left, *never])}" if left or never else ""

    async def _removed(self, request: Request, values: Mapping[str, Json]) -> list[str]:
        try:
            reply = await self._ask(request, values)
        except (Unreachable, ValueError) as error:
            return [self._safe(str(error), 300)]
        good = (200 <= reply.status < 300) or reply.status in _GONE
        if reply.status in request.expect.status or (not request.expect.status and good):
            return []
        return [f"{request.words} answered {reply.status}"]

    # -- what may be shown -----------------------------------------------------------------------------------------

    def _shown(self, value: Json, there: bool) -> str:
        if not there:
            return "is not there"
        if self.of.secret(value):
            return "is something that looks like a secret"
        return f"is {self._safe(json.dumps(value, ensure_ascii=False), SHOWN)}"

    def _safe(self, text: str, limit: int) -> str:
        """One line without the values that were put in or captured."""
        hidden = [str(v) for n, v in self.values.items() if n != MARK and len(str(v)) >= 6]
        for value in sorted(hidden, key=len, reverse=True):
            text = text.replace(value, "…")
        line = " ".join(text.split())
        return line if len(line) <= limit else f"{line[: limit - 1]}…"


def filled(text: str, values: Mapping[str, Json], *, quoted: bool = False) -> str:
    """The text with every `${name}` replaced; quoted: as a part of a path."""

    def put(found: re.Match[str]) -> str:
        value = _plain(values[found[1]])
        return quote(value, safe="") if quoted else value

    return NAMED.sub(put, text)


def body(value: Json, values: Mapping[str, Json]) -> Json:
    """A JSON value with every `${name}` in its texts replaced; a text that is nothing else becomes the value itself."""
    if isinstance(value, str):
        whole = NAMED.fullmatch(value)
        return values[whole[1]] if whole else filled(value, values)
    if isinstance(value, dict):
        return {k: body(v, values) for k, v in value.items()}
    return [body(v, values) for v in value] if isinstance(value, list) else value


def captured(reply: Reply, source: str) -> tuple[bool, Json]:
    """Whether an answer holds what is captured, and what it is."""
    kind, colon, name = source.partition(":")
    if colon and kind == "header":
        return name.lower() in reply.headers, reply.headers.get(name.lower())
    if colon and kind == "cookie":
        given = re.search(rf"(?:^|,\s*){re.escape(name)}=([^;,]*)", reply.headers.get("set-cookie", ""))
        return given is not None, given[1] if given else None
    return at(reply.json, source)


def met(condition: Assertion, value: Json, there: bool) -> bool:
    """Whether a value is as it must be. A boolean is no number, and true is not 1."""
    wanted = condition.value
    if condition.rule == "exists":
        return there is bool(wanted)
    if not there:
        return False
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match condition.rule:
        case "is":
            return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
        case "matches":
            return re.search(str(wanted), _plain(value)) is not None
        case "at_least":
            return number and value >= wanted  # type: ignore[operator]
        case _:
            return number and value <= wanted  # type: ignore[operator]


def _names(request: Request) -> list[str]:
    texts = [request.path, *request.headers.values(), json.dumps(request.body)]
    return [name for text in texts for name in NAMED.findall(text)]


def _plain(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
