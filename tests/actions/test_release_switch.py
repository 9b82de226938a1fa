"""`release.switch` against a real shop."""

from __future__ import annotations

from typing import Any

import pytest

from actions.release_switch import ReleaseSwitch, ReleaseSwitchParams
from bot.contract import Change, Edit, Fatal, NotYet, Receipt, Retryable
from bot.testing import PortsFor, TestCtx, assert_lifecycle
from tests.fixtures.lone_shop import Fault, Shop

BACK = ReleaseSwitchParams(target="shop", release="2.4.0")
CHANGE = Change("shop: 2.4.1 -> 2.4.0", edits=(Edit("shop/release", "2.4.1", "2.4.0"),))


async def test_lifecycle(shop: Shop, ports_for: PortsFor, clock: Any) -> None:
    change = await assert_lifecycle(
        ReleaseSwitch(),
        ports_for,
        BACK,
        world=shop.world,
        drift=lambda: shop.edit("release", release="2.3.9"),
        elsewhere=lambda: shop.edit("maintenance", read_only=False, notice="back in a minute"),
        wait=clock.wait,
    )
    assert change == CHANGE


async def test_a_service_that_is_there_already_is_left_alone(shop: Shop, ports_for: PortsFor) -> None:
    change = await plan(ports_for, "2.4.1")
    assert change == Change("shop is on 2.4.1 already")


async def test_it_waits_until_the_release_serves(shop: Shop, ports_for: PortsFor, clock: Any) -> None:
    with pytest.raises(NotYet, match=r"waiting for shop to serve 2\.4\.0: 2\.4\.1 serves"):
        await apply(ports_for)
    await clock.wait(3.0)
    assert await apply(ports_for) == Receipt("shop: 2.4.1 -> 2.4.0")
    assert len(shop.log) == 1


async def test_a_service_that_restarts_is_waited_for(shop: Shop, ports_for: PortsFor, clock: Any) -> None:
    shop.break_next(Fault(path="/healthz", answer="drop"))
    with pytest.raises(NotYet, match="waiting for shop to serve"):
        await apply(ports_for)


async def test_the_write_carries_version_and_key(shop: Shop, ports_for: PortsFor, clock: Any) -> None:
    with pytest.raises(NotYet):
        await apply(ports_for)
    (line,) = shop.log
    assert (line["if_match"], line["key"]) == ('"1"', "run-1/step/1")


async def test_a_release_that_the_service_lacks_is_fatal_with_its_words(shop: Shop, ports_for: PortsFor) -> None:
    change = await plan(ports_for, "9.9.9")
    with pytest.raises(Fatal, match=r"refused \(422\), there is no release 9\.9\.9; there are") as raised:
        await apply(ports_for, change)
    assert raised.value.hint == "choose a release that the service has"


async def test_somebody_elses_switch_is_not_overwritten(shop: Shop, ports_for: PortsFor) -> None:
    await shop.edit("release", release="2.3.9")
    with pytest.raises(Fatal, match=r"is on 2\.3\.9: somebody switched it"):
        await apply(ports_for)
    assert not shop.log


async def test_a_write_in_between_is_noticed_and_looked_at_again(shop: Shop, ports_for: PortsFor) -> None:
    shop.break_next(Fault(method="PUT", status=412))
    with pytest.raises(Retryable, match="written by somebody else just now"):
        await apply(ports_for)


@pytest.mark.parametrize("served", [True, False])
async def test_a_lost_answer_is_tried_again_and_switches_once(
    shop: Shop, ports_for: PortsFor, clock: Any, served: bool
) -> None:
    shop.break_next(Fault(method="PUT", serve=served, answer="drop"))
    with pytest.raises(Retryable, match="whether it took the change is unknown"):
        await apply(ports_for)
    with pytest.raises(NotYet):
        await apply(ports_for)
    assert len(shop.log) == 1


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(answer="drop")])
async def test_a_service_in_trouble_can_be_asked_again(shop: Shop, ports_for: PortsFor, fault: Fault) -> None:
    shop.break_next(fault)
    with pytest.raises(Retryable):
        await plan(ports_for, "2.4.0")


async def test_a_page_that_is_no_pointer_is_fatal(shop: Shop, ports_for: PortsFor) -> None:
    params = ReleaseSwitchParams(target="shop", release="2.4.0", path="/maintenance")
    with pytest.raises(Fatal, match="answered 200, no release"):
        await ReleaseSwitch().plan(TestCtx(ports_for, {"http"}), params)


async def plan(ports_for: PortsFor, release: str) -> Change:
    params = ReleaseSwitchParams(target="shop", release=release)
    return await ReleaseSwitch().plan(TestCtx(ports_for, {"http"}), params)


async def apply(ports_for: PortsFor, change: Change = CHANGE) -> Receipt:
    return await ReleaseSwitch().apply(TestCtx(ports_for, {"http"}, acting=True), BACK, change)
