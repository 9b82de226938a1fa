"""What a run is opened with, and what people say to it: only what may be recorded, only releases of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot import wiring
from bot.catalogue import Release
from bot.opening.rollbacks import Wanted
from bot.policy import Actor, Refusal, Why
from bot.run.answering import Answer
from bot.run.commands import Admit, Approve, Retarget
from bot.run.events import Aborted
from bot.run.rules import begun
from bot.run.state import Run
from tests.fixtures.lone_shop import Shop
from tests.fixtures.whole_bot import PLAN, SECRET, House, fill, upgraded

WANTED = Wanted("shop", "checkout fails")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Shop("2.4.1") as shop:
        yield await asyncio.to_thread(upgraded, House(tmp_path, shop.url))


@pytest.fixture
async def bot(house: House) -> AsyncIterator[wiring.Bot]:
    async with wiring.running(house.settings) as bot:
        await fill(bot, house)
        yield bot


async def opened(bot: wiring.Bot, wanted: Wanted = WANTED) -> Run | Refusal:
    return await bot.rollbacks.open(wanted, await bot.people.person("ana"), "test")


@pytest.mark.parametrize(
    ("was", "holds", "where"),
    [
        ("with: {target: api}\n    - id: switch", f"with: {{target: api, path: /{SECRET}}}\n    - id: switch",
         "(secret): plan standard, step quiesce, path. Name"),
        ("title: Go read-only", "title: Bearer abcdefgh12345678", "(bearer): plan standard, in a text"),
    ],
)  # fmt: skip
async def test_a_secret_in_a_plan_is_refused_before_anything_is_recorded(
    house: House, bot: wiring.Bot, was: str, holds: str, where: str
) -> None:
    assert was in PLAN
    (house.folder / "plans" / "standard.yaml").write_text(PLAN.replace(was, holds))
    preview = await bot.rollbacks.preview(WANTED, await bot.people.person("ana"))
    for no in (await opened(bot), preview):
        assert isinstance(no, Refusal) and no.why is Why.BAD_INPUT
        assert where in no.text and "Nothing was opened" in no.text and SECRET not in no.text
    assert await bot.store.heads() == []


async def test_a_secret_in_a_limit_is_refused_by_its_name(house: House) -> None:
    catalogue = house.folder / "rollback.yaml"
    limits = "floor: 2.3.0, limits: {api_token: s3cr3t-of-somebody}"
    catalogue.write_text(catalogue.read_text().replace("floor: 2.3.0", limits))
    async with wiring.running(house.settings) as bot:
        await fill(bot, house)
        no = await opened(bot)
    assert (
        isinstance(no, Refusal)
        and "(token): the catalogue, limit api_token of shop" in no.text
        and "s3cr3t" not in no.text
    )


async def test_a_command_names_a_release_and_the_ledger_says_what_it_is(bot: wiring.Bot) -> None:
    run = await opened(bot)
    assert isinstance(run, Run)
    ana = await bot.people.person("ana")

    async def say(command: Retarget | Admit, key: str | None = None) -> Answer | Refusal:
        return await bot.rollbacks.command(run.id, command, ana, "test", key=key)

    for release, why, text in (
        (Release("9.9"), Why.UNKNOWN, "shop has no release '9.9'. Possible: "),
        (Release("2.3.9", images={"api": "evil"}), Why.BAD_INPUT, "release: give its version only"),
        (Release("2.4.1"), Why.NOT_NOW, "Not 2.4.1: the one to be removed"),
    ):
        no = await say(Retarget(release, "that one is bad too"))
        assert isinstance(no, Refusal) and no.why is why and no.text.startswith(text)
    yes = await say(Retarget(Release("2.3.9"), "that one is bad too"), "click-1")
    assert isinstance(yes, Answer) and "go back to 2.3.9" in yes.text
    again = await say(Retarget(Release("2.3.9"), "that one is bad too"), "click-1")
    assert isinstance(again, Refusal)
    proposed = next(iter((await bot.store.load(run.id)).proposals.values())).release
    registered = await bot.releases.get("shop", "2.3.9")
    assert registered is not None and proposed == registered.release != Release("2.3.9")


@pytest.mark.parametrize(("after", "judged"), [("1h", ", stable"), ("7d", "not yet the 7 d that count as stable")])
async def test_a_service_says_how_long_a_release_must_have_served_to_be_stable(
    house: House, after: str, judged: str
) -> None:
    catalogue = house.folder / "rollback.yaml"
    catalogue.write_text(catalogue.read_text().replace("floor: 2.3.0", f"floor: 2.3.0, stable_after: {after}"))
    async with wiring.running(house.settings) as bot:
        await fill(bot, house)
        run = await opened(bot, Wanted("shop", "checkout fails", "2.4.0"))
    assert isinstance(run, Run) and run.created is not None and judged in run.created.evidence[0]


async def test_before_anything_has_begun_another_plan_takes_its_place_and_both_runs_say_so(bot: wiring.Bot) -> None:
    old, ana = await opened(bot), await bot.people.person("ana")
    assert isinstance(old, Run)
    new = await bot.rollbacks.replan(old.id, "typed", "only the api is bad", ana, "test", key="click-1")
    assert isinstance(new, Run) and new.created is not None and new.plan.name == "typed" and new.open
    assert new.created.instead_of == old.id and not new.created.follows
    assert [a.id for a in new.created.barred] == ["ana"], "who asked for the first does not approve the second either"
    assert new.created.reason == WANTED.reason and new.target == old.target
    assert new.created.evidence[-1] == f"instead of {old.id}, which followed plan standard: only the api is bad"
    old = await bot.store.load(old.id)
    assert old.closed is not None and old.closed.outcome == "aborted" and not old.debts
    assert old.abort_reason == "plan typed instead: only the api is bad"
    again = await bot.rollbacks.replan(old.id, "typed", "only the api is bad", ana, "test", key="click-1")
    assert isinstance(again, Refusal) and len(await bot.store.heads()) == 2


async def test_another_plan_is_refused_once_something_has_begun_or_where_it_is_not_ones_to_ask(bot: wiring.Bot) -> None:
    run = await opened(bot)
    assert isinstance(run, Run)
    run_id = run.id

    async def refused(who: str, plan: str = "typed") -> str:
        found = await bot.rollbacks.replan(run_id, plan, "only the api is bad", await bot.people.person(who), "test")
        assert isinstance(found, Refusal)
        return found.text

    assert "needs a commander" in await refused("ben") and "@ana commands this run" in await refused("dee")
    assert "follows plan standard already" in await refused("ana", "standard")
    assert "there is no plan 'none'" in await refused("ana", "none")
    assert begun(run) == ""
    ana = await bot.people.person("ana")
    await bot.rollbacks.command(run.id, Approve("start", run.card("start")), ana, "test")
    assert "Too late for another plan: start has begun" in await refused("ana")
    gone = Aborted(Actor.of(ana, "test"), "too late", "typed")
    assert "another plan cannot take this one's place any more" in str(await bot.engine.submit(run.id, gone))
    assert (await bot.store.load(run.id)).aborted is None


async def test_only_plans_that_fit_a_service_and_bring_a_release_back_are_offered(
    house: House, bot: wiring.Bot
) -> None:
    (house.folder / "plans" / "edge-only.yaml").write_text(PLAN.replace("approver: 1", "edge-crew: 1"))
    found = bot.rollbacks.fitting(bot.catalogue.services["shop"])
    assert found == ["standard", "typed"]


async def test_what_nobody_could_decide_is_said_before_and_opened_only_despite_it(
    house: House, bot: wiring.Bot
) -> None:
    (house.folder / "plans" / "standard.yaml").write_text(PLAN.replace("approver: 1", "approver: 9"))
    no = await opened(bot)
    assert isinstance(no, Refusal) and no.why is Why.IMPOSSIBLE
    assert "Nobody can pass 1 of the plan's decisions: backend: " in no.text
    assert "open it all the same, and those decisions need broken glass" in no.text and "--" not in no.text
    run = await opened(bot, replace(WANTED, despite=True))
    assert isinstance(run, Run) and [*run.impossible] == ["backend"]
