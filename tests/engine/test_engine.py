"""The engine on both databases: what people approved is what happens, once, is recorded, and can be undone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import psycopg
import pytest

import migrations
from bot.contract import Change, Edit, Fatal, Json, NotYet, ReadCtx, Retryable
from bot.handlers.registry import Registry
from bot.plan.model import REF
from bot.policy import Actor, Refusal, Why
from bot.ports import Unreachable
from bot.run import events as ev
from bot.run.commands import Abort, Accept, Adopt, Agree, Approve, HandOver, Restore, Resume, Retry, Skip, Stop, Undo
from bot.store.log import Store
from tests.engine.conftest import SECRET, Desk, desk
from tests.engine.documents import ANA, BEN, CHO, EVE, DocSet, SetParams, World, check, gate, plan, put, start, undo

ENDED = ("done", "skipped", "accepted", "not needed", "adopted", "failed")


async def test_a_run_goes_from_plan_to_verified_and_closes_itself(bot: Desk) -> None:
    pause = put("pause", after=["start"], uses="doc.hold", decision="backend")
    run_id = await bot.open(
        plan(
            start(),
            pause,
            put("deploy", after=["pause"], decision="backend"),
            check("health", "deploy", after=["deploy"], passes=2, every=0.02),
            undo("resume", pause, after=["health"]),
            check("verify", "deploy", after=["resume"], phase="verify"),
            decisions=[gate("backend", "pause", "deploy")],
        )
    )
    bot.world.docs["pause"] = "old"
    await bot.approve(run_id, "start", ANA)
    no = await bot.approve(run_id, "backend", ANA)
    assert (isinstance(no, Refusal) and no.why is Why.BARRED and "@ben" in no.text) or "@cho" in no.text
    assert bot.world.writes == []
    await bot.approve(run_id, "backend", CHO)
    run = await bot.until(run_id, lambda r: r.closed)

    assert run.closed is not None and run.closed.outcome == "verified" and run.closed.by is None
    assert bot.world.docs == {"pause": "old", "deploy": "new"}
    assert [(p, v) for p, v, _ in bot.world.writes] == [("pause", "new"), ("deploy", "new"), ("pause", "old")]
    assert not run.debts


async def test_a_stranger_is_refused_before_any_role_is_looked_at(bot: Desk) -> None:
    run_id = await bot.open(plan(start(), put("a", after=["start"])))
    no = await bot.approve(run_id, "start", EVE)
    assert isinstance(no, Refusal) and no.why is Why.NOT_YOURS


async def test_two_simultaneous_clicks_count_once(bot: Desk) -> None:
    run_id = await bot.open(plan(put("a", decision="a"), decisions=[gate("a", "a")]))
    run = await bot.until(run_id, lambda r: r.asked["a"].opened)
    click = Approve("a", run.card("a"))
    answers = await asyncio.gather(
        bot.say(run_id, BEN, click), bot.say(run_id, CHO, click), bot.say(run_id, BEN, click)
    )
    assert sum(not isinstance(x, Refusal) for x in answers) == 1
    await bot.step(run_id, "a", lambda s: s.end == "done")
    assert len(bot.world.writes) == 1 and (await bot.kinds(run_id)).count("approved") == 1


async def test_drift_between_approval_and_start_asks_again(bot: Desk) -> None:
    bot.world.docs["b"] = "old"
    bot.world.hold["a"] = asyncio.Event()
    run_id = await bot.open(
        plan(put("a", decision="a"), put("b", after=["a"], decision="b"), decisions=[gate("a", "a"), gate("b", "b")])
    )
    await bot.approve(run_id, "b", CHO)
    await bot.approve(run_id, "a", CHO)
    await bot.until(run_id, lambda r: bot.world.entered["a"])
    bot.world.docs["b"] = "somebody else"
    bot.world.hold["a"].set()
    step = await bot.step(run_id, "b", lambda s: s.drifts == 1 and s.attempt is None)
    assert step.released is None and bot.world.docs["b"] == "somebody else"
    await bot.approve(run_id, "b", CHO)
    await bot.step(run_id, "b", lambda s: s.end == "done")
    assert bot.world.docs["b"] == "new"


async def test_an_edit_that_alters_nothing_is_no_drift(bot: Desk) -> None:
    class Wordy(DocSet):
        """Names every document, whether it differs or not."""

        world = bot.world

        async def plan(self, ctx: ReadCtx, p: SetParams) -> Change:
            """One edit a document."""
            found = await super().plan(ctx, p)
            return replace(found, edits=(*found.edits, Edit("as it is", None, None)))

    bot.engine.registry = Registry.of(Wordy())
    run_id = await bot.open(plan(put("a", decision="a"), decisions=[gate("a", "a")]))
    await bot.approve(run_id, "a", CHO)
    step = await bot.step(run_id, "a", lambda s: s.end or s.drifts)
    assert (step.end, step.drifts) == ("done", 0)


async def test_what_people_approve_instead_half_way_has_a_key_of_its_own(bot: Desk) -> None:
    class Wanted(DocSet):
        """Sets documents to what is wanted at the moment."""

        world = bot.world

        async def plan(self, ctx: ReadCtx, p: SetParams) -> Change:
            """One edit a document that differs."""
            return await super().plan(ctx, p.model_copy(update={"to": self.world.docs["wanted"]}))

    bot.engine.registry = Registry.of(Wanted())
    bot.world.docs["wanted"] = "this"
    bot.world.fail["y"] = [RuntimeError("broken"), Retryable("not now", after=0.01)]
    run_id = await bot.open(plan(put("a", "x", "y", decision="a"), decisions=[gate("a", "a")]))
    await bot.approve(run_id, "a", CHO)
    await bot.step(run_id, "a", lambda s: s.halt is not None)
    bot.world.docs["wanted"] = "that"
    await bot.say(run_id, ANA, Retry("a"))
    await bot.approve(run_id, "a", CHO)
    step = await bot.step(run_id, "a", lambda s: s.end == "done")
    one, two = f"{run_id}/a/1", f"{run_id}/a/1.1"
    assert bot.world.writes == [("x", "this", one), ("x", "that", two), ("y", "that", two)]
    assert step.made is not None and {e.target: e.before for e in step.made.edits} == {"x": None, "y": None}


async def test_who_has_left_before_the_first_effect_counts_no_more_and_it_is_asked_again(bot: Desk) -> None:
    run_id = await bot.open(plan(put("a", decision="ok"), decisions=[gate("ok", "a")]))
    await bot.until(run_id, lambda r: r.asked["ok"].opened is not None)
    bot.crew.left.add("cho")
    await bot.approve(run_id, "ok", CHO)
    run = await bot.until(run_id, lambda r: r.asked["ok"].dropped is not None)
    dropped = run.asked["ok"].dropped
    assert dropped is not None and dropped.why == "@cho, who approved it, is no active member any more"
    assert bot.world.writes == [] and not run.asked["ok"].votes
    await bot.approve(run_id, "ok", BEN)
    await bot.step(run_id, "a", lambda s: s.end == "done")
    assert [(d, v) for d, v, _ in bot.world.writes] == [("a", "new")]


async def test_a_yes_that_has_grown_too_old_right_before_the_first_effect_is_none(bot: Desk) -> None:
    run_id = await bot.open(plan(put("a", decision="ok"), decisions=[gate("ok", "a")]))
    await bot.until(run_id, lambda r: r.asked["ok"].opened is not None)
    await bot.say(run_id, ANA, Stop("look at the graphs"))
    await bot.approve(run_id, "ok", CHO)
    run = await bot.until(run_id, lambda r: r.asked["ok"].decided is not None)
    assert await bot.engine.voters(run, run.steps["a"]) == ("", ())
    bot.engine.clock = lambda: time.time() + 3601
    assert await bot.engine.voters(run, run.steps["a"]) == ("approved over 60 min ago, and not begun", ())


async def test_a_directory_that_does_not_answer_holds_nothing_up_and_is_said(bot: Desk) -> None:
    run_id = await bot.open(plan(put("a", decision="ok"), decisions=[gate("ok", "a")]))
    bot.crew.away = True
    bot.world.hold["a"] = asyncio.Event()
    await bot.approve(run_id, "ok", CHO)
    found = await bot.step(run_id, "a", lambda s: s.applying)
    assert found.note == "could not be asked whether @cho may still decide"
    bot.world.hold["a"].set()
    await bot.step(run_id, "a", lambda s: s.end == "done")
    (begun,) = [e for e in await bot.store.events(run_id) if e.kind == "apply started"]
    assert '"unasked":["@cho"]' in begun.body


async def test_a_fact_above_its_ceiling_is_drift_and_below_it_is_not(bot: Desk) -> None:
    bot.world.facts["a"] = 3
    bot.world.hold["z"] = asyncio.Event()
    run_id = await bot.open(plan(put("z"), put("a", after=["z"], decision="a"), decisions=[gate("a", "a")]))
    await bot.approve(run_id, "a", CHO)
    bot.world.facts["a"] = 11
    bot.world.hold["z"].set()
    step = await bot.step(run_id, "a", lambda s: s.drifts == 1 and s.attempt is None)
    assert step.end is None
    bot.world.facts["a"] = 9
    await bot.say(run_id, ANA, Stop())
    await bot.say(run_id, ANA, Resume())
    await bot.approve(run_id, "a", CHO)
    await bot.step(run_id, "a", lambda s: s.end == "done")


async def test_a_failure_halts_shows_what_is_true_and_a_retry_converges(bot: Desk) -> None:
    bot.world.fail["b"] = [RuntimeError("the target hung up")]
    run_id = await bot.open(plan(put("all", "a", "b", "c")))
    step = await bot.step(run_id, "all", lambda s: s.halt)
    assert step.halt is not None and step.halt.cause == "unknown" and "hung up" in step.halt.error
    assert step.halt.observed == {"a": "new", "b": None, "c": None}
    await bot.say(run_id, ANA, Retry("all"))
    step = await bot.step(run_id, "all", lambda s: s.end == "done")
    assert [w[0] for w in bot.world.writes] == ["a", "b", "c"]
    assert step.made is not None and {e.target: e.before for e in step.made.edits} == {"a": None, "b": None, "c": None}


async def test_only_retryable_failures_are_tried_again_by_themselves(bot: Desk) -> None:
    bot.world.fail["a"] = [Retryable("busy", after=0.01), Retryable("busy", after=0.01)]
    bot.world.fail["b"] = [Fatal("no permission", "ask the platform team")]
    run_id = await bot.open(plan(put("a"), put("b")))
    await bot.step(run_id, "a", lambda s: s.end == "done")
    step = await bot.step(run_id, "b", lambda s: s.halt)
    assert step.halt is not None and step.halt.hint == "ask the platform team" and step.n == 1


async def test_no_answer_while_only_looking_is_tried_again_and_none_while_acting_is_not(bot: Desk) -> None:
    bot.world.fail["get a"] = [Unreachable("no answer"), Unreachable("no answer")]
    bot.world.fail["b"] = [Unreachable("no answer; it may be done or not")]
    bot.world.fail["get c"] = [Unreachable("no answer")] * 9
    run_id = await bot.open(plan(put("a", failures=2), put("b"), put("c", failures=0)))
    step = await bot.step(run_id, "b", lambda s: s.halt)
    assert step.halt is not None and step.halt.cause == "unknown"
    step = await bot.step(run_id, "c", lambda s: s.halt)
    assert step.halt is not None and step.halt.cause == "retryable" and bot.world.entered["c"] == 0
    await bot.step(run_id, "a", lambda s: s.failures == 1)
    bot.engine.clock = lambda: time.time() + 60.0
    await bot.step(run_id, "a", lambda s: s.failures == 2)
    bot.engine.clock = lambda: time.time() + 120.0
    step = await bot.step(run_id, "a", lambda s: s.end == "done")
    assert step.failures == 2 and bot.world.docs["a"] == "new"


async def test_a_step_that_has_nothing_to_do_still_hands_on_its_output(bot: Desk) -> None:
    bot.world.docs |= {"a": "new"}
    bot.world.fail["b"] = [Fatal("broken")]
    ref: dict[str, Json] = {REF: "steps.a.docs"}
    hand: dict[str, Json] = {REF: "steps.b.docs"}
    run_id = await bot.open(plan(put("a"), put("b"), check("is-a", "a", ref, ["a"]), check("is-b", "a", hand, ["b"])))
    step = await bot.step(run_id, "a", lambda s: s.end == "done")
    assert step.made is None and step.output == {"docs": 0} and bot.world.writes == []
    await bot.step(run_id, "is-a", lambda s: s.verdict and s.verdict.expected == "0")
    await bot.step(run_id, "b", lambda s: s.halt)
    bot.world.docs["b"] = "new"
    await bot.say(run_id, ANA, Adopt("b", "did it on the console"))
    step = await bot.step(run_id, "b", lambda s: s.end == "adopted")
    assert step.output == {"docs": 0} and bot.world.writes == []
    await bot.step(run_id, "is-b", lambda s: s.verdict and s.verdict.expected == "0")


async def test_not_yet_burns_no_failures(bot: Desk) -> None:
    bot.world.settle["a"] = 8
    run_id = await bot.open(plan(put("a", failures=0)))
    step = await bot.step(run_id, "a", lambda s: s.end == "done")
    assert step.failures == 0 and len(bot.world.writes) == 1


async def test_an_undo_asks_its_gate_again_and_puts_back_only_what_it_changed(bot: Desk) -> None:
    bot.world.docs |= {"a": "old", "other": "theirs"}
    run_id = await bot.open(
        plan(put("a", decision="a"), put("never", decision="n"), decisions=[gate("a", "a"), gate("n", "never")])
    )
    await bot.approve(run_id, "a", CHO)
    await bot.step(run_id, "a", lambda s: s.end == "done")
    bot.world.docs["other"] = "changed by others"
    await bot.say(run_id, ANA, Undo("a", "not the cause"))
    no = await bot.approve(run_id, "undo.a", ANA)
    assert isinstance(no, Refusal)
    await bot.approve(run_id, "undo.a", BEN)
    step = await bot.step(run_id, "a", lambda s: s.halt)
    assert step.halt is not None and step.halt.cause == "undone" and step.made is None
    assert step.halt.error.startswith('as before "'), "not what is to be undone, but how it stands"
    assert bot.world.docs == {"a": "old", "other": "changed by others"}
    await bot.say(run_id, ANA, Retry("a"))
    await bot.approve(run_id, "a", CHO)
    await bot.step(run_id, "a", lambda s: s.end == "done")
    keys = [k for p, _, k in bot.world.writes if p == "a"]
    assert keys == [f"{run_id}/a/1", f"{run_id}/a/2", f"{run_id}/a/3"]


async def test_what_others_changed_is_left_and_asked_about(bot: Desk) -> None:
    pause = put("pause", "p", "q", uses="doc.hold")
    bot.world.docs |= {"p": "6", "q": "4"}
    bot.world.hold["hold"] = asyncio.Event()
    run_id = await bot.open(plan(pause, put("hold", after=["pause"]), undo("resume", pause, after=["hold"])))
    await bot.step(run_id, "pause", lambda s: s.end == "done")
    bot.world.docs["q"] = "9"
    bot.world.hold["hold"].set()
    step = await bot.step(run_id, "resume", lambda s: s.halt)
    assert step.halt is not None and step.halt.cause == "left" and "q is '9'" in step.halt.error
    await bot.say(run_id, CHO, Accept("resume", "dee rescaled it"))
    run = await bot.until(run_id, lambda r: r.steps["resume"].end)
    assert bot.world.docs == {"p": "6", "q": "9", "hold": "new"} and not run.debts


async def test_an_abort_stops_what_is_at_work_and_asks_for_each_debt(bot: Desk) -> None:
    bot.world.docs |= {"p": "6", "r": "1"}
    bot.world.hold["busy"] = asyncio.Event()
    run_id = await bot.open(
        plan(
            put("p", uses="doc.hold"),
            put("r", uses="doc.hold"),
            put("busy", after=["p", "r"]),
            put("later", after=["busy"]),
        )
    )
    await bot.until(run_id, lambda r: bot.world.entered["busy"])
    no = await bot.say(run_id, CHO, Abort("not the commander"))
    assert isinstance(no, Refusal)
    await bot.say(run_id, ANA, Abort("wrong service"))
    run = await bot.until(run_id, lambda r: not r.in_flight)
    assert run.open and {d.step for d in run.owing} == {"p", "r"}
    await bot.say(run_id, ANA, Restore("p", "not needed any more"))
    await bot.until(run_id, lambda r: "p" not in r.debts)
    until = bot.engine.clock() + 3600
    await bot.say(run_id, ANA, HandOver("r", "dee", until, "after the incident"))
    run = await bot.until(run_id, lambda r: r.closed)
    assert run.closed is not None and run.closed.outcome == "aborted, debts handed over"
    assert bot.world.docs == {"p": "6", "r": "new"}


async def test_stop_holds_everything_and_resume_goes_on(bot: Desk) -> None:
    bot.world.hold["a"] = asyncio.Event()
    run_id = await bot.open(plan(put("a", "a", "b"), put("c", after=["a"])))
    await bot.until(run_id, lambda r: bot.world.entered["a"])
    await bot.say(run_id, BEN, Stop("wait"))
    run = await bot.until(run_id, lambda r: not r.in_flight)
    assert run.stopped and bot.world.writes == []
    bot.world.hold["a"].set()
    await bot.say(run_id, BEN, Resume())
    await bot.step(run_id, "c", lambda s: s.end == "done")
    assert [w[0] for w in bot.world.writes] == ["a", "b", "c"]


async def test_what_another_node_has_written_meanwhile_is_heard_before_the_next_call(
    migrated_url: str, world: World
) -> None:
    world.hold["a"] = asyncio.Event()
    other = await Store.open(migrated_url)
    async with desk(migrated_url, world, looping=False) as bot, asyncio.timeout(60):  # which loads nothing by itself
        run_id = await bot.open(plan(put("a")))
        while not world.entered["a"]:  # noqa: ASYNC110 - it waits for a pass
            await asyncio.sleep(0.01)
        await other.append(await other.load(run_id), [ev.Stopped(Actor.of(BEN, "test"))], time.time())
        assert (await bot.store.recent(run_id)).stopped is None
        world.hold["a"].set()
        while (await other.load(run_id)).in_flight:  # noqa: ASYNC110 - it waits for a database
            await asyncio.sleep(0.01)
        assert world.writes == [] and (await bot.store.recent(run_id)).stopped is not None
    await other.close()


async def test_adopt_looks_before_it_believes(bot: Desk) -> None:
    bot.world.fail["a"] = [Fatal("cannot reach it")]
    run_id = await bot.open(plan(put("a", uses="doc.hold")))
    await bot.step(run_id, "a", lambda s: s.halt)
    await bot.say(run_id, ANA, Adopt("a", "did it by hand"))
    step = await bot.step(run_id, "a", lambda s: s.halt and "not done yet" in s.halt.error)
    assert step.end is None
    bot.world.docs["a"] = "new"
    await bot.say(run_id, ANA, Adopt("a", "did it by hand"))
    run = await bot.until(run_id, lambda r: r.steps["a"].end == "adopted")
    assert bot.world.writes == [] and "a" in run.debts


async def test_what_does_not_converge_is_called_once_over_attempts(bot: Desk) -> None:
    bot.world.settle["a"] = 0
    run_id = await bot.open(plan(put("a", once=True), put("b", after=["a"])))
    await bot.step(run_id, "b", lambda s: s.end == "done")
    assert [w[0] for w in bot.world.writes if w[0].startswith("post/")] == [f"post/{run_id}/a/1"]
    assert "noted" in await bot.kinds(run_id)


async def test_a_secret_in_an_edit_is_refused_before_the_effect_and_redacted_in_prose(bot: Desk) -> None:
    bot.world.docs["a"] = SECRET
    bot.world.fail["b"] = [Fatal(f"login with {SECRET} failed")]
    run_id = await bot.open(plan(put("a"), put("b")))
    step = await bot.step(run_id, "a", lambda s: s.halt)
    assert step.halt is not None and step.halt.cause == "fatal" and bot.world.writes == []
    await bot.step(run_id, "b", lambda s: s.halt)
    assert [e.body for e in await bot.store.events(run_id) if SECRET in e.body] == []


async def test_a_skip_by_the_commander_waits_for_the_steps_approvers(bot: Desk) -> None:
    bot.world.fail["a"] = [Fatal("broken")]
    run_id = await bot.open(plan(put("a", decision="a"), put("b", after=["a"]), decisions=[gate("a", "a")]))
    await bot.approve(run_id, "a", CHO)
    await bot.step(run_id, "a", lambda s: s.halt)
    await bot.say(run_id, ANA, Skip("a", "not needed today"))
    run = await bot.store.load(run_id)
    assert run.steps["a"].end is None and run.proposals
    await bot.say(run_id, BEN, Agree(next(iter(run.proposals))))
    await bot.step(run_id, "b", lambda s: s.end == "done")


async def test_a_step_that_takes_too_long_is_stopped_and_asked_about(bot: Desk) -> None:
    bot.world.hold["a"] = asyncio.Event()
    run_id = await bot.open(plan(put("a", timeout=0.3)))
    step = await bot.step(run_id, "a", lambda s: s.halt)
    assert step.halt is not None and step.halt.cause == "timeout"


async def test_a_restart_goes_on_where_the_log_ends(database_url: str, world: World) -> None:
    """The node goes away in the middle of a step and while a gate waits; another one, with newer code, goes on."""
    await asyncio.to_thread(migrations.upgrade, database_url)
    world.hold["a"] = asyncio.Event()
    async with desk(database_url, world) as bot:
        run_id = await bot.open(
            plan(put("a"), put("g", decision="g"), put("z", after=["a", "g"]), decisions=[gate("g", "g")])
        )
        card = (await bot.until(run_id, lambda r: r.asked["g"].opened and world.entered["a"])).card("g")
    world.hold["a"].set()
    async with desk(database_url, world) as bot:
        await bot.say(run_id, CHO, Approve("g", card))
        run = await bot.until(run_id, lambda r: r.steps["z"].end == "done", within=60)
    assert sorted(w[0] for w in world.writes) == ["a", "g", "z"]
    assert all(s.end in ENDED for s in run.steps.values())


async def test_what_waits_for_its_effect_is_written_down_when_the_node_ends_and_the_next_one_goes_on(
    database_url: str, world: World
) -> None:
    await asyncio.to_thread(migrations.upgrade, database_url)
    world.fail["a"] = [NotYet("a is settling", after=30.0)]
    async with desk(database_url, world) as bot:
        run_id = await bot.open(plan(put("a")))
        await bot.until(run_id, lambda r: world.entered["a"])
    async with desk(database_url, world) as bot:
        assert (await bot.kinds(run_id))[-1] == "waiting"
        bot.engine.clock = lambda: time.time() + 31.0
        step = await bot.step(run_id, "a", lambda s: s.end)
        assert (step.end, world.entered["a"], len(world.writes)) == ("done", 2, 1)
        assert "lost" not in await bot.kinds(run_id)


async def test_what_was_done_is_not_forgotten_while_the_database_cannot_be_written(
    pg_database: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(migrations.upgrade, pg_database)
    world.hold["a"] = asyncio.Event()
    impatient = await Store.open(pg_database, patience=0.2)
    async with desk(pg_database, world) as bot:
        bot.engine.store = impatient
        run_id = await bot.open(plan(put("a", timeout=60.0)))
        await bot.until(run_id, lambda r: world.entered["a"])
        async with await psycopg.AsyncConnection.connect(pg_database.replace("+psycopg", "", 1)) as other:
            await other.execute("lock table event in exclusive mode")
            world.hold["a"].set()
            async with asyncio.timeout(60):
                while "cannot be written down yet" not in caplog.text:  # noqa: ASYNC110 - it waits for a database
                    await asyncio.sleep(0.01)
            await other.rollback()
        step = await bot.step(run_id, "a", lambda s: s.end or s.halt is not None)
    await impatient.close()
    assert (step.end, step.n, len(world.writes)) == ("done", 1, 1)


async def test_the_loop_forgets_keys_of_commands_that_nobody_sends_again(bot: Desk) -> None:
    run_id = await bot.open(plan(start()))
    await bot.until(run_id, lambda r: r.asked["start"].opened)
    await bot.engine.command(run_id, Stop("wait"), ANA, "test", "p", key="click")
    assert await bot.store.seen("click")
    bot.engine.clock = lambda: time.time() + 8 * 24 * 3600.0
    async with asyncio.timeout(60):
        while await bot.store.seen("click"):  # noqa: ASYNC110 - the loop does it
            await asyncio.sleep(0.02)


async def test_a_run_that_cannot_be_looked_after_is_told_once_with_its_trace_and_holds_up_no_other(
    bot: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await bot.open(plan(check("a", "a", every=0.05)), service="a")
    async with asyncio.timeout(60):
        await bot.until(broken, lambda r: r.seq > 2)
    looked = bot.engine.reconcile

    async def reconcile(run_id: str) -> None:
        if run_id == broken:
            raise RuntimeError("no good")
        await looked(run_id)

    bot.engine.reconcile = reconcile  # type: ignore[method-assign]
    bot.engine.store.due = lambda now, limit=100: _these(broken)  # type: ignore[method-assign]
    for _ in range(5):
        assert await bot.engine.round()
    bot.engine.reconcile = looked  # type: ignore[method-assign]
    await bot.engine.round()
    told = [r for r in caplog.records if r.name == "bot.engine.reconciler" and broken in r.getMessage()]
    assert told[0].getMessage().partition(":")[0] == f"Run {broken} cannot be looked after"
    assert len(told) == 2 and told[0].exc_info and "is looked after again, after" in told[1].getMessage()


async def _these(*runs: str) -> list[str]:
    return list(runs)
