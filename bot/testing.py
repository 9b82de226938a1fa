"""What tests of handlers stand on: a context, a few ports in memory, and the contract as one call.

    async def test_lifecycle(shop: Shop, http: HttpClient) -> None:
        await assert_lifecycle(
            ReleaseSwitch(),
            lambda record: ports(http=http.bind(record)),
            ReleaseSwitchParams(target="shop", release="2.4.0"),
            world=shop.world,
            drift=lambda: shop.edit("release", release="2.3.9"),
        )

`assert_lifecycle` does with an action what the engine does, crashes included, against whatever the ports lead to, and
raises `Broken` with the rule that does not hold. A handler gets its ports through the same `narrow` as in production,
and nothing here pretends: no port answers in a handler's place except the ones that the test gave.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from bot.contract import (
    INLINE_LIMIT,
    Action,
    Change,
    Check,
    Handler,
    Json,
    NotYet,
    P,
    Receipt,
    Retryable,
    Value,
    Verdict,
    canonical,
)
from bot.handlers.narrow import PORT_NAMES, narrow
from bot.handlers.rules import of_class, of_source
from bot.ports import Blob, Ports, ReadOnly, Record
from bot.ports.kubernetes import digest
from bot.ports.releases import Served

PortsFor = Callable[[Record], Ports]
"""`record` -> ports whose changing calls go through it, as wiring makes them for each attempt."""
World = Callable[[], Awaitable[Mapping[str, Json]]]
"""All that the test can see of what the action could touch, flat; without what effects leave behind."""
Deed = Callable[[], Awaitable[object]]
"""Something done to the world by somebody else."""

T = TypeVar("T")

NEW_YEAR = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The moment of a test that names none."""
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""What time it is in a test that says nothing else."""
LOOKS = 500
"""NotYets in a row after which nothing will come any more."""
FAILURES = 3
"""Retryable errors that an apply may raise, as in a plan."""
DEATHS = 4
"""Changing calls, from the first on, at which a crash is tried."""


class Broken(AssertionError):
    """A rule of the contract does not hold."""


class Died(BaseException):
    """The process ended right before a changing call; nothing that a handler catches."""


class MemoryBlobs:
    """`ports.blobs` in memory. data: by digest."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    async def put(self, data: bytes, type: str) -> Blob:
        """Keeps the bytes."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.data[digest] = data
        return Blob(digest, len(data), type)

    async def get(self, blob: Blob) -> bytes:
        """The bytes; KeyError, ValueError where the reference is not theirs."""
        data = self.data[blob.digest]
        if len(data) != blob.size:
            raise ValueError(f"{blob.digest} has {len(data)} bytes, and {blob.size} were named")
        return data


class MemoryReleases:
    """`ports.releases` in memory. spells: version -> when it served."""

    def __init__(self, **spells: Sequence[Served]) -> None:
        self.spells = dict(spells)

    async def served(self, version: str) -> Sequence[Served]:
        """When it served."""
        return self.spells.get(version, ())


class MemoryRegistry:
    """`ports.registry` in memory. images: image, by tag or digest -> every digest that it goes by."""

    def __init__(self, images: Mapping[str, Collection[str]] | None = None) -> None:
        self.images = dict(images or {})

    async def has(self, image: str) -> bool:
        """Whether it is there. ValueError for a name that is no image by digest."""
        if not digest(image):
            raise ValueError(f"{image!r} is no image by digest (name@sha256:...)")
        return image in self.images

    async def digests(self, image: str) -> frozenset[str]:
        """What it goes by; empty where it is not there."""
        return frozenset(self.images.get(image, ()))


def ports(**given: object) -> Ports:
    """The given ports, by name; the handler under test finds no other."""
    if unknown := sorted(set(given) - PORT_NAMES):
        raise TypeError(f"no such port: {', '.join(unknown)}; ports are {', '.join(sorted(PORT_NAMES))}")
    return cast(Ports, _Given(given))


class _Given:
    def __init__(self, given: Mapping[str, object]) -> None:
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this test gives no port {name!r}; add it: ports({name}=...)")


class TestCtx:
    """ReadCtx and Ctx for one handler: its declared ports, and nothing written unless `acting`.

    commands: what was recorded before each changing call, the refused ones too; reports: progress shown;
    memo: results of `once`, shared by the attempts of one application; dies_at: the changing call (1 is the first)
    before which the process ends.
    """

    __test__: ClassVar[bool] = False

    def __init__(
        self,
        ports_for: PortsFor,
        needs: Collection[str],
        *,
        acting: bool = False,
        key: str = "run-1/step/1",
        insisted: str = "",
        now: datetime = NEW_YEAR,
        baseline: Mapping[str, Json] | None = None,
        memo: dict[str, Json] | None = None,
        dies_at: int | None = None,
    ) -> None:
        self.key, self.now, self.baseline, self.insisted = key, now, baseline, insisted
        self.memo: dict[str, Json] = {} if memo is None else memo
        self.commands: list[str] = []
        self.reports: list[str] = []
        self.died = False
        self._acting, self._dies_at = acting, dies_at
        self.ports = narrow(ports_for(self._record), needs)

    async def report(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Keeps the line."""
        self.reports.append(text if done is None else f"{text} {done}/{total if total is not None else '?'}")

    async def once(self, name: str, fn: Callable[[], Awaitable[Json]]) -> Json:
        """Calls `fn` unless `memo` has its result."""
        if name not in self.memo:
            self.memo[name] = await fn()
        return self.memo[name]

    async def _record(self, command: str) -> None:
        self.commands.append(command)
        if not self._acting:
            raise ReadOnly(f"tried while only looking: {command}")
        if self._dies_at is not None and len(self.commands) >= self._dies_at:
            self.died = True
            raise Died(command)


def assert_contract(*handlers: type[Handler[Any]]) -> None:
    """Hold the classes of handlers, and the text of their modules, to the rules of docs/handlers.md; for packages that
    bring handlers of their own. Broken names every rule that does not hold."""
    wrong: list[str] = []
    for cls in handlers:
        source, package = Path(inspect.getfile(cls)).read_text(encoding="utf-8"), cls.__module__.partition(".")[0]
        own = package if package not in ("actions", "checks") else ""
        wrong += [f"{cls.name}: {rule}" for rule in (*of_class(cls), *of_source(source, cls.needs, own))]
    if wrong:
        raise Broken("\n".join(wrong))


async def briefly(seconds: float) -> None:
    """How a test waits for what takes effect in real time: looks often, whatever the handler suggests."""
    await asyncio.sleep(min(seconds, 0.02))


async def run_check(
    check: Check[P],
    ports_for: PortsFor,
    params: P,
    *,
    baseline: Mapping[str, Json] | None = None,
    now: datetime = NEW_YEAR,
) -> Verdict:
    """One look of a check, held to the rules: it reads only, says what it saw and wanted, and data fits Output."""
    ctx = TestCtx(ports_for, check.needs, baseline=baseline, now=now)
    verdict = await check.run(ctx, params)
    _rule(not ctx.commands, check, f"a check only reads; it tried: {_listed(ctx.commands)}")
    _rule(bool(verdict.observed and verdict.expected), check, "a verdict says what was observed and what expected")
    if verdict.data:
        _fits(check, verdict.data)
    return verdict


async def assert_lifecycle(
    action: Action[P],
    ports_for: PortsFor,
    params: P,
    *,
    world: World,
    drift: Deed | None,
    elsewhere: Deed | None = None,
    exceed: Deed | None = None,
    replayed: int = 0,
    lose_record: bool = True,
    wait: Callable[[float], Awaitable[None]] = briefly,
) -> Change:
    """Hold an action to the contract, from a world in which it has something to do. Gives the change; Broken.

    world: see `World`; drift: takes a target elsewhere than approved (None only where every edit is between true and
    false, which has no elsewhere); elsewhere: changes something near the targets that must outlive the undo;
    exceed: pushes a measured fact above its ceiling (needed where a fact has one); replayed: changing calls that a
    replay may make (for effects, which have no before); lose_record=False: only for an action that relies on `once`
    and a vendor without idempotency keys; wait: how to wait for NotYet, in virtual time where the world has it.

    Leaves the world wherever `drift` and `exceed` put it.
    """
    life = _Life(action, ports_for, params, world, wait)
    start = dict(await world())
    change = await life.preview(start)
    writes = await life.arrive(change)
    there = dict(await world())
    await life.replay(change, there, replayed, lose_record)
    if change.reversible:
        await life.undo(change, start)
        await life.die(change, writes, start, there)
        if elsewhere is not None:
            await life.undo_beside(change, start, elsewhere)
    two_valued = all(isinstance(v, bool) for e in change.edits for v in (e.before, e.after))
    _rule(two_valued or drift is not None, action, "test also a drift between approval and start")
    if drift is not None:
        await life.go_beyond(change, drift, "drift: the world changed between approval and start")
    ceilings = [f.name for f in change.facts if f.ceiling is not None]
    _rule(not ceilings or exceed is not None, action, f"test also what exceeds the ceiling of {_listed(ceilings)}")
    if exceed is not None:
        await life.go_beyond(change, exceed, "bound exceeded")
    return change


async def assert_idle(action: Action[P], ports_for: PortsFor, params: P, *, world: World) -> Change:
    """Hold an action that only says something to the contract: whatever the world, there is nothing to do, it says why,
    and applying it (people may have been asked all the same) changes nothing. Gives the change; Broken."""
    life = _Life(action, ports_for, params, world, briefly)
    start = dict(await world())
    change, again = await life.plan(), await life.plan()
    life.rule(change.is_noop and bool(change.summary), f"there is never anything to do, and it says why; {change}")
    life.rule(change == again, "the same world gives the same change")
    receipt, ctx = await life.apply(change)
    life.rule(bool(receipt.detail) and not ctx.commands, f"apply changes nothing; it tried: {_listed(ctx.commands)}")
    await life.same(start, "nothing is changed")
    return change


@dataclass
class _Life(Generic[P]):
    """The action under test, and one method for each rule."""

    action: Action[P]
    ports_for: PortsFor
    params: P
    world: World
    wait: Callable[[float], Awaitable[None]]
    applications: int = 0
    memo: dict[str, Json] = field(default_factory=dict)

    # -- the rules -------------------------------------------------------------------------------------------------

    async def preview(self, start: Mapping[str, Json]) -> Change:
        change, again = await self.plan(), await self.plan()
        self.rule(not change.is_noop, f"the world of this test leaves nothing to do: {change.summary}")
        prints = {c.fingerprint(self.action.name) for c in (change, again)}
        self.rule(len(prints) == 1, "the same world gives the same fingerprint; planned twice, it gave two")
        await self.same(start, "plan and observe write nothing")
        self.rule(bool(change.summary), "a change has a summary")
        self.rule(len(change.targets) == len(change.edits), "a target is edited once")
        for e in change.edits:
            size = max(len(canonical(v).encode()) for v in (e.before, e.after))
            self.rule(size <= INLINE_LIMIT, f"{e.target}: {size} bytes; above {INLINE_LIMIT} it belongs into blobs")
            self.rule(e.before != e.after, f"{e.target}: an edit changes something")
        kind = TypeAdapter(Change)
        self.rule(kind.validate_json(kind.dump_json(change)) == change, "a change survives being written to the log")
        await self.stands({e.target: e.before for e in change.edits}, "observe agrees with plan")
        return change

    async def arrive(self, change: Change) -> int:
        """Apply from the start; how many changing calls it took."""
        receipt, ctx = await self.apply(change)
        self.rule(bool(receipt.detail), "a receipt says what was done")
        if self.action.Output is not None or receipt.output:
            _fits(self.action, receipt.output)
        await self.stands({e.target: e.after for e in change.edits}, "apply reaches what plan promised")
        left = await self.plan()
        self.rule(not left.edits, f"planned after apply, nothing is left; it still wants {_listed(left.targets)}")
        if self.action.Output is not None:
            await self.tell(Change(left.summary))
        return len(ctx.commands)

    async def tell(self, nothing: Change) -> None:
        """Where there is nothing to do later steps still read its Output."""
        ctx = TestCtx(self.ports_for, self.action.needs)
        what = "apply of a change that holds nothing"
        receipt = await self.reading(ctx, what, self.action.apply(ctx, self.params, nothing))
        _fits(self.action, receipt.output)

    async def replay(self, change: Change, there: Mapping[str, Json], allowed: int, lose_record: bool) -> None:
        """The attempt was lost after its last effect: it runs again with the change that was stored."""
        memos: list[dict[str, Json]] = [self.memo, {}]
        for memo in memos if lose_record else memos[:1]:
            _, ctx = await self.apply(change, again=True, memo=memo)
            more = len(ctx.commands)
            what = f"a replay is harmless: at most {allowed} changing calls; it made {more}: {_listed(ctx.commands)}"
            self.rule(more <= allowed, what)
            await self.same(there, "a replay changes nothing")

    async def undo(self, change: Change, expected: Mapping[str, Json]) -> None:
        """As the engine does it: look, then put back what still stands where we left it."""
        back, moved = change.undo_from(await self.observe(change.targets))
        self.rule(not moved, f"undo finds each target at before or after; elsewhere: {_listed(moved)}")
        if not back.is_noop:
            await self.apply(back)
            await self.apply(back, again=True)
        await self.stands({e.target: e.before for e in change.edits}, "undo restores the fields it changed")
        await self.same(expected, "undo restores the fields it changed, and no other")

    async def die(self, change: Change, writes: int, start: Mapping[str, Json], there: Mapping[str, Json]) -> None:
        """Crash before each changing call; going on and taking back must both work from there."""
        for call in range(1, min(writes, DEATHS) + 1):
            memo: dict[str, Json] = {}
            await self.apply(change, memo=memo, dies_at=call)
            await self.apply(change, again=True, memo=memo)
            await self.same(there, f"after a crash before changing call {call}, apply again arrives all the same")
            await self.undo(change, start)
            await self.apply(change, dies_at=call)
            await self.undo(change, start)

    async def undo_beside(self, change: Change, start: Mapping[str, Json], elsewhere: Deed) -> None:
        await self.apply(change)
        was = dict(await self.world())
        await elsewhere()
        now = await self.world()
        theirs = {k: now.get(k) for k in {*was, *now} if was.get(k) != now.get(k)}
        self.rule(bool(theirs), "`elsewhere` changes something that `world` shows")
        await self.undo(change, {**start, **theirs})

    async def go_beyond(self, first: Change, deed: Deed, rule: str) -> None:
        approved = await self.plan()
        approved = first if approved.is_noop else approved
        await deed()
        fresh = await self.plan()
        found = fresh.beyond(approved)
        self.rule(bool(found), f"{rule}, and planning again must show it; it planned: {fresh.summary}")

    # -- what the engine does --------------------------------------------------------------------------------------

    async def plan(self) -> Change:
        ctx = TestCtx(self.ports_for, self.action.needs)
        return await self.reading(ctx, "plan", self.action.plan(ctx, self.params))

    async def observe(self, targets: Collection[str]) -> Mapping[str, Value]:
        ctx = TestCtx(self.ports_for, self.action.needs)
        seen = await self.reading(ctx, "observe", self.action.observe(ctx, self.params, targets))
        answer = f"observe answers for the targets it is asked: {_listed(targets)}; it gave {_listed(seen)}"
        self.rule(set(seen) == set(targets), answer)
        return seen

    async def reading(self, ctx: TestCtx, what: str, call: Awaitable[T]) -> T:
        try:
            return await call
        except ReadOnly as error:
            raise Broken(f"{self.action.name}: {what} writes nothing; {error}") from error
        finally:
            self.rule(not ctx.commands, f"{what} writes nothing; it tried: {_listed(ctx.commands)}")

    async def apply(
        self, change: Change, *, again: bool = False, memo: dict[str, Json] | None = None, dies_at: int | None = None
    ) -> tuple[Receipt, TestCtx]:
        """One attempt, followed to its end. again: another attempt of the same application."""
        self.applications += not again
        key = f"run-1/step/{self.applications}"
        self.memo = memo if memo is not None else self.memo if again else {}
        ctx = TestCtx(self.ports_for, self.action.needs, acting=True, key=key, memo=self.memo, dies_at=dies_at)
        try:
            return await self.follow(ctx, change), ctx
        except BaseException:
            if not ctx.died:
                raise
            return Receipt("died"), ctx

    async def follow(self, ctx: TestCtx, change: Change) -> Receipt:
        failures, word = 0, ""
        for _ in range(LOOKS):
            try:
                return await self.action.apply(ctx, self.params, change)
            except NotYet as error:
                word = str(error)
                self.rule(bool(word), "NotYet says what is waited for")
                ctx.now += timedelta(seconds=error.after)
                await self.wait(error.after)
            except Retryable as error:
                failures += 1
                self.rule(failures <= FAILURES, f"apply failed {failures} times: {error}")
                ctx.now += timedelta(seconds=error.after)
                await self.wait(error.after)
        raise Broken(f"{self.action.name}: apply arrives; after {LOOKS} looks it still says: {word}")

    # -- what is compared ------------------------------------------------------------------------------------------

    async def stands(self, wanted: Mapping[str, Value], rule: str) -> None:
        seen = await self.observe(wanted.keys())
        off = [f"{t} is {seen[t]!r}, not {v!r}" for t, v in wanted.items() if seen[t] != v]
        self.rule(not off, f"{rule}; observe says {_listed(off)}")

    async def same(self, wanted: Mapping[str, Json], rule: str) -> None:
        now = await self.world()
        off = [k for k in sorted({*wanted, *now}) if wanted.get(k) != now.get(k)]
        self.rule(not off, f"{rule}; {_listed(f'{k} is {now.get(k)!r}, not {wanted.get(k)!r}' for k in off)}")

    def rule(self, holds: bool, text: str) -> None:
        _rule(holds, self.action, text)


def _rule(holds: bool, handler: Handler[Any], text: str) -> None:
    if not holds:
        raise Broken(f"{handler.name}: {text}")


def _fits(handler: Handler[Any], data: Mapping[str, Json]) -> None:
    if handler.Output is None:
        raise Broken(f"{handler.name}: gives {_listed(data)}, but declares no Output")
    try:
        handler.Output.model_validate(dict(data))
    except ValidationError as error:
        raise Broken(f"{handler.name}: what it gives does not fit its Output; {error}") from error


def _listed(things: Any) -> str:
    return ", ".join(map(str, things)) or "nothing"
