"""Journeys walked over real HTTP: what comes is held against the catalogue, and what was made is removed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from bot.adapters.http import HttpEndpoint
from bot.adapters.journeys import MARGIN, Walks
from bot.adapters.session import Session
from bot.catalogue import load_catalogue
from bot.contract import Json
from bot.ports import Reply, Unreachable
from bot.ports.journeys import Walk
from bot.ports.pointers import at
from tests.fixtures.customers import PASSWORD, Customers, customers

FILE = """
roles: {commander: {people: [U1]}, approver: {people: [U2]}}
services:
  shop:
    targets: {api: {http: "http://shop"}}
    journeys:
      payments:
        target: api
        within: 5s
        variables: {password: SHOP_PASSWORD}
        steps:
          - title: sign in
            post: /sessions
            body: {user: synthetic-1, password: "${password}"}
            expect: {status: 201, headers: {content-type: {matches: json}}, json: {/user/name: synthetic-1}}
            capture: {session: /token, basket: "cookie:basket", age: /user/age}
          - title: pay
            post: /payments
            headers: {Authorization: "Bearer ${session}", X-Tenant: synthetic}
            body: {amount: 12.5, reference: "${mark}", basket: "${basket}", age: "${age}", for: "order of ${basket}"}
            expect:
              status: 201
              within: 2s
              json:
                /state: {matches: "^(paid|pending)$"}
                /reference: "${mark}"
                /age: {at_least: 41, at_most: 41}
                /error: {exists: false}
            capture: {payment: /id}
          - {get: "/payments/${payment}", expect: {json: {/amount: 12.5}}}
        clean_up:
          - {delete: "/payments?reference=${mark}"}
          - {delete: "/sessions/${session}"}
      shelf:
        target: api
        reads: true
        steps: [{get: /page, expect: {json: {/items/0/sku: a/b, /ok: true}}}]
      moved: {target: api, reads: true, steps: [{get: /elsewhere}]}
"""


@dataclass
class Remembered:
    """A memory in this process."""

    kept: dict[str, str] = field(default_factory=dict)

    async def begun(self, prefix: str) -> Mapping[str, str]:
        return {name: body for name, body in self.kept.items() if name.startswith(prefix)}

    async def remember(self, name: str, body: str) -> None:
        self.kept[name] = body

    async def forget(self, name: str) -> None:
        self.kept.pop(name, None)


@dataclass
class World:
    shop: Customers
    memory: Remembered
    walks: Walks
    now: float = 1_000_000.0

    async def walk(self, name: str = "payments") -> Walk:
        return await self.walks.walk(name, "api")

    @property
    def clean(self) -> bool:
        return not (self.shop.payments or self.shop.sessions or self.memory.kept)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    journeys = load_catalogue(FILE, "r").services["shop"].journeys
    async with customers() as shop:
        session = Session()
        memory = Remembered()
        found = World(shop, memory, None)  # type: ignore[arg-type]
        found.walks = Walks(
            "shop", journeys, {"api": HttpEndpoint(shop.url, timeout=20.0)}, session,
            {"payments": {"password": PASSWORD}}, memory=memory, clock=lambda: found.now,
        )  # fmt: skip
        yield found
        await session.close()


async def test_a_journey_that_comes_as_expected_is_walked_whole_and_leaves_nothing(world: World) -> None:
    walk = await world.walk()
    assert (walk.done, walk.of, walk.miss, walk.away, walk.left) == (3, 3, None, "", ())
    assert 0 < walk.seconds < 20
    assert world.clean
    paid = next(a for a in world.shop.asked if a.startswith("GET /payments/"))
    assert paid == "GET /payments/p%2F1"  # a captured value stays one part of the path


async def test_what_is_put_into_a_body_keeps_its_type(world: World) -> None:
    await world.walk()
    _, paid = world.shop.bodies
    assert paid == {"amount": 12.5, "reference": paid["reference"], "basket": "b1", "age": 41, "for": "order of b1"}
    assert paid["reference"].startswith("rb-")


@pytest.mark.parametrize(
    ("path", "step", "came"),
    [("/sessions", 1, '502 ({"error": "as asked for"})'), ("/payments", 2, '502 ({"error": "as asked for"})')],
)
async def test_a_step_that_fails_says_which_what_came_and_what_was_expected(
    world: World, path: str, step: int, came: str
) -> None:
    world.shop.broken[path] = 502
    walk = await world.walk()
    assert walk.miss is not None
    assert (walk.done, walk.miss.step, walk.miss.came, walk.miss.expected) == (step - 1, step, came, "201")
    assert walk.miss.request == {1: "sign in (POST /sessions)", 2: "pay (POST /payments)"}[step]


async def test_after_a_failure_what_was_made_is_removed(world: World) -> None:
    world.shop.broken["/payments/p/1"] = 500
    walk = await world.walk()
    assert walk.miss is not None and walk.miss.step == 3
    assert world.clean and walk.left == ()


async def test_a_wrong_value_says_where_and_what_it_was_to_be(world: World) -> None:
    journeys = load_catalogue(FILE.replace("/amount: 12.5", "/amount: {at_most: 12}"), "r").services["shop"].journeys
    walks = Walks(
        "shop", journeys, world.walks.targets, world.walks.session, world.walks.values, memory=world.memory
    )  # fmt: skip
    walk = await walks.walk("payments", "api")
    assert walk.miss is not None
    assert (walk.miss.step, walk.miss.came, walk.miss.expected) == (3, "/amount is 12.5", "at most 12.0")


async def test_no_secret_that_was_sent_or_captured_is_ever_told(world: World) -> None:
    walks = Walks(
        "shop", world.walks.journeys, world.walks.targets, world.walks.session,
        {"payments": {"password": "another-secret"}}, memory=world.memory,
    )  # fmt: skip
    walk = await walks.walk("payments", "api")
    assert walk.miss is not None and walk.miss.came == '401 ({"error": "wrong: …"})'
    assert "another-secret" not in repr(walk) + repr(walks)


async def test_an_answer_that_takes_longer_than_it_may_fails(world: World) -> None:
    file = FILE.replace("within: 2s", "within: 50ms")
    journeys = load_catalogue(file, "r").services["shop"].journeys
    walks = Walks("shop", journeys, world.walks.targets, world.walks.session, world.walks.values, memory=world.memory)
    world.shop.slow["/payments"] = 0.2
    walk = await walks.walk("payments", "api")
    assert walk.miss is not None
    assert (walk.miss.step, walk.miss.came) == (2, "no answer within 0.05 s")


async def test_a_journey_that_takes_longer_than_it_may_fails(world: World) -> None:
    world.shop.slow["/page"] = 0.3
    file = FILE.replace("reads: true\n", "reads: true\n        within: 50ms\n")
    journeys = load_catalogue(file, "r").services["shop"].journeys
    walk = await Walks("shop", journeys, world.walks.targets, world.walks.session).walk("shelf", "api")
    assert walk.miss is not None and walk.miss.came == "no answer within 0.05 s"


async def test_no_connection_is_unknown_and_no_failure(world: World) -> None:
    there = {"api": HttpEndpoint("http://127.0.0.1:9", timeout=1.0)}
    walks = Walks("shop", world.walks.journeys, there, world.walks.session, world.walks.values, memory=world.memory)
    walk = await walks.walk("payments", "api")
    assert walk.miss is None and walk.done == 0
    assert walk.away.startswith("step 1, sign in (POST /sessions): POST api/sessions: no connection to 127.0.0.1:9")


async def test_a_broken_connection_is_unknown_and_what_it_may_have_made_is_removed(world: World) -> None:
    world.shop.drops.add("/payments")
    world.shop.after = True
    walk = await world.walk()
    assert walk.away and walk.miss is None
    assert len(world.shop.bodies) == 2  # it was carried out
    assert walk.left and "the connection broke" in walk.left[0]  # the same path cleans up, and breaks as well
    world.shop.drops.clear()
    world.now += 1000
    again = await world.walk()
    assert again.removed == 1 and again.done == 3 and world.clean


async def test_a_variable_that_is_not_set_is_unknown_and_nothing_is_asked(world: World) -> None:
    walks = Walks(
        "shop", world.walks.journeys, world.walks.targets, world.walks.session,
        lacking={"payments": ["SHOP_PASSWORD"]}, memory=world.memory,
    )  # fmt: skip
    walk = await walks.walk("payments", "api")
    assert walk.away == "SHOP_PASSWORD: not set in the bot's environment"
    assert not world.shop.asked


async def test_a_redirect_is_an_answer_and_is_not_followed(world: World) -> None:
    walk = await world.walk("moved")
    assert walk.miss is not None and (walk.miss.came, walk.miss.expected) == ("302 (302: Found)", "2xx")
    assert world.shop.asked == ["GET /elsewhere"]


async def test_what_a_crash_left_is_removed_by_the_next_walk(world: World) -> None:
    await cut_off_after_payment(world)
    assert len(world.shop.payments) == 1 and len(world.memory.kept) == 1
    world.now += 5.0 + 15.0 + MARGIN + 1
    walk = await world.walk()
    assert (walk.removed, walk.done, walk.left) == (1, 3, ())
    assert world.clean


async def cut_off_after_payment(world: World) -> None:
    world.shop.slow["/payments/p/1"] = 30.0
    task = asyncio.create_task(world.walk())
    async with asyncio.timeout(60):
        await world.shop.waiting.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.shop.slow.clear()


async def test_a_walk_that_may_still_be_under_way_elsewhere_is_left_alone(world: World) -> None:
    await cut_off_after_payment(world)
    walk = await world.walk()
    assert walk.removed == 0 and walk.done == 3
    assert len(world.shop.payments) == 1 and len(world.memory.kept) == 1


@pytest.mark.parametrize(("ahead", "removed"), [(30.0, 0), (86400.0, 1)])
async def test_a_walk_of_a_node_whose_clock_is_a_little_ahead_is_left_alone_too(
    world: World, ahead: float, removed: int
) -> None:
    world.now += ahead
    await cut_off_after_payment(world)
    world.now -= ahead
    assert (await world.walk()).removed == removed


async def test_no_secret_is_remembered_and_what_needs_it_is_told_once(world: World) -> None:
    walks = Walks(
        "shop", world.walks.journeys, world.walks.targets, world.walks.session, world.walks.values,
        secret=lambda value: str(value).startswith("session-of"), memory=world.memory, clock=lambda: world.now,
    )  # fmt: skip
    world.walks = walks
    await cut_off_after_payment(world)
    kept = json.loads(next(iter(world.memory.kept.values())))
    assert kept["values"].keys() == {"mark"} and PASSWORD not in json.dumps(kept)
    world.now += 1000
    walk = await world.walk()
    assert walk.left == (
        f"walk {kept['values']['mark']}: DELETE /sessions/${{session}} needs session, which was not kept",
    )
    assert not world.shop.payments
    assert (await world.walk()).left == ()


async def test_what_was_made_at_another_address_is_told_and_not_looked_for_here(world: World) -> None:
    await cut_off_after_payment(world)
    world.now += 1000
    async with customers() as other:
        there = {"api": HttpEndpoint(other.url)}
        walks = Walks("shop", world.walks.journeys, there, world.walks.session, world.walks.values,
                      memory=world.memory, clock=lambda: world.now)  # fmt: skip
        walk = await walks.walk("payments", "api")
        assert walk.done == 3 and "stood at another address" in walk.left[0]
    assert len(world.memory.kept) == 1


async def test_a_clean_up_that_is_refused_is_told_and_tried_again_by_the_very_next_walk(world: World) -> None:
    world.shop.broken["/sessions/session-of-0-synthetic-1"] = 500
    walk = await world.walk()
    assert walk.done == 3 and "DELETE /sessions/${session} answered 500" in walk.left[0]
    assert len(world.memory.kept) == 1
    world.shop.broken.clear()
    assert (await world.walk()).removed == 1
    assert world.clean


async def test_a_clean_up_that_meets_a_moments_trouble_is_tried_again_by_the_walk_itself(world: World) -> None:
    world.shop.broken["/sessions/session-of-0-synthetic-1"] = 500
    walking = asyncio.create_task(world.walk())
    refused = "DELETE /sessions/session-of-0-synthetic-1"
    while refused not in world.shop.asked:  # noqa: ASYNC110 - what a server hears cannot be waited for otherwise
        await asyncio.sleep(0.01)
    world.shop.broken.clear()
    assert (await walking).left == ()
    assert world.clean


async def test_a_journey_that_changes_something_is_not_walked_without_a_memory(world: World) -> None:
    walks = Walks("shop", world.walks.journeys, world.walks.targets, world.walks.session, world.walks.values)
    with pytest.raises(ValueError, match="nowhere to remember"):
        await walks.walk("payments", "api")
    assert not world.shop.asked


async def test_a_probe_walks_what_only_reads_its_own_way(world: World) -> None:
    asked: list[str] = []

    async def through(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        asked.append(f"{method} {path}")
        return Reply(200, {}, "", {"items": [{"sku": "a/b"}], "ok": True})

    assert (await world.walks.walk("shelf", "api", through)).done == 1
    assert asked == ["GET /page"] and not world.shop.asked
    with pytest.raises(ValueError, match="changes something"):
        await world.walks.walk("payments", "api", through)

    async def gone(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        raise Unreachable("no such pod")

    assert "no such pod" in (await world.walks.walk("shelf", "api", gone)).away


async def test_what_there_is_not_is_told_with_what_there_is(world: World) -> None:
    with pytest.raises(LookupError, match="'payment' on 'api'; there are moved, payments, shelf"):
        await world.walks.walk("payment", "api")
    with pytest.raises(LookupError, match="there are api"):
        await world.walks.walk("payments", "edge")


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", (True, {"a/b": [10, {"~": None}]})),
        ("/a~1b/0", (True, 10)),
        ("/a~1b/1/~0", (True, None)),
        ("/a~1b/2", (False, None)),
        ("/a~1b/01", (False, None)),
        ("/a~1b/-", (False, None)),
        ("/c", (False, None)),
    ],
)
def test_a_pointer_is_read_as_rfc_6901_says(pointer: str, found: tuple[bool, Json]) -> None:
    assert at({"a/b": [10, {"~": None}]}, pointer) == found
