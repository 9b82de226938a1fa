"""`service.quiesce` against a real shop."""

from __future__ import annotations

import pytest

from actions.service_quiesce import ServiceQuiesce, ServiceQuiesceParams
from bot.contract import Change, Edit, Fatal, Receipt, Retryable
from bot.playground.single import Fault, Shop
from bot.testing import PortsFor, TestCtx, assert_lifecycle

SHOP = ServiceQuiesceParams(target="shop")
CHANGE = Change("shop: read-only, writes are refused", edits=(Edit("shop/maintenance/read_only", False, True),))


async def test_lifecycle(shop: Shop, ports_for: PortsFor) -> None:
    change = await assert_lifecycle(
        ServiceQuiesce(),
        ports_for,
        SHOP,
        world=shop.world,
        drift=None,
        elsewhere=lambda: shop.edit("maintenance", notice="back in a minute"),
    )
    assert change == CHANGE


async def test_what_others_made_read_only_is_left_to_them(shop: Shop, ports_for: PortsFor) -> None:
    await shop.edit("maintenance", read_only=True)
    change = await ServiceQuiesce().plan(TestCtx(ports_for, {"http"}), SHOP)
    assert change == Change("shop is read-only already, which is not ours to lift")


async def test_a_lost_answer_is_tried_again_and_writes_once(shop: Shop, ports_for: PortsFor) -> None:
    shop.break_next(Fault(method="PUT", answer="drop"))
    with pytest.raises(Retryable):
        await apply(ports_for)
    assert await apply(ports_for) == Receipt(CHANGE.summary)
    assert len(shop.log) == 1


@pytest.mark.parametrize("status", [412, 500, 503])
async def test_a_write_that_did_not_go_through_can_be_tried_again(shop: Shop, ports_for: PortsFor, status: int) -> None:
    shop.break_next(Fault(method="PUT", status=status))
    with pytest.raises(Retryable, match=str(status)):
        await apply(ports_for)


async def test_a_refusal_is_fatal(shop: Shop, ports_for: PortsFor) -> None:
    shop.break_next(Fault(method="PUT", status=403))
    with pytest.raises(Fatal, match=r"PUT shop/maintenance: refused \(403\)"):
        await apply(ports_for)


async def test_a_page_without_the_switch_is_fatal(shop: Shop, ports_for: PortsFor) -> None:
    with pytest.raises(Fatal, match="no read_only"):
        await ServiceQuiesce().plan(TestCtx(ports_for, {"http"}), ServiceQuiesceParams(target="shop", path="/release"))


async def apply(ports_for: PortsFor) -> Receipt:
    return await ServiceQuiesce().apply(TestCtx(ports_for, {"http"}, acting=True), SHOP, CHANGE)
