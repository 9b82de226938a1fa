"""ETA: what counts as work, how wide a range has to be, and what is said while people still decide."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import migrations
from bot.catalogue import Release
from bot.contract import Change, Edit, Receipt, Status, Verdict
from bot.plan.model import Condition, Decision, Plan, StepSpec
from bot.policy import ONE_APPROVER, Actor
from bot.run import events as ev
from bot.run.fold import evolve
from bot.run.state import Run, new_run
from bot.store.log import Store
from bot.telling.eta import TOGETHER, UNMEASURED, Eta, StepKey, Until, WorkTimes, durations, estimate, history

NOON = 1_763_899_200.0  # 12:00 UTC
ANA = Actor("U1", "ana", ("commander",))
CHO = Actor("U3", "cho", ("approver",))
CHANGE = Change("to 2.4.0", (Edit("shop/image", "2.4.1", "2.4.0"),))
NOTHING = Change("is 2.4.0 already")
DONE = Receipt("done")
GOOD, BAD = Verdict(Status.PASS, "fine", "fine"), Verdict(Status.FAIL, "down", "up")

Timed = tuple[float, ev.Event]


def step(id: str, *after: str, **more: Any) -> StepSpec:
    return replace(StepSpec(id, id.capitalize(), "backend", "action", "http.put", after=after), **more)


DEPLOY = step("deploy")
HEALTH = step("health", "deploy", kind="check", uses="http.answers", phase="verify", within=60.0)
WATCH = step("watch", "health", kind="watch", uses="", phase="verify", lasting=900.0, repeat=("health",))
GATED = replace(DEPLOY, decision="deploy")
ASK = Decision("deploy", "Deploy", ("deploy",), ONE_APPROVER)
SMALL = Plan("small", (DEPLOY, HEALTH, WATCH))


def created(plan: Plan = SMALL, service: str = "shop") -> ev.Created:
    return ev.Created(service, plan, plan.digest, Release("2.4.1"), Release("2.4.0"), "checkout fails", ANA)


def deploying(begin: float, end: float, n: int = 1, change: Change = CHANGE) -> list[Timed]:
    return [
        (begin, ev.Started("deploy", n, 1, "apply")),
        (begin, ev.ApplyStarted("deploy", n, change, "f")),
        (end, ev.Applied("deploy", n, DONE)),
    ]


def times(events: Sequence[Timed], step: str = "deploy", uses: str = "http.put") -> tuple[float, ...]:
    opened: list[Timed] = [(0.0, created())]
    found = durations([*opened, *events]).get(StepKey(uses, "shop", step))
    return found.seconds if found is not None else ()


def run_of(events: Sequence[Timed], plan: Plan = SMALL) -> Run:
    run = evolve(new_run("r1"), created(plan), NOON - 3600)
    for at, e in events:
        run = evolve(run, e, at)
    return run


def known(seconds: Sequence[float], *steps: str, uses: str = "http.put") -> dict[StepKey, WorkTimes]:
    return {StepKey(uses, "shop", s): WorkTimes(tuple(seconds)) for s in steps}


def alone(seconds: Sequence[float], spec: StepSpec = DEPLOY) -> Eta:
    """The estimate of a plan of one step with these earlier times."""
    return estimate(Plan("one", (spec,)), known(seconds, spec.id, uses=spec.uses), service="shop", now=NOON)


# -- what counts as work ---------------------------------------------------------------------------------------------


def test_work_begins_when_the_step_acts_not_when_people_are_asked() -> None:
    asked: list[Timed] = [(1.0, ev.Started("deploy", 1, 1, "plan")), (2.0, ev.Planned("deploy", 1, CHANGE, "f"))]
    assert times([*asked, *deploying(400.0, 448.0, n=2)]) == (48.0,)


def test_waiting_for_the_target_and_errors_that_pass_by_themselves_are_work() -> None:
    tries: list[Timed] = [
        (10.0, ev.Started("deploy", 1, 1, "apply")),
        (10.0, ev.ApplyStarted("deploy", 1, CHANGE, "f")),
        (20.0, ev.Waiting("deploy", 1, "1 of 6", 90.0)),
        (90.0, ev.Started("deploy", 2, 1, "apply")),
        (95.0, ev.Failed("deploy", 2, "retryable", "busy", retry_at=100.0)),
        (100.0, ev.Started("deploy", 3, 1, "apply")),
        (130.0, ev.Lost("deploy", 3, "node gone")),
        (130.0, ev.Started("deploy", 4, 1, "apply")),
        (150.0, ev.Applied("deploy", 4, DONE)),
    ]
    assert times(tries) == (140.0,)


@pytest.mark.parametrize(
    "stepped_in",
    [
        (ev.Failed("deploy", 1, "unknown", "boom"), ev.Retried("deploy", ANA), ev.Started("deploy", 2, 1, "apply")),
        (ev.Cancelled("deploy", 1, "timeout"), ev.Retried("deploy", ANA), ev.Started("deploy", 2, 1, "apply")),
        (ev.Drifted("deploy", 1, CHANGE, "g", ("x",)), ev.Started("deploy", 2, 1, "apply")),
        (ev.Stopped(ANA), ev.Resumed(ANA), ev.Started("deploy", 2, 1, "apply")),
    ],
)
def test_times_in_which_people_stepped_in_are_left_out(stepped_in: tuple[ev.Event, ...]) -> None:
    began, effect, done = deploying(10.0, 900.0)
    between: list[Timed] = [(20.0, e) for e in stepped_in]
    assert times([began, effect, *between, done]) == ()


def test_a_step_that_had_nothing_to_do_says_nothing_of_how_long_it_takes() -> None:
    noop: list[Timed] = [
        (10.0, ev.Started("deploy", 1, 1, "apply")),
        (10.1, ev.Planned("deploy", 1, NOTHING, "f")),
        (10.1, ev.Applied("deploy", 1, DONE)),
    ]
    assert times(noop) == ()


def test_a_check_takes_until_its_last_pass_in_a_row() -> None:
    plan = Plan("p", (replace(HEALTH, after=(), passes=2),))
    looks: list[Timed] = [(0.0, created(plan))]
    for n, verdict in enumerate([BAD, GOOD, BAD, GOOD, GOOD], 1):
        looks += [(n * 5.0, ev.Started("health", n, 1, "check")), (n * 5.0 + 1, ev.Checked("health", n, verdict))]
    assert durations(looks) == known([21.0], "health", uses="http.answers")


def test_a_check_that_people_accepted_and_a_watch_are_left_out() -> None:
    failing: list[Timed] = [
        (5.0, ev.Started("health", 1, 1, "check")), (6.0, ev.Checked("health", 1, BAD)),
        (99.0, ev.Accepted("health", ANA, "known")),
        (100.0, ev.Started("watch", 1, 1, "check")), (101.0, ev.Checked("watch", 1, GOOD)),
    ]  # fmt: skip
    assert durations([(0.0, created()), *failing]) == {}


def test_undoing_on_request_is_another_work() -> None:
    undoing: list[Timed] = [
        (100.0, ev.UndoAsked("deploy", ANA)),
        (101.0, ev.Started("deploy", 2, 2, "undo")),
        (101.0, ev.ApplyStarted("deploy", 2, CHANGE, "f")),
        (400.0, ev.Undone("deploy", 2, DONE, {})),
    ]
    assert times([*deploying(10.0, 40.0), *undoing]) == (30.0,)


def test_runs_one_after_the_other_give_a_time_each() -> None:
    unfinished: list[Timed] = [(50.0, created()), (60.0, ev.Started("deploy", 1, 1, "apply"))]
    blog: list[Timed] = [(70.0, created(service="blog")), *deploying(80.0, 85.0), (90.0, ev.Unknown("new", "{}"))]
    events = [(0.0, created()), *deploying(10.0, 40.0), *unfinished, *blog]
    assert durations(events) == {
        StepKey("http.put", "shop", "deploy"): WorkTimes((30.0,)),
        StepKey("http.put", "blog", "deploy"): WorkTimes((5.0,)),
    }


async def test_history_comes_from_the_services_last_ended_runs(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
    migrations.upgrade(url)
    store = await Store.open(url)
    for i, (service, ended) in enumerate(
        [("shop", True), ("shop", True), ("shop", True), ("blog", True), ("shop", False)]
    ):
        run, at = new_run(f"r{i}"), NOON + 1000 * i
        closed = [(50.0 + i, ev.Closed("closed", ANA))] if ended else []
        for after, e in [(0.0, created(service=service)), *deploying(10.0, 40.0 + i), *closed]:
            run = await store.append(run, [e], at + after)
    assert await history(store, "shop", limit=2) == {StepKey("http.put", "shop", "deploy"): WorkTimes((32.0, 31.0))}
    await store.close()


# -- how wide it has to be -------------------------------------------------------------------------------------------


def test_a_step_never_measured_takes_anything_up_to_its_own_limit() -> None:
    for spec, most in [
        (replace(DEPLOY, timeout=240.0), 240.0),
        (replace(DEPLOY, timeout=7200.0), UNMEASURED),
        (replace(HEALTH, after=()), 60.0),
        (replace(HEALTH, after=(), within=0.0, timeout=30.0), 30.0),
        (replace(HEALTH, after=(), within=0.0, passes=5, every=10.0), 40.0),
    ]:
        found = estimate(Plan("one", (spec,)), {}, service="shop", now=NOON)
        assert (found.low_s, found.high_s, found.samples) == (0.0, most, 0)


def test_steps_never_measured_are_fast_or_slow_together() -> None:
    plan = Plan("p", tuple(step(f"s{i}", *([f"s{i - 1}"] if i else []), timeout=60.0) for i in range(10)))
    found = estimate(plan, {}, service="shop", now=NOON)
    assert (found.low_s, found.high_s) == (0.0, 600.0)


def test_one_earlier_time_gives_a_wide_range_and_twenty_equal_ones_a_narrow_one() -> None:
    one, twenty = alone([60.0]), alone([60.0] * 20)
    assert 15.0 < one.low_s < 60.0 / 2 and 60.0 * 2 < one.high_s < 60.0 * 4 and one.samples == 1
    assert 50.0 < twenty.low_s < 60.0 < twenty.high_s < 70.0 and twenty.samples == 20


@pytest.mark.parametrize(("samples", "low", "high"), [(1, 10.0, 110.0), (2, 12.0, 40.0), (5, 14.0, 30.0)])
def test_ten_steps_after_a_run_or_two_of_twenty_seconds_are_not_expected_to_take_minutes(
    samples: int, low: float, high: float
) -> None:
    names = [f"s{i}" for i in range(10)]
    plan = Plan("p", tuple(step(s, *names[:i][-1:]) for i, s in enumerate(names)))
    found = estimate(plan, known([2.0] * samples, *names), service="shop", now=NOON)
    assert low < found.low_s < 20.0 < found.high_s < high


def test_a_step_takes_no_longer_than_its_timeout() -> None:
    assert alone([60.0], replace(DEPLOY, timeout=90.0)).high_s == pytest.approx(90.0)


def test_a_step_that_is_slower_than_ever_is_still_expected_to_take_time() -> None:
    run = run_of([(NOON, ev.Started("deploy", 1, 1, "apply")), (NOON, ev.ApplyStarted("deploy", 1, CHANGE, "f"))])
    past = known([30.0, 31.0, 29.0, 30.0], "deploy") | known([1.0, 1.0], "health", uses="http.answers")
    left = [estimate(SMALL, past, service="shop", now=NOON + t, run=run) for t in (0, 15, 29, 590)]
    assert left[0].low_s > left[1].low_s > left[2].low_s
    assert left[1].high_s < 32 and left[2].high_s > 1
    assert left[3].high_s == pytest.approx(10.0, abs=3)  # what its timeout leaves


def test_the_longest_track_counts_and_evidence_beside_it_does_not() -> None:
    plan = Plan(
        "p", (DEPLOY, step("front"), step("evidence", timeout=3600.0), replace(HEALTH, after=("deploy", "front")))
    )
    past = known([100.0] * 20, "deploy") | known([10.0] * 20, "front") | known([900.0] * 20, "evidence")
    past |= known([1.0] * 20, "health", uses="http.answers")
    back = estimate(plan, past, service="shop", now=NOON)
    assert 85 < back.low_s < 101 < back.high_s < 120
    assert estimate(plan, past, service="shop", now=NOON, until="verified").low_s > 700


def test_a_watch_counts_for_verified_and_not_for_back() -> None:
    past = known([60.0] * 20, "deploy") | known([1.0] * 20, "health", uses="http.answers")
    back = estimate(SMALL, past, service="shop", now=NOON)
    verified = estimate(SMALL, past, service="shop", now=NOON, until="verified")
    assert verified.low_s == pytest.approx(back.low_s + 900) and verified.high_s == pytest.approx(back.high_s + 900)


def test_of_opposite_conditions_one_holds() -> None:
    when = [Condition("steps.advise.before", equal, True) for equal in (True, False)]
    early, late = step("early", when=when[0]), step("late", "early", when=when[1])
    found = estimate(Plan("p", (early, late)), known([100.0] * 20, "early", "late"), service="shop", now=NOON)
    assert found.low_s > 80 and found.high_s < 120
    sometimes = estimate(Plan("p", (early,)), known([100.0] * 20, "early"), service="shop", now=NOON)
    assert sometimes.low_s == 0 and sometimes.high_s > 90


def test_of_the_options_of_a_choice_one_is_taken() -> None:
    options = [Decision(f"schema.{o}", o, (o,), ONE_APPROVER, choice="schema", option=o) for o in ("down", "restore")]
    plan = Plan("p", (step("down", decision="schema.down"), step("restore", decision="schema.restore")), tuple(options))
    past = known([60.0] * 20, "down") | known([500.0] * 20, "restore")
    found = estimate(plan, past, service="shop", now=NOON)
    assert 50 < found.low_s < 70 and 450 < found.high_s < 590 and found.open_decisions == 1
    planned: list[Timed] = [
        (NOON, ev.Started("down", 1, 1, "plan")), (NOON, ev.Planned("down", 1, CHANGE, "f")),
        (NOON, ev.Approved("schema.down", {"down": "f"}, CHO, "approver")),
    ]  # fmt: skip
    run = run_of(planned, plan)
    taken = estimate(plan, past, service="shop", now=NOON, run=run)
    assert taken.high_s < 70 and taken.open_decisions == 0


# -- what is said ----------------------------------------------------------------------------------------------------

PAST = known([320.0, 340.0, 420.0, 380.0, 350.0] * 4, "deploy") | known([20.0] * 20, "health", uses="http.answers")
GATES = Plan("gated", (GATED, HEALTH, WATCH), (ASK,))


def test_while_a_decision_is_open_work_is_told_and_no_time() -> None:
    found = estimate(GATES, PAST, service="shop", now=NOON)
    assert found.text == "about 5-8 min of work and 1 decision by people" and found.between is None
    more = replace(ASK, name="front", members=("health",))
    two = Plan("two", (GATED, replace(HEALTH, decision="front")), (ASK, more))
    assert estimate(two, PAST, service="shop", now=NOON).text.endswith("of work and 2 decisions by people")


def approved(plan: Plan = GATES) -> list[Timed]:
    return [
        (NOON - 90, ev.Started("deploy", 1, 1, "plan")),
        (NOON - 80, ev.Planned("deploy", 1, CHANGE, "f")),
        (NOON, ev.Approved("deploy", {"deploy": "f"}, CHO, "approver")),
        (NOON, ev.Started("deploy", 2, 1, "apply")),
        (NOON, ev.ApplyStarted("deploy", 2, CHANGE, "f")),
    ]


def test_once_everything_is_decided_the_end_has_a_time() -> None:
    waiting = estimate(GATES, PAST, service="shop", now=NOON, run=run_of(approved()[:2], GATES))
    assert waiting.open_decisions == 1 and waiting.between is None
    found = estimate(GATES, PAST, service="shop", now=NOON, run=run_of(approved(), GATES))
    assert found.text == "expected between 12:05 and 12:08 UTC"
    assert found.between == (NOON + found.low_s, NOON + found.high_s)


def test_a_halt_and_a_stop_are_decisions_too() -> None:
    halted = [*approved(), (NOON + 9, ev.Failed("deploy", 2, "fatal", "403"))]
    assert estimate(GATES, PAST, service="shop", now=NOON + 10, run=run_of(halted, GATES)).open_decisions == 1
    stopped = [*approved(), (NOON + 9, ev.Stopped(ANA))]
    assert estimate(GATES, PAST, service="shop", now=NOON + 10, run=run_of(stopped, GATES)).between is None


def test_after_a_drift_people_are_asked_again_and_their_time_is_no_work() -> None:
    drifted = [*approved()[:4], (NOON + 5, ev.Drifted("deploy", 2, CHANGE, "g", ("shop/image: is 2.4.2 now",)))]
    asked = estimate(GATES, PAST, service="shop", now=NOON + 500, run=run_of(drifted, GATES))
    assert asked.open_decisions == 1 and asked.low_s > 250
    again = [
        *drifted,
        (NOON + 500, ev.Approved("deploy", {"deploy": "g"}, CHO, "approver")),
        (NOON + 500, ev.Started("deploy", 3, 1, "apply")),
    ]
    assert estimate(GATES, PAST, service="shop", now=NOON + 500, run=run_of(again, GATES)).low_s == asked.low_s


def test_no_sum_of_time_outs_is_told_where_a_step_was_never_measured_but_what_is_known() -> None:
    assert estimate(GATES, {}, service="shop", now=NOON).text == "2 steps not timed yet and 1 decision by people"
    only = known([300.0] * 20, "deploy")
    told = "about 4-6 min for Deploy, 1 more step not timed yet, and 1 decision by people"
    assert estimate(GATES, only, service="shop", now=NOON).text == told
    plan = Plan("one", (DEPLOY, step("after", "deploy")))
    begun = run_of(
        [(NOON, ev.Started("deploy", 1, 1, "apply")), (NOON, ev.ApplyStarted("deploy", 1, CHANGE, "f"))], plan
    )
    assert estimate(plan, {}, service="shop", now=NOON + 30, run=begun).text == "2 steps not timed yet"


PACED = replace(CHANGE, lasts=(130.0, 290.0))


@pytest.mark.parametrize("planned", [True, False])
def test_what_was_never_measured_takes_what_the_workloads_say(planned: bool) -> None:
    """Of the change on record, or of one that was looked up beside the run."""
    said: list[Timed] = [
        (NOON, ev.Started("deploy", 1, 1, "plan")), (NOON, ev.Planned("deploy", 1, PACED, "f")),
    ]  # fmt: skip
    run, foreseen = run_of(said if planned else [], GATES), {} if planned else {"deploy": PACED}
    found = estimate(GATES, {}, service="shop", now=NOON, run=run, foreseen=foreseen)
    assert found.text == "about 2-5 min for Deploy, 1 more step not timed yet, and 1 decision by people"
    checked = known([1.0] * 20, "health", uses="http.answers")
    found = estimate(GATES, checked, service="shop", now=NOON, run=run, foreseen=foreseen)
    assert (found.text, found.samples) == ("about 2-5 min of work and 1 decision by people", 0)
    measured = checked | known([30.0] * 20, "deploy")
    found = estimate(GATES, measured, service="shop", now=NOON, run=run, foreseen=foreseen)
    assert found.high_s < 60, "what was measured here counts, not what is said"


def test_a_rollout_with_a_deadline_of_its_own_may_take_longer_than_its_step() -> None:
    slow = replace(CHANGE, within=1800.0)
    begun: list[Timed] = [
        (NOON, ev.Started("deploy", 1, 1, "apply")), (NOON, ev.ApplyStarted("deploy", 1, slow, "f")),
    ]  # fmt: skip
    plan = Plan("one", (DEPLOY,))
    late = estimate(plan, {}, service="shop", now=NOON + 1700, run=run_of(begun, plan))
    assert late.high_s == pytest.approx(100.0, abs=1)


def test_a_step_known_to_have_nothing_to_do_takes_no_time() -> None:
    plan = Plan("p", (GATED,), (ASK,))
    planned: list[Timed] = [
        (NOON, ev.Started("deploy", 1, 1, "plan")), (NOON, ev.Planned("deploy", 1, NOTHING, "f")),
    ]  # fmt: skip
    found = estimate(plan, {}, service="shop", now=NOON, run=run_of(planned, plan))
    assert (found.low_s, found.high_s, found.open_decisions) == (0.0, 0.0, 1)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(12.0, 38.0, "about 10-40 s"), (0.0, 22.0, "up to 25 s"), (301.0, 470.0, "about 5-8 min"),
     (60.0, 60.0, "about 1 min"), (3300.0, 5700.0, "about 55 min to 1 h 35 min"), (0.0, 7000.0, "up to 2 h")],
)  # fmt: skip
def test_ranges_are_rounded_outwards(low: float, high: float, text: str) -> None:
    from bot.telling.eta import _about

    assert _about(low, high) == text


def test_a_time_on_another_day_says_so() -> None:
    late = NOON + 12 * 3600 - 120
    run = run_of([(late, ev.Started("deploy", 1, 1, "apply")), (late, ev.ApplyStarted("deploy", 1, CHANGE, "f"))])
    assert estimate(SMALL, PAST, service="shop", now=late, run=run).text == (
        "expected between 2025-11-24 00:03 and 2025-11-24 00:06 UTC"
    )


FINISHED = [
    *deploying(NOON, NOON + 60),
    (NOON + 60, ev.Started("health", 1, 1, "check")),
    (NOON + 61, ev.Checked("health", 1, GOOD)),
    (NOON + 61, ev.Restored()),
]


def test_what_is_back_has_nothing_left_but_may_still_be_watched() -> None:
    run = run_of([*FINISHED, (NOON + 61, ev.Started("watch", 1, 1, "check"))])
    back = estimate(SMALL, PAST, service="shop", now=NOON + 361, run=run)
    assert (back.low_s, back.high_s, back.text) == (0.0, 0.0, "nothing left to do")
    verified = estimate(SMALL, PAST, service="shop", now=NOON + 361, run=run, until="verified")
    assert (verified.low_s, verified.high_s) == (600.0, 600.0)


def test_a_finished_run_needs_nothing() -> None:
    for end in (ev.Closed("verified"), ev.Closed("aborted")):
        run = run_of([*FINISHED, (NOON + 99, end)])
        found = estimate(SMALL, PAST, service="shop", now=NOON + 999, run=run, until="verified")
        assert (found.low_s, found.high_s, found.open_decisions, found.between) == (0.0, 0.0, 0, None)


def test_no_return_is_promised_by_a_run_that_is_being_aborted() -> None:
    run = run_of([*approved(), (NOON + 9, ev.Aborted(ANA, "wrong service"))], GATES)
    found = estimate(GATES, PAST, service="shop", now=NOON + 10, run=run)
    assert found.between is None and found.text == "being aborted: no return to expect"


# -- whatever the plan -----------------------------------------------------------------------------------------------

SECONDS = st.lists(st.floats(0.0, 5000.0), max_size=6)


@st.composite
def plans(draw: st.DrawFn) -> tuple[Plan, dict[StepKey, WorkTimes]]:
    """A plan of a few steps of every kind, each after some of those before it, with some earlier times."""
    steps: list[StepSpec] = []
    past: dict[StepKey, WorkTimes] = {}
    for i in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["action", "check", "watch", "gate", "undo"]))
        after = draw(st.lists(st.sampled_from([s.id for s in steps]), unique=True)) if steps else []
        phase = draw(st.sampled_from(["preflight", "act", "verify"]))
        spec = step(f"s{i}", *after, kind=kind, phase=phase, lasting=30.0, within=draw(st.sampled_from([0.0, 20.0])))
        steps.append(spec)
        past |= known(draw(SECONDS), spec.id)
    return Plan("p", tuple(steps)), past


@settings(max_examples=60, deadline=None)
@given(plans(), st.sampled_from(get_args(Until)), st.floats(-100, 10_000), st.booleans())
def test_never_negative_and_high_is_never_below_low(
    given: tuple[Plan, dict[StepKey, WorkTimes]], until: Until, after: float, begun: bool
) -> None:
    plan, past = given
    first = plan.steps[0]
    doing: ev.AttemptKind = "apply" if first.changes else "check"
    run = run_of([(NOON, ev.Started(first.id, 1, 1, doing))] if begun else [], plan)
    for live in (None, run):
        found = estimate(plan, past, service="shop", now=NOON + after, run=live, until=until)
        assert 0 <= found.low_s <= found.high_s < math.inf
        assert found.between is None or NOON + after <= found.between[0] <= found.between[1]


@settings(max_examples=60, deadline=None)
@given(plans(), SECONDS, st.data())
def test_one_more_step_never_makes_it_shorter(
    given: tuple[Plan, dict[StepKey, WorkTimes]], seconds: list[float], data: st.DataObject
) -> None:
    """But for the first check of a verification: before it, "back" means every step."""
    plan, past = given
    checked = any(s.phase == "verify" and s.kind != "watch" for s in plan.steps)
    phase = data.draw(st.sampled_from(["act", "verify"] if checked else ["act"]))
    new = step("new", *data.draw(st.lists(st.sampled_from(sorted(plan.by_id)), unique=True)), phase=phase)
    first = replace(new, after=())
    longer = [
        Plan("longer", (*plan.steps, new)),
        Plan("longer", (first, *(replace(s, after=(*s.after, "new")) for s in plan.steps))),
    ]
    was = estimate(plan, past, service="shop", now=NOON)
    for more in longer:
        found = estimate(more, past | known(seconds, "new"), service="shop", now=NOON)
        assert found.low_s >= was.low_s and found.high_s >= was.high_s


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(1.0, 500.0), min_size=1, max_size=8), st.floats(0.0, 1.0))
def test_more_samples_that_agree_never_make_it_wider(seconds: list[float], closer: float) -> None:
    middle = math.exp(math.fsum(map(math.log, seconds)) / len(seconds))

    def width(seconds: Sequence[float]) -> float:
        found = alone(seconds)
        return found.high_s - found.low_s

    was = width(seconds) + 1e-6
    assert width([*seconds, middle]) <= was
    assert width([*seconds, *seconds]) <= was
    assert width([middle * (x / middle) ** closer for x in seconds]) <= was


# -- against runs of which the truth is known ------------------------------------------------------------------------


def covered(steps: int, tracks: int, samples: int, sigma: float, rho: float, rounds: int) -> float:
    """The share of synthetic runs that end within the range: log-normal steps, correlated within a run."""
    rng = random.Random(f"{steps} {tracks} {samples} {sigma} {rho}")
    chain = [[f"t{t}s{i}" for i in range(steps)] for t in range(tracks)]
    specs = [step(s, *c[:i][-1:], timeout=1e5) for c in chain for i, s in enumerate(c)]
    typical = {s.id: rng.uniform(2, 5) for s in specs}

    def one() -> dict[str, float]:
        day = rng.gauss(0, 1)
        return {
            s: math.exp(m + sigma * (math.sqrt(rho) * day + math.sqrt(1 - rho) * rng.gauss(0, 1)))
            for s, m in typical.items()
        }

    hits = 0
    for _ in range(rounds):
        earlier, now = [one() for _ in range(samples)], one()
        past = {StepKey("http.put", "shop", s): WorkTimes(tuple(e[s] for e in earlier)) for s in typical}
        found = estimate(Plan("p", tuple(specs)), past, service="shop", now=NOON)
        hits += found.low_s <= max(sum(now[s] for s in c) for c in chain) <= found.high_s
    return hits / rounds


@pytest.mark.parametrize("sigma", [0.25, 0.5])
def test_with_many_samples_four_of_five_steps_end_in_their_range(sigma: float) -> None:
    assert covered(1, 1, 15, sigma, 0.0, 400) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("samples", [1, 2, 4])
def test_with_few_samples_the_range_errs_on_the_wide_side(samples: int) -> None:
    assert covered(1, 1, samples, 0.35, 0.0, 300) >= 0.8


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_few_samples_of_times_that_vary_more_than_assumed_make_it_a_little_too_narrow(samples: int) -> None:
    assert covered(1, 1, samples, 0.5, 0.0, 400) >= 0.72


@pytest.mark.parametrize("samples", [1, 2])
def test_whole_runs_after_one_or_two_earlier_ones_end_in_their_range(samples: int) -> None:
    assert covered(5, 2, samples, 0.35, TOGETHER, 60) >= 0.8


@pytest.mark.parametrize(("rho", "least", "most"), [(TOGETHER, 0.72, 0.9), (0.0, 0.8, 1.0), (0.5, 0.65, 0.85)])
def test_about_four_of_five_whole_runs_end_in_their_range(rho: float, least: float, most: float) -> None:
    """Slow days make a range too narrow where steps hang together more than assumed, else it is rather too wide."""
    assert least <= covered(5, 2, 15, 0.35, rho, 120) <= most
