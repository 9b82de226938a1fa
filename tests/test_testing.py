"""`assert_lifecycle` sees what is wrong: actions that break one rule each, against a real shop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from pydantic import Field

from actions.release_switch import ReleaseSwitch, ReleaseSwitchParams
from bot.adapters.http import HttpClient, HttpEndpoint
from bot.contract import (
    Action,
    Change,
    Check,
    Ctx,
    Edit,
    Effect,
    Fact,
    Json,
    NotYet,
    Output,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Status,
    Value,
    Verdict,
)
from bot.handlers.narrow import UndeclaredPort
from bot.ports import Ports, ReadOnly, Record
from bot.testing import Broken, PortsFor, TestCtx, assert_lifecycle, ports, run_check
from tests.fixtures.lone_shop import Shop

BACK = ReleaseSwitchParams(target="shop", release="2.4.0")


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with Shop("2.4.1", delay=0.0) as shop:
        yield shop


@pytest.fixture
async def ports_for(shop: Shop) -> AsyncIterator[PortsFor]:
    http = HttpClient({"shop": HttpEndpoint(shop.url, timeout=5.0)})

    def bound(record: Record) -> Ports:
        return ports(http=http.bind(record))

    yield bound
    await http.close()


async def live(action: Action[Any], shop: Shop, ports_for: PortsFor, params: Params = BACK, **more: Any) -> Change:
    async def drift() -> None:
        await shop.edit("release", release="2.3.9")

    return await assert_lifecycle(action, ports_for, params, world=shop.world, **{"drift": drift, **more})


# -- one broken rule each --------------------------------------------------------------------------------------------


class WritesWhilePlanning(ReleaseSwitch):
    async def plan(self, ctx: ReadCtx, p: ReleaseSwitchParams) -> Change:
        await ctx.ports.http.put("shop", "/release", {"release": "2.4.0"})
        return await super().plan(ctx, p)


class WritesWhilePlanningAndHidesIt(ReleaseSwitch):
    async def plan(self, ctx: ReadCtx, p: ReleaseSwitchParams) -> Change:
        with contextlib.suppress(ReadOnly):
            await ctx.ports.http.put("shop", "/release", {"release": "2.4.0"})
        return await super().plan(ctx, p)


class Unsteady(ReleaseSwitch):
    def __init__(self) -> None:
        self.calls = 0

    async def plan(self, ctx: ReadCtx, p: ReleaseSwitchParams) -> Change:
        self.calls += 1
        return replace(await super().plan(ctx, p), effects=(Effect(f"post number {self.calls}"),))


class SeesOtherwise(ReleaseSwitch):
    async def observe(self, ctx: ReadCtx, p: ReleaseSwitchParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets, "2.4.0")


class SeesTooMuch(ReleaseSwitch):
    async def observe(self, ctx: ReadCtx, p: ReleaseSwitchParams, targets: Collection[str]) -> Mapping[str, Value]:
        return {**await super().observe(ctx, p, targets), "shop/other": 1}


class DoesNothing(ReleaseSwitch):
    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        return Receipt("done")


class NeverArrives(ReleaseSwitch):
    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        raise NotYet("pods are coming up", after=0)


class AlwaysFails(ReleaseSwitch):
    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        raise Retryable("busy", after=0)


class SaysNothing(ReleaseSwitch):
    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        return replace(await super().apply(ctx, p, change), detail="")


class GivesUndeclared(ReleaseSwitch):
    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        return replace(await super().apply(ctx, p, change), output={"release": "2.4.0"})


class DoesNotLook(ReleaseSwitch):
    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        for e in change.edits:
            await ctx.ports.http.put("shop", "/release", {"release": str(e.after)})
        return Receipt("done")


class CannotGoBack(ReleaseSwitch):
    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        await ctx.ports.http.put("shop", "/release", {"release": p.release})
        return Receipt("done")


class ApprovesBlindly(ReleaseSwitch):
    async def plan(self, ctx: ReadCtx, p: ReleaseSwitchParams) -> Change:
        change = await super().plan(ctx, p)
        return replace(change, edits=tuple(replace(e, bound=False) for e in change.edits))


class EditsTwice(ReleaseSwitch):
    async def plan(self, ctx: ReadCtx, p: ReleaseSwitchParams) -> Change:
        change = await super().plan(ctx, p)
        return replace(change, edits=change.edits * 2)


class EditsTooMuch(ReleaseSwitch):
    async def plan(self, ctx: ReadCtx, p: ReleaseSwitchParams) -> Change:
        return Change("large", edits=(Edit("shop/release", "2.4.1", "x" * 5000),))


class WrongNeeds(ReleaseSwitch):
    needs = frozenset({"blobs"})


class Switched(Output):
    edits: int = Field(description="How many edits there were.")


class TellsNothingWithoutWork(ReleaseSwitch):
    Output = Switched

    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        done = await super().apply(ctx, p, change)
        return replace(done, output={"edits": len(change.edits)} if change.edits else {})


class WritesWithoutWork(ReleaseSwitch):
    Output = Switched

    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        if not change.edits:
            await ctx.ports.http.put("shop", "/release", {"release": "2.4.0"})
        return replace(await super().apply(ctx, p, change), output={"edits": len(change.edits)})


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (TellsNothingWithoutWork, "what it gives does not fit its Output"),
        (WritesWithoutWork, "apply of a change that holds nothing writes nothing; it tried: curl -X PUT"),
        (WritesWhilePlanning, "plan writes nothing; it tried: curl -X PUT"),
        (WritesWhilePlanningAndHidesIt, "plan writes nothing; it tried: curl -X PUT"),
        (Unsteady, "the same world gives the same fingerprint"),
        (SeesOtherwise, "observe agrees with plan; observe says shop/release is '2.4.0', not '2.4.1'"),
        (SeesTooMuch, "observe answers for the targets it is asked: shop/release; it gave"),
        (DoesNothing, "apply reaches what plan promised; observe says shop/release is '2.4.1', not '2.4.0'"),
        (NeverArrives, "apply arrives; after 500 looks it still says: pods are coming up"),
        (AlwaysFails, "apply failed 4 times: busy"),
        (SaysNothing, "a receipt says what was done"),
        (GivesUndeclared, "gives release, but declares no Output"),
        (DoesNotLook, "a replay is harmless: at most 0 changing calls; it made 1: curl"),
        (ApprovesBlindly, "drift: the world changed between approval and start, and planning again must show it"),
        (EditsTwice, "a target is edited once"),
        (EditsTooMuch, "shop/release: 5002 bytes; above 4096 it belongs into blobs"),
    ],
)
async def test_a_broken_rule_is_named(shop: Shop, ports_for: PortsFor, action: type[ReleaseSwitch], words: str) -> None:
    with pytest.raises(Broken) as raised:
        await live(action(), shop, ports_for)
    assert f"release.switch: {words}" in str(raised.value)


async def test_an_undo_that_goes_forward_is_named(shop: Shop, ports_for: PortsFor) -> None:
    with pytest.raises(Broken, match=r"undo restores .*; observe says shop/release is '2\.4\.0'"):
        await live(CannotGoBack(), shop, ports_for, replayed=1)


async def test_an_undeclared_port_is_named(shop: Shop, ports_for: PortsFor) -> None:
    with pytest.raises(UndeclaredPort, match="add 'http' to needs"):
        await live(WrongNeeds(), shop, ports_for)


async def test_a_world_without_work_proves_nothing(shop: Shop, ports_for: PortsFor) -> None:
    await shop.edit("release", release="2.4.0")
    with pytest.raises(Broken, match="leaves nothing to do: shop is on 2"):
        await live(ReleaseSwitch(), shop, ports_for)


async def test_leaving_drift_out_is_refused(shop: Shop, ports_for: PortsFor) -> None:
    with pytest.raises(Broken, match="test also a drift between approval and start"):
        await live(ReleaseSwitch(), shop, ports_for, drift=None)


async def test_a_deed_elsewhere_that_nobody_can_see_is_refused(shop: Shop, ports_for: PortsFor) -> None:
    async def nothing() -> None: ...

    with pytest.raises(Broken, match="`elsewhere` changes something that `world` shows"):
        await live(ReleaseSwitch(), shop, ports_for, elsewhere=nothing)


# -- several calls, effects and bounds -------------------------------------------------------------------------------


class CloseParams(Params):
    most: float = Field(100.0, description="Payments that may have been taken.")


class CloseShop(Action[CloseParams]):
    """Closes the shop with a notice (one write), then points it at 2.4.0 (another), and posts a line once."""

    name = "shop.close"
    needs = frozenset({"http"})
    Params = CloseParams

    def __init__(self, posts: list[str] | None = None) -> None:
        self.posts: list[str] = [] if posts is None else posts

    async def plan(self, ctx: ReadCtx, p: CloseParams) -> Change:
        edits = [
            Edit("shop/maintenance", await self.read(ctx, "/maintenance"), {"read_only": True, "notice": "closed"}),
            Edit("shop/release", await self.read(ctx, "/release"), {"release": "2.4.0"}),
        ]
        log = (await ctx.ports.http.get("shop", "/log")).json
        paid = sum(isinstance(line, dict) and line["path"] == "/pay" for line in log) if isinstance(log, list) else 0
        todo = tuple(e for e in edits if e.before != e.after)
        effects = (Effect("post in the channel"),) if todo else ()
        return Change("close the shop", todo, effects, (Fact("payments", paid, ceiling=p.most),))

    async def observe(self, ctx: ReadCtx, p: CloseParams, targets: Collection[str]) -> Mapping[str, Value]:
        return {t: await self.read(ctx, t.removeprefix("shop")) for t in targets}

    async def apply(self, ctx: Ctx, p: CloseParams, change: Change) -> Receipt:
        for e in change.edits:
            path = e.target.removeprefix("shop")
            if await self.read(ctx, path) != e.after:
                await ctx.ports.http.put("shop", path, e.after)  # type: ignore[arg-type]  # no blobs here
        if change.effects:
            await ctx.once("post", self.post)
        return Receipt("closed")

    async def read(self, ctx: ReadCtx, path: str) -> Json:
        return (await ctx.ports.http.get("shop", path)).json

    async def post(self) -> Json:
        self.posts.append("closed")
        return len(self.posts)


class StopsHalfway(CloseShop):
    """Sees the first target only, and takes it for the whole."""

    async def apply(self, ctx: Ctx, p: CloseParams, change: Change) -> Receipt:
        if change.effects and await self.read(ctx, "/maintenance") == change.edits[0].after:
            return Receipt("closed already")
        return await super().apply(ctx, p, change)


def pays(shop: Shop) -> Callable[[], Awaitable[None]]:
    """A customer, after whom there are more payments than the two that may have been taken."""

    async def thrice() -> None:
        async with aiohttp.ClientSession() as customer:
            for _ in range(3):
                await (await customer.post(f"{shop.url}/pay", json={"amount": 1})).release()

    return thrice


FEW = CloseParams(most=2)


async def test_a_crash_between_two_calls_is_survived(shop: Shop, ports_for: PortsFor) -> None:
    change = await live(CloseShop(), shop, ports_for, FEW, exceed=pays(shop))
    assert len(change.edits) == 2


async def test_an_action_that_forgets_the_second_half_after_a_crash_is_found(shop: Shop, ports_for: PortsFor) -> None:
    with pytest.raises(Broken, match="after a crash before changing call 2, apply again arrives all the same"):
        await live(StopsHalfway(), shop, ports_for, FEW, exceed=pays(shop))


async def test_a_ceiling_without_a_test_is_refused(shop: Shop, ports_for: PortsFor) -> None:
    with pytest.raises(Broken, match="test also what exceeds the ceiling of payments"):
        await live(CloseShop(), shop, ports_for, CloseParams())


async def test_a_bound_that_is_not_noticed_is_named(shop: Shop, ports_for: PortsFor) -> None:
    async def nothing() -> None: ...

    with pytest.raises(Broken, match="bound exceeded, and planning again must show it"):
        await live(CloseShop(), shop, ports_for, CloseParams(), exceed=nothing)


async def test_what_goes_through_once_happens_once_per_application(shop: Shop, ports_for: PortsFor) -> None:
    posts: list[str] = []
    ctx = TestCtx(ports_for, {"http"}, acting=True)
    change = await CloseShop(posts).plan(TestCtx(ports_for, {"http"}), CloseParams())
    for _ in range(2):
        await CloseShop(posts).apply(ctx, CloseParams(), change)
    assert (posts, ctx.memo) == (["closed"], {"post": 1})


# -- checks ----------------------------------------------------------------------------------------------------------


class PayingOutput(Output):
    share: float = Field(description="Share of payments that go through.")


class Paying(Check[CloseParams]):
    name = "shop.paying"
    needs = frozenset({"http"})
    Params = CloseParams
    Output = PayingOutput

    def __init__(self, verdict: Verdict, writes: bool = False) -> None:
        self.verdict, self.writes = verdict, writes

    async def run(self, ctx: ReadCtx, p: CloseParams) -> Verdict:
        if self.writes:
            with contextlib.suppress(ReadOnly):
                await ctx.ports.http.put("shop", "/release", {"release": "2.4.0"})
        return self.verdict


GOOD = Verdict(Status.PASS, "all", "all", {"share": 1.0})


async def test_a_good_check_gives_its_verdict(ports_for: PortsFor) -> None:
    assert await run_check(Paying(GOOD), ports_for, CloseParams()) == GOOD


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (Paying(GOOD, writes=True), "a check only reads; it tried: curl"),
        (Paying(replace(GOOD, expected="")), "a verdict says what was observed and what expected"),
        (Paying(replace(GOOD, data={"shar": 1.0})), "does not fit its Output"),
    ],
)
async def test_a_bad_check_is_named(ports_for: PortsFor, check: Paying, words: str) -> None:
    with pytest.raises(Broken, match=words):
        await run_check(check, ports_for, CloseParams())
