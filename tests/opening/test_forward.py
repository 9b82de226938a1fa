"""Rolling forward again is a run of its own: how it reads, where it is offered, and what it starts from."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

import actions
import checks
from actions.incident_announce import _words as announcement
from bot import wiring
from bot.audit.markdown import export_markdown
from bot.audit.timeline import html
from bot.catalogue import Release
from bot.handlers.registry import Registry
from bot.opening.rollbacks import Wanted
from bot.plan.compile import compile_plan
from bot.policy import Refusal, Why
from bot.ports.notices import Topic
from bot.releases.ledger import Registered
from bot.run import events as ev
from bot.run.answering import Answer
from bot.run.commands import Abort, Approve, Command
from bot.run.fold import evolve
from bot.run.rules import moved
from bot.run.state import Run, new_run
from bot.slack.draw.blocks import buttons_of
from bot.slack.draw.press import Press
from bot.slack.hear import modals, replies
from bot.store.chain import Stored
from bot.telling import plain, view
from bot.telling.by_hand import by_hand, in_words
from tests.fixtures.lone_shop import Shop
from tests.fixtures.whole_bot import House, fill, until, upgraded
from tests.slack.scenes import SCENES, Tape, aborted, verified
from tests.slack.test_render_any import shown

BACKWARD = re.compile(
    r"previous|\brollback\b|\broll\w*( \S+)? back\b|\b(go|goes|going|gone|went|come|comes|came|bring|brings|brought)"
    r"( \S+)? back\b|\bback (after|to)\b|\bbe back\b|\bback between\b",
    re.IGNORECASE,
)
OURS = re.compile(r"rollback-bot|/rollback|: back to 2\.4\.1")
"""Names of the program, and what the handler of a scene says of an undo."""


# -- how it reads ----------------------------------------------------------------------------------------------------


def turned(tape: Tape) -> Iterator[tuple[Run, list[Stored]]]:
    """The same story after each of its events, told of a run that rolls forward; and its rows."""
    first, *rest = (ev.decode(kind, body) for kind, body, _ in tape.log)
    assert isinstance(first, ev.Created)
    plan = first.plan.turned
    first = replace(
        first, purpose="forward", plan=plan, plan_digest=plan.digest, removed=first.target, target=first.removed,
        reason="it was the payment provider", follows="shop-1e", evidence=(),
    )  # fmt: skip
    run, rows = new_run("shop-2f"), []
    for seq, (event, (_, _, at)) in enumerate(zip((first, *rest), tape.log, strict=True), 1):
        run = evolve(run, event, at)
        kind, body = ev.encode(event)
        rows.append(Stored(run.id, seq, round(at * 1e6), kind, body, "", ""))
        yield run, rows


def said(run: Run, rows: list[Stored]) -> Iterator[str]:
    """Everything that anybody reads of a run."""
    yield from (p.message.text for p in shown(run, run.at + 1000).posts)
    yield plain.text(view.view(run, run.at + 5))
    yield by_hand(run, run.at, in_words)
    yield from (replies.standing(run, run.at, None), replies.changes(run, run.at), replies.commands(run))
    yield export_markdown(rows)
    yield html(rows)
    for do in ("retarget", "forward", "abort", "close"):
        yield str(modals.ask(modals.Form(Press(do, run.id), "C1"), run, run.at))


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: s.__name__)
def test_no_text_of_a_roll_forward_speaks_of_going_back(scene: Callable[[], Tape]) -> None:
    *_, (run, rows) = turned(scene())
    lines = "\n".join(said(run, rows)).splitlines()
    assert not [line for line in lines if BACKWARD.search(OURS.sub("", line))]


def test_what_a_roll_forward_is_called() -> None:
    run = next(run for run, _ in turned(verified()))
    assert view.title(run) == "Roll forward of shop: 2.4.0 → 2.4.1"
    cards = "\n".join(p.message.text for run, _ in turned(verified()) for p in shown(run, run.at).posts)
    assert "Roll forward of shop: 2.4.0 → 2.4.1" in cards and "Start roll forward" in cards
    *_, (run, rows) = turned(verified())
    cards = "\n".join(p.message.text for p in shown(run, run.at).posts)
    assert "Forward after" in cards
    assert "<h1>Roll forward of shop: 2.4.0 → 2.4.1</h1>" in html(rows)
    told = announcement(Topic("r", "shop", "2.4.0", "2.4.1", "", "ana", "", forward=True))
    assert told.startswith("shop is being rolled forward again to the newer version: 2.4.0 → 2.4.1.")


def test_the_standard_plan_names_its_steps_for_both_ways() -> None:
    text = resources.files("bot").joinpath("plans", "standard.yaml").read_text(encoding="utf-8")
    plan = compile_plan(text, source="standard", registry=Registry.discover(actions, checks), service=None, roles=None)
    assert plan.turned.turned == plan
    needed = [s for s in plan.turned.steps if _runs(s.when, "forward")]
    titles = [*(s.title for s in needed), *(d.title for d in plan.turned.decisions)]
    assert not [t for t in titles if BACKWARD.search(t)]
    ids = [s.id for s in plan.steps if s.changes and s.id in plan.behind["start"]]
    assert ids.index("allow") < min(ids.index(i) for i in ("pause-workers", "deploy"))
    assert not _runs(plan.by_id["ban"].when, "forward") and not _runs(plan.by_id["allow"].when, "rollback")


def _runs(when: object, purpose: str) -> bool:
    """Whether a step is needed in a run of this purpose."""
    from bot.plan.model import Condition

    return not isinstance(when, Condition) or when.ref != "run.purpose" or (when.value == purpose) is when.equal


# -- where it is offered ---------------------------------------------------------------------------------------------


def offers(run: Run) -> list[str]:
    return [label for p in shown(run, run.at).posts for label, value, _ in buttons_of(p.message) if "forward" in value]


def test_it_is_offered_where_something_was_rolled_back_after_an_abort_too() -> None:
    run = verified().run
    assert moved(run) and offers(run) and set(offers(run)) == {"Roll forward again…"}
    tape = aborted()
    nothing = tape.run
    closed = evolve(replace(nothing, debts={}), ev.Closed("aborted"), nothing.at)
    bare = replace(closed, steps={i: replace(s, made=None) for i, s in closed.steps.items()}, restored=None)
    assert not moved(bare) and offers(bare) == []
    deploy = replace(bare.steps["deploy"], made=tape.run.steps["deploy"].change)
    half = replace(bare, steps={**bare.steps, "deploy": deploy})
    assert moved(half) and offers(half)


# -- what it starts from ---------------------------------------------------------------------------------------------


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Shop("2.4.0") as shop:
        yield await asyncio.to_thread(upgraded, House(tmp_path, shop.url))


@pytest.fixture
async def bot(house: House) -> AsyncIterator[wiring.Bot]:
    async with wiring.running(house.settings) as bot:
        await fill(bot, house)
        await bot.releases.served("shop", "2.4.0", bot.clock(), "ci")
        yield bot


async def known(bot: wiring.Bot, version: str, state: str) -> Registered:
    """The release, once the ledger has heard of the run's end."""
    async with asyncio.timeout(60):
        while True:
            found = await bot.releases.get("shop", version)
            if found is not None and found.state == state:
                return found
            await asyncio.sleep(0.02)


async def say(bot: wiring.Bot, run: str, who: str, command: Command) -> None:
    found = await bot.rollbacks.command(run, command, await bot.people.person(who), "test")
    assert isinstance(found, Answer), found


async def decided(bot: wiring.Bot, run: str) -> None:
    for who, name in (("ana", "start"), ("cho", "backend")):
        asked = await until(bot, run, lambda r, name=name: r.asked[name].opened is not None)  # type: ignore[misc]
        await say(bot, run, who, Approve(name, asked.card(name)))


async def rolled_back(bot: wiring.Bot) -> Run:
    run = await bot.rollbacks.open(Wanted("shop", "checkout fails", "2.3.9"), await bot.people.person("ana"), "test")
    assert isinstance(run, Run)
    await decided(bot, run.id)
    return await until(bot, run.id, lambda r: r.closed is not None)


async def forward(bot: wiring.Bot, run: str) -> Run | Refusal:
    return await bot.rollbacks.forward(run, "it was the provider", await bot.people.person("ana"), "test")


async def test_it_is_a_run_of_its_own_purpose_with_both_releases_pinned_and_lifts_the_ledgers_ban(
    bot: wiring.Bot,
) -> None:
    back = await rolled_back(bot)
    assert back.created is not None and back.target is not None
    assert not (await known(bot, "2.4.0", "banned")).serves
    run = await forward(bot, back.id)
    assert isinstance(run, Run) and run.created is not None and run.created.follows == back.id
    assert run.purpose == "forward"
    assert (run.created.removed, run.created.target) == (back.target, back.created.removed)
    assert run.created.evidence == (f"takes back {back.id}, which removed 2.4.0: checkout fails",)
    await decided(bot, run.id)
    over = await until(bot, run.id, lambda r: r.closed is not None)
    assert over.closed is not None and over.closed.outcome == "verified"
    assert (await known(bot, "2.4.0", "candidate")).serves
    assert (await known(bot, "2.3.9", "candidate")).reason == "", "the one that was good is never banned"
    again = await forward(bot, run.id)
    assert isinstance(again, Run) and again.purpose == "rollback" and again.plan == back.plan


async def test_by_another_plan_it_stays_a_roll_forward_between_the_same_releases(bot: wiring.Bot) -> None:
    back = await rolled_back(bot)
    run = await forward(bot, back.id)
    assert isinstance(run, Run) and run.created is not None
    other = await bot.rollbacks.replan(run.id, "typed", "a phrase is safer", await bot.people.person("ana"), "test")
    assert isinstance(other, Run) and other.created is not None and other.plan.name == "typed"
    assert other.purpose == "forward" and other.created.follows == back.id
    assert (other.created.removed, other.created.target) == (run.created.removed, run.created.target)


async def test_it_is_refused_after_an_abort_that_had_changed_nothing(bot: wiring.Bot) -> None:
    run = await bot.rollbacks.open(Wanted("shop", "checkout fails", "2.3.9"), await bot.people.person("ana"), "test")
    assert isinstance(run, Run)
    await say(bot, run.id, "ana", Abort("it was not us"))
    over = await until(bot, run.id, lambda r: r.closed is not None)
    no = await forward(bot, over.id)
    assert isinstance(no, Refusal) and no.why is Why.NOT_NOW
    assert (
        no.text
        == f"{run.id} changed nothing of which release runs, so there is nothing to take back. Nothing was opened."
    )


async def test_it_is_refused_where_another_release_runs_by_now(bot: wiring.Bot) -> None:
    back = await rolled_back(bot)
    await bot.releases.record("shop", Release("2.4.2"), by="ci", serving_since=bot.clock())
    no = await forward(bot, back.id)
    assert isinstance(no, Refusal) and no.why is Why.NOT_NOW
    assert no.text.startswith(f"shop runs 2.4.2 by now, of which {back.id} knows nothing. Nothing was opened.")


def test_releases_that_an_aborted_rollback_tried_have_to_go_as_well() -> None:
    created = next(run for run, _ in turned(verified())).created
    assert created is not None
    run = evolve(new_run("r"), replace(created, given_up=(Release("2.3.9"),)), 0.0)
    assert [r.version for r in run.outgoing] == ["2.3.9", "2.4.0"]
    old = ev.decode(*ev.encode(created))
    assert isinstance(old, ev.Created) and old.given_up == ()
