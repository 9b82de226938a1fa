"""Each card in each state, as a person reads it. After a wanted change: pytest --inline-snapshot=fix."""

# ruff: noqa: E501 - the lines are those that people read

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from inline_snapshot import snapshot

from bot.catalogue import Release
from bot.contract import Change, Edit, Json, Receipt, Status, Verdict
from bot.plan.model import Choice, Decision, Plan, StepSpec
from bot.playground.workspace.plaintext import plain
from bot.policy import Actor
from bot.run import commands as c
from bot.run import events as ev
from bot.run.afterwards import Leftover
from bot.slack.draw import ends
from bot.slack.draw.blocks import buttons_of, section
from bot.slack.draw.phrases import sentence
from bot.slack.draw.post import Upload
from bot.slack.hear import replies
from bot.slack.truth import stays, true_now
from bot.store.chain import Checkpoint
from bot.store.rows import Notice, Progress
from bot.telling import view
from bot.telling.owing import owed
from bot.telling.plain import text
from tests.slack import scenes
from tests.slack.scenes import CHO, Tape, read


def test_the_root_card_waits_for_the_commander() -> None:
    assert read(scenes.preflight(), "root") == snapshot("""\
Rollback of shop: 2.4.1 → 2.4.0 · waiting for @ana to start
Customers: Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works.
Reason: checkout fails since 14:02 · Commander @ana
2.4.0 served 6 d 4 h, error rate 0.02 %; image, build, config and schema snapshot found. Passed over: 2.4.0-rc2 (banned: INC-4188).
About 5-8 min of work and 3 decisions by people. People on call: @SONCALL (approver), @ben (dba).
Preflight: 1 of 2 fine. Look at: Backups: the newest backup is 26 min old, expected at most 30 min.
Not restored by this: data written meanwhile; secrets; what other companies' systems have received; what open pages and apps have loaded.
[ Start rollback ] ( ⋯ Preview every change · Another release… · Smaller plan… · Stop · Abort… )
0 of 14 steps have ended
  [to do] Prepare: 0 of 3, waits for a commander
  [to do] Backend: 0 of 6
  [to do] Verify: 0 of 3
  [to do] Close: 0 of 2
Run shop-1f · since 2026-11-25 14:02 UTC · plan standard\
""")


def test_the_root_card_names_before_the_start_which_values_with_secrets_are_not_restored() -> None:
    tape = Tape()
    named = (
        "left alone: eu-1/deployment/api/env/api/DB_PASSWORD, changed, holds a secret: by hand, from where ci has it"
    )
    tape.looks("backups", Status.WARN, "1 image there", "every image", by_hand=[named])
    tape.looks("schema", Status.PASS, "keep is proven", "advice", order="deploy-first")
    assert f"what open pages and apps have loaded; {named}." in read(tape, "root")


def test_a_decision_lists_what_it_would_do() -> None:
    assert read(scenes.asked_backend(), "decision.backend") == snapshot("""\
Decision 2 of 3: Bring the backend back
1. Pause workers: 1 deployment to 0 replicas, 1 cron job suspended
    Careful: 17 queued jobs are of a kind that 2.4.0 cannot read: they are parked
    queued jobs: 214 jobs · missed schedules: 14:30
    `shop-worker/replicas` 6 → 0
    `shop-settle/suspend` false → true
2. Deploy 2.4.0: 4 workloads in eu-1 and us-1 to sha256:9f3c…, with their settings of 2.4.0
    `{eu-1,us-1}/shop-api/image` sha256:77aa → sha256:9f3c
3. Settings: 4 keys back; left alone: checkout.kill_switch, changed by dee at 14:05
    `config/PAY_URL` https://new?a=1&b=2 → https://old
Reversible.
Asked: an approver, not @ana.
[ Bring the backend back ] [ Not now ] ( ⋯ Show commands · Break glass… · Abort… )\
""")


def test_the_ways_of_a_choice_stand_on_one_card() -> None:
    assert read(scenes.asked_backend(), "decision.schema") == snapshot("""\
Decision 3 of 3: Database schema 0042 → 0041
Keep: nothing lost, 0 min. Not proven: 2.4.0 has never run on 0042
Down: read-only for about 1 min; drops orders.coupon_id and table coupons
    Careful: 312 rows written since 13:40 would go; they are exported first
    rows lost: 312 rows (more than 500 rows asks again)
    `schema/revision` 0042 → 0041
    also: export what is lost
Cannot be undone: Downgrade.
Restore: backup of 13:45 to a new database, then switched to; about 9 min
    minutes lost: 26 min (more than 30 min asks again) · rows lost: 1940 rows (more than 2000 rows asks again)
    `shop/connection` db-1 → db-1-restored
    also: create from backup
Reversible.
Asked for keep: a dba.
Asked for down: a dba and an approver, and the phrase "down shop" typed.
Asked for restore: a dba and an approver, and the phrase "restore shop" typed.
Not @ana: whoever asked for it or commanded it does not approve it.
Keep is not proven: 2.4.0 has never run on 0042.
[ Keep ] [ Down… ] ( ⋯ Restore… · Not now · Break glass: keep… · Break glass: down… · Break glass: restore… )\
""")


def test_a_way_that_is_refused_is_a_line_on_the_card_and_stops_nothing_while_another_can_be_gone() -> None:
    tape = scenes.asked_backend()
    tape.refuses("restore", error="not restored: shop.dump is cut off", hint="make a new backup")
    shown = read(tape, "decision.schema")
    assert "Restore · refused: not restored: shop.dump is cut off. Next: make a new backup." in shown
    assert "Asked for restore" not in shown and "[ Keep ] [ Down… ]" in shown
    assert "stopped" not in read(tape, "root") and not tape.run.halted
    assert not [p.slot for p in tape.screen().posts if p.slot.startswith("halt.")]
    told = text(view.view(tape.run, tape.now))
    assert "Refused: not restored: shop.dump is cut off. Next: make a new backup" in told and "Stopped" not in told


def test_once_no_way_is_left_it_is_a_halt_like_any_other() -> None:
    tape = scenes.asked_backend()
    tape.refuses("keep", "down", "restore", error="the database does not answer to us", hint="see to its rights")
    assert {s.spec.id for s in tape.run.halted} == {"keep", "down", "restore"}
    assert len([p for p in tape.screen().posts if p.slot.startswith("halt.") and p.slot.count(".") == 2]) == 3


def test_a_way_that_was_refused_stays_out_of_the_thread_once_another_was_taken() -> None:
    tape = scenes.asked_backend()
    tape.refuses("restore", error="not restored: shop.dump is cut off", hint="make a new backup")
    tape.approve("backend", scenes.CHO)
    for step in ("pause-workers", "deploy", "settings"):
        tape.acts(step, "done", 1)
    tape.approve("schema.keep", scenes.BEN)
    assert tape.run.steps["restore"].end == "not needed" and not tape.run.halted
    assert not [p.slot for p in tape.screen().posts if p.slot.startswith("halt.")]


def test_the_evidence_that_was_kept_is_named() -> None:
    assert read(scenes.asked_backend(), "step.evidence") == snapshot("""\
Evidence: done in 15 s. 41,200 log lines, 6 metrics of the last 60 min.
Files: logs.jsonl.gz.\
""")


def test_evidence_for_few_eyes_is_told_and_only_the_picture_is_attached_with_its_words() -> None:
    run = scenes.asked_backend().run
    step = run.steps["evidence"]
    picture: dict[str, Json] = {"digest": f"sha256:{'0' * 64}", "size": 1, "type": "image/png", "alt": "a line"}
    assert step.receipt is not None

    def attached(**kept: Json) -> list[tuple[Upload, ...]]:
        receipt = replace(step.receipt or Receipt(""), evidence=kept)
        steps = {**run.steps, "evidence": replace(step, receipt=receipt)}
        return [files for _, files in ends.kept(replace(run, steps=steps))]

    [(file,)] = attached(logs=f"sha256:{'1' * 64}, 20 bytes", plot=picture)
    assert (file.name, file.what, file.alt) == ("plot", picture["digest"], "a line")
    assert attached(logs=f"sha256:{'1' * 64}, 20 bytes") == [()], "it is told all the same"
    assert attached() == []


def test_by_hand_is_a_file_below_each_card_that_waits_with_one_line_above_it() -> None:
    tape = scenes.asked_backend()
    slots = [p.slot for p in tape.screen().posts]
    assert slots.index("by-hand.backend") == slots.index("decision.backend") + 1
    assert [f.name for f in tape.post("by-hand.backend").files] == ["by-hand.md"]
    assert read(tape, "by-hand.backend") == snapshot(
        "By hand: if the bot is away, this is how to finish it, or to take it back."
    )
    assert "by-hand.halt.deploy.1" in [p.slot for p in scenes.halted().screen().posts]
    assert "by-hand.debts" in [p.slot for p in scenes.aborted().screen().posts]


@pytest.mark.parametrize("scene", scenes.SCENES)
def test_by_hand_is_never_posted_for_several_cards_at_once(scene: Callable[[], Tape]) -> None:
    assert sum(p.slot.startswith("by-hand") for p in scene().screen().posts) <= 1


def test_a_count_is_told_once_and_between_two_looks_a_check_is_still_at_work() -> None:
    tape = scenes.deploying()
    at_work = "Backend: 1 of 6, Deploy 2.4.0, "
    for said in ("3 of 12 pods ready, eu-1", "eu-1 refuses, us-1 does not yet"):
        tape.progress["deploy"] = Progress(tape.run.id, "deploy", said, 3, 12, tape.now)
        assert at_work + (said if "3 of" in said else f"3 of 12, {said}") in read(tape, "root")
    deploy, health = tape.run.steps["deploy"], tape.run.steps["health"]
    looked = replace(health, verdict=Verdict(Status.FAIL, "502", "200"))
    over = replace(deploy, attempt=None, applying=False, end="done")
    tape.run = replace(tape.run, steps={**tape.run.steps, "deploy": over, "health": looked})
    assert "at work: Health" in read(tape, "root").splitlines()[0]


def test_nothing_is_under_way_once_a_run_has_ended() -> None:
    assert "[under way]" not in read(scenes.abort_ended(), "root")


def test_what_stays_changed_is_told_in_words() -> None:
    good, bad = "r/api@sha256:" + "a" * 64, "r/api@sha256:" + "b" * 64
    tape = scenes.aborted()
    assert tape.run.created is not None
    created = replace(tape.run.created, removed=Release("2.4.1", images={"shop-api": bad}))
    edits: dict[str, tuple[Any, Any]] = {
        "eu-1/deployment/shop-api/image/app": (bad, good), "us-1/deployment/shop-api/image/app": (bad, good),
        "eu-1/configmap/shop/data/PAY_URL": ("new", "old"), "eu-1/other": (1, 2),
        "us-1/deployment/shop-api/paused": (False, True),
    }  # fmt: skip
    change = Change("to 2.4.0", tuple(Edit(t, *values) for t, values in edits.items()))
    seen: dict[str, Any] = {t: after for t, (_, after) in edits.items()} | {
        "us-1/deployment/shop-api/image/app": "r/api@sha256:cc"
    }
    target = Release("2.4.0", images={"shop-api": good})
    run = replace(tape.run, created=created, target=target)
    assert plain([section(stays(run, Leftover("deploy", change, seen)))], str) == snapshot(
        "Deploy 2.4.0 was given up half-way: on 2.4.0: shop-api in eu-1; rollout paused: shop-api in us-1; settings as approved: 1 of 1; us-1/deployment/shop-api/image/app is r/api@sha256:cc, neither r/api@sha256:bbbbbbbbbbbb… nor r/api@sha256:aaaaaaaaaaaa…; eu-1/other is 2, was 1"
    )


def test_what_is_owed_is_told_with_mentions_and_with_what_is_typed_here() -> None:
    said = replies.debts(owed([scenes.handed_over().run]), scenes.T0)
    assert "<@UDEE> sees to it" in said and "@UDEE " not in said.replace("<@UDEE>", "")
    assert "rollback-bot" not in said and "`/rollback undo shop-1f deploy because ...`" in said


def test_a_decision_that_waits_pages_everybody_of_the_role() -> None:
    assert read(scenes.reminded(), "page.backend.1795615656") == snapshot("""\
@cho @eli @SAPPROVERS Rollback of shop: 2.4.1 → 2.4.0 still waits for an approver since 14:02 UTC: Bring the backend back.
To decide: the card is in the thread.\
""")


def test_work_and_its_progress_are_on_the_root_card() -> None:
    assert read(scenes.deploying(), "root") == snapshot("""\
Rollback of shop: 2.4.1 → 2.4.0 · at work: Deploy 2.4.0; waiting for a dba since 14:02 UTC: Database schema 0042 → 0041
Customers: Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works.
Reason: checkout fails since 14:02 · Commander @ana
2.4.0 served 6 d 4 h, error rate 0.02 %; image, build, config and schema snapshot found. Passed over: 2.4.0-rc2 (banned: INC-4188).
About 5-8 min of work and 3 decisions by people. People on call: @ben (dba), @SONCALL (approver).
Preflight: 1 of 2 fine. Look at: Backups: the newest backup is 26 min old, expected at most 30 min.
[ Stop ] ( ⋯ All steps · Another release… · Let a fix through… · Hand command over… · Abort… )
4 of 14 steps have ended
  [done] Prepare: 3 of 3
  [under way] Backend: 1 of 6, Deploy 2.4.0, 9 of 12 pods ready
  [to do] Verify: 0 of 3
  [to do] Close: 0 of 2
Run shop-1f · since 2026-11-25 14:02 UTC · plan standard\
""")


def test_a_decided_card_says_who_when_after_how_long_and_what_came_of_it() -> None:
    assert read(scenes.deploying(), "decision.backend") == snapshot("""\
Bring the backend back · approved by @cho (approver) at 14:03 UTC after 50 s
• Pause workers: done in 21 s (workers drained)
• Deploy 2.4.0: at work
• Settings: approved\
""")


def test_a_card_says_since_when_a_role_is_held_where_that_is_minutes() -> None:
    tape = scenes.asked_backend()
    tape.now += 38
    tape.approve("backend", replace(CHO, young={"approver": 240}))
    assert "approved by @cho (approver, first seen as one 4 min before) at 14:03 UTC" in read(tape, "decision.backend")
    tape = scenes.asked_backend()
    glass = c.BreakGlass("backend", tape.run.card("backend"), "nobody else is up")
    tape.do(replace(CHO, young={"approver": 5}), glass)
    told = "@cho (approver, first seen as one 5 s before)"
    assert f"opened alone by {told} at" in read(tape, "decision.backend")
    told_all = next(p.slot for p in tape.screen().posts if p.slot.startswith("glass."))
    assert f"{told} opened" in read(tape, told_all)


def test_after_drift_the_differences_come_first_and_the_dropped_approval_is_named() -> None:
    assert read(scenes.drifted(), "decision.backend") == snapshot("""\
Decision 2 of 3: Bring the backend back
Changed since it was looked at. No longer valid: the approval of @cho. What differs:
• eu-1/shop-beta/image: now also sha256:77aa -> sha256:9f3c
1. Deploy 2.4.0: 4 workloads in eu-1 and us-1 to sha256:9f3c…, with their settings of 2.4.0
    `{eu-1,us-1}/shop-api/image` sha256:77aa → sha256:9f3c
    `eu-1/shop-beta/image` sha256:77aa → sha256:9f3c
2. Settings: 4 keys back; left alone: checkout.kill_switch, changed by dee at 14:05
    `config/PAY_URL` https://new?a=1&b=2 → https://old
Reversible.
Asked: an approver, not @ana.
[ Bring the backend back ] [ Not now ] ( ⋯ Show commands · Break glass… · Abort… )\
""")


def test_a_halt_says_what_happened_what_is_true_and_what_next() -> None:
    assert read(scenes.halted(), "halt.deploy.1") == snapshot("""\
Deploy 2.4.0 stopped at 14:08 UTC: 1 of 6 pods ready after 5 min; last event: ImagePullBackOff (registry answered 403).
What is true now: `eu-1/shop-api/image` is sha256:77aa; `eu-1/shop-api/ready` is 5 of 6 run 2.4.1.
Still in place: Freeze deployments and Pause workers.
Next: Renew the pull secret.
[ Try again ] ( ⋯ Undo this step… · It was done by hand… · Another release… · Abort… )\
""")


def test_a_halt_calls_the_commander_and_who_decides() -> None:
    assert read(scenes.halted(), "halt.deploy.1.call") == snapshot("""\
@ana @SONCALL: Rollback of shop: 2.4.1 → 2.4.0, Deploy 2.4.0 stopped at 14:08 UTC: 1 of 6 pods ready after 5 min; last event: ImagePullBackOff (registry answered 403).
It waits for a decision: the card is in the thread.\
""")


def test_a_halt_stands_on_the_root_card() -> None:
    assert read(scenes.halted(), "root") == snapshot("""\
Rollback of shop: 2.4.1 → 2.4.0 · waiting for @ana: Deploy 2.4.0 stopped
Customers: Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works.
Reason: checkout fails since 14:02 · Commander @ana
2.4.0 served 6 d 4 h, error rate 0.02 %; image, build, config and schema snapshot found. Passed over: 2.4.0-rc2 (banned: INC-4188).
About 5-8 min of work and 3 decisions by people. People on call: @ben (dba), @SONCALL (approver).
Preflight: 1 of 2 fine. Look at: Backups: the newest backup is 26 min old, expected at most 30 min.
[ Stop ] ( ⋯ All steps · Another release… · Let a fix through… · Hand command over… · Abort… )
4 of 14 steps have ended
  [done] Prepare: 3 of 3
  [failed] Backend: 1 of 6, Deploy 2.4.0 stopped
  [to do] Verify: 0 of 3
  [to do] Close: 0 of 2
Run shop-1f · since 2026-11-25 14:02 UTC · plan standard\
""")


def test_a_proposal_has_one_button() -> None:
    assert read(scenes.skip_proposed(), "proposal.p2") == snapshot("""\
Proposed: skip Payments journey by @ana at 14:08 UTC: the payment sandbox is down
Asked: an approver, not @ana.
[ Agree ]\
""")


def test_a_choice_names_yes_and_not_now_so_far() -> None:
    assert read(scenes.partly_approved(), "decision.schema") == snapshot("""\
Decision 3 of 3: Database schema 0042 → 0041
Keep: nothing lost, 0 min. Not proven: 2.4.0 has never run on 0042
Down: read-only for about 1 min; drops orders.coupon_id and table coupons
    Careful: 312 rows written since 13:40 would go; they are exported first
    rows lost: 312 rows (more than 500 rows asks again)
    `schema/revision` 0042 → 0041
    also: export what is lost
Cannot be undone: Downgrade.
Restore: backup of 13:45 to a new database, then switched to; about 9 min
    minutes lost: 26 min (more than 30 min asks again) · rows lost: 1940 rows (more than 2000 rows asks again)
    `shop/connection` db-1 → db-1-restored
    also: create from backup
Reversible.
@ben said not now at 14:04 UTC: not proven
Yes to down from @ben (dba) at 14:04 UTC.
Asked for keep: a dba.
Still asked for down: an approver, and the phrase "down shop" typed.
Asked for restore: a dba and an approver, and the phrase "restore shop" typed.
Not @ana: whoever asked for it or commanded it does not approve it.
Keep is not proven: 2.4.0 has never run on 0042.
[ Keep ] [ Down… ] ( ⋯ Restore… · Not now · Break glass: keep… · Break glass: down… · Break glass: restore… )\
""")


def test_a_chosen_way_is_named() -> None:
    assert read(scenes.watching(), "decision.schema") == snapshot("""\
Database schema 0042 → 0041: keep · approved by @ben (dba) at 14:04 UTC after 2 min 34 s
• Keep the schema: done (nothing was changed)\
""")


def test_the_checklist_is_a_table() -> None:
    assert read(scenes.watching(), "checklist") == snapshot("""\
Verification: 2 of 2 pass.
check            | now                                   | expected          | evidence
Health           | pass: 200 in 80 ms, error rate 0.03 % | 200, below 0.05 % | samples 20
Payments journey | pass: 4 of 4 in 812 ms                | 4 of 4            | journeys 4
Watch            | at work                               | -                 | -\
""")


def test_a_warning_is_counted_as_what_it_is() -> None:
    t = scenes.schema_asked()
    t.approve("schema.keep", scenes.BEN)
    t.acts("keep", "nothing was changed", 0)
    t.looks("health", Status.PASS, "200 in 80 ms", "200")
    t.looks("journeys", Status.WARN, "3 of 4, one is slow", "4 of 4")
    assert read(t, "checklist").splitlines()[0] == (
        "Verification: 1 of 2 pass. With a warning: Payments journey."
    )  # fmt: skip


def test_it_runs_again_with_work_and_waiting_apart() -> None:
    assert read(scenes.watching(), "restored.1795615497") == snapshot("""\
shop runs 2.4.0 again. Watching until 14:20 UTC; then it counts as verified.
Back after 2 min 57 s (1 min 26 s work, 1 min 31 s waiting for decisions).\
""")


def test_the_end_says_how_long_it_took_and_where_the_record_is() -> None:
    assert read(scenes.verified(), "end") == snapshot("""\
shop runs 2.4.0 and is verified.
Back after 2 min 57 s (1 min 26 s work, 1 min 31 s waiting for decisions), then watched for 15 min 6 s.
Nothing is paused or held any more.
CI refuses 2.4.1 until a newer release is registered.
No image is only in 2.4.1: CI's question by digest cannot find that, by version it does.
Not restored by this: data written meanwhile; secrets; what other companies' systems have received; what open pages and apps have loaded.
Record: 88 entries, head 7c1e90ab7c1e. `rollback-bot audit shop-1f verify` checks it.
( ⋯ Roll forward again… )\
""")


def test_the_root_card_of_a_verified_run() -> None:
    assert read(scenes.verified(), "root") == snapshot("""\
Rollback of shop: 2.4.1 → 2.4.0 · verified after 18 min 3 s
Customers: Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works.
Reason: checkout fails since 14:02 · Commander @ana
2.4.0 served 6 d 4 h, error rate 0.02 %; image, build, config and schema snapshot found. Passed over: 2.4.0-rc2 (banned: INC-4188).
Preflight: 1 of 2 fine. Look at: Backups: the newest backup is 26 min old, expected at most 30 min.
( ⋯ Roll forward again… )
12 of 12 steps have ended
  [done] Prepare: 3 of 3
  [done] Backend: 4 of 4
  [done] Verify: 3 of 3
  [done] Close: 2 of 2
Run shop-1f · since 2026-11-25 14:02 UTC · plan standard\
""")


def test_a_failing_check_can_be_accepted() -> None:
    assert read(scenes.check_failed(), "halt.health.1") == snapshot("""\
Health stopped at 14:04 UTC: fail: error rate 3 %; expected below 0.05 %.
Still in place: Freeze deployments and Pause workers.
Next: Try again, or accept it with a reason.
If 2.4.0 is not well either: another release (menu); or abort, then roll forward again to 2.4.1.
[ Try again ] [ Accept… ] ( ⋯ Skip… · Another release… · Abort… )\
""")


def test_a_stopped_run_offers_to_go_on_or_to_give_up() -> None:
    assert read(scenes.stopped(), "root") == snapshot("""\
Rollback of shop: 2.4.1 → 2.4.0 · stopped by @ana: nothing new starts
Customers: Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works.
Reason: checkout fails since 14:02 · Commander @ana
2.4.0 served 6 d 4 h, error rate 0.02 %; image, build, config and schema snapshot found. Passed over: 2.4.0-rc2 (banned: INC-4188).
About 5-8 min of work and 3 decisions by people. People on call: @ben (dba), @SONCALL (approver).
Preflight: 1 of 2 fine. Look at: Backups: the newest backup is 26 min old, expected at most 30 min.
Still in place: Freeze deployments and Pause workers.
[ Resume ] [ Abort… ] ( ⋯ All steps · Another release… · Let a fix through… · Hand command over… )
4 of 14 steps have ended
  [done] Prepare: 3 of 3
  [under way] Backend: 1 of 6, Deploy 2.4.0, 9 of 12 pods ready
  [to do] Verify: 0 of 3
  [to do] Close: 0 of 2
Run shop-1f · since 2026-11-25 14:02 UTC · plan standard\
""")


def test_each_debt_of_an_aborted_run_is_restored_or_handed_over() -> None:
    assert read(scenes.aborted(), "debts") == snapshot("""\
Aborted by @ana: 2.4.0 is bad too. No new step starts. Restore each of these, or hand it over:
Freeze deployments since 14:02 UTC: CI and 2 deploy paths refuse new releases of shop; this run passes.
[ Restore… ] [ Hand over… ]
Pause workers since 14:03 UTC: 1 deployment to 0 replicas, 1 cron job suspended.
[ Restore… ] [ Hand over… ]
Stays changed: Deploy 2.4.0 was given up half-way: eu-1/shop-api/image is sha256:9f3c, was sha256:77aa.
[ Undo… ]\
""")


def test_a_decision_of_an_aborted_run_is_not_asked() -> None:
    assert read(scenes.aborted(), "decision.schema") == snapshot(
        "Decision 3 of 3: Database schema 0042 → 0041 · not decided: the run is being aborted"
    )


def test_a_debt_that_is_handed_over_names_its_owner() -> None:
    assert read(scenes.handed_over(), "debts") == snapshot("""\
Aborted by @ana: 2.4.0 is bad too. No new step starts. Restore each of these, or hand it over:
Freeze deployments since 14:02 UTC: CI and 2 deploy paths refuse new releases of shop; this run passes.
Handed over: @dee sees to it until 2026-11-26 14:08 UTC.
Pause workers since 14:03 UTC: 1 deployment to 0 replicas, 1 cron job suspended.
Being restored.
[ Hand over… ]
Stays changed: Deploy 2.4.0 was given up half-way: eu-1/shop-api/image is sha256:9f3c, was sha256:77aa.
[ Undo… ]\
""")


def test_who_promised_to_give_something_back_is_reminded_in_the_channel_each_day_with_the_way_to_do_it() -> None:
    tape = scenes.handed_over()
    tape.now += 86_401
    tape.wrote(ev.Overdue("freeze"))
    (first,) = [p.slot for p in tape.screen().posts if p.slot.startswith("overdue.")]
    assert read(tape, first) == snapshot("""\
@dee: Freeze deployments of shop was to be given back by 2026-11-26 14:08 UTC. In place since 2026-11-25 14:02 UTC.
[ Restore… ] [ Hand over… ]\
""")
    tape.now += 86_400
    tape.wrote(ev.Overdue("freeze"))
    (second,) = [p.slot for p in tape.screen().posts if p.slot.startswith("overdue.")]
    post = tape.post(second)
    assert second != first and post.fixed and not post.under, "a post of its own: an edit notifies nobody"


def test_a_name_at_the_beginning_of_a_sentence_stays_as_it_is() -> None:
    said = [sentence(x) for x in ("eu-1 restored, us-1 unknown", "up to 2 min for Deploy", "2 steps not timed yet")]
    assert said == ["eu-1 restored, us-1 unknown.", "Up to 2 min for Deploy.", "2 steps not timed yet."]


def test_who_reviews_broken_glass_is_reminded() -> None:
    tape = scenes.glass_broken()
    tape.now += 3 * 86_400
    tape.wrote(ev.Overdue(decision="schema.keep"))
    (slot,) = [p.slot for p in tape.screen().posts if p.slot.startswith("review.")]
    assert read(tape, slot) == snapshot("""\
@cho @eli @SAPPROVERS @dee: @cho opened Database schema alone at 2026-11-25 14:04 UTC: no dba answers, customers cannot pay; to be reviewed by somebody else by 2026-11-27 14:04 UTC.
[ Reviewed… ]\
""")


def test_the_end_of_an_aborted_run_names_what_is_left() -> None:
    assert read(scenes.abort_ended(), "end") == snapshot("""\
Rollback of shop: 2.4.1 → 2.4.0: aborted, debts handed over.
It took 6 min 38 s (5 min 40 s work, 58 s waiting for decisions).
Still in place: Freeze deployments since 14:02 UTC; @dee sees to it until 2026-11-26 14:08 UTC.
Stays changed: Deploy 2.4.0 was given up half-way: eu-1/shop-api/image is sha256:9f3c, was sha256:77aa.
Not restored by this: data written meanwhile; secrets; what other companies' systems have received; what open pages and apps have loaded.
Record: 64 entries, head 7c1e90ab7c1e. `rollback-bot audit shop-1f verify` checks it.
( ⋯ Roll forward again… )\
""")


def test_broken_glass_is_announced() -> None:
    assert read(scenes.glass_broken(), "glass.schema.1795615445") == snapshot("""\
Break-glass in Rollback of shop: 2.4.1 → 2.4.0: @cho opened Database schema 0042 → 0041 (keep) alone at 14:04 UTC.
Reason: No dba answers, customers cannot pay.
To be reviewed by Fri 27 Nov 2026 at the latest. @ben @eli\
""")


def test_a_gate_opened_alone_says_so() -> None:
    assert read(scenes.glass_broken(), "decision.schema") == snapshot("""\
Database schema 0042 → 0041: keep · opened alone by @cho at 14:04 UTC after 1 min 42 s (break-glass): no dba answers, customers cannot pay
• Keep the schema: approved\
""")


def test_command_is_offered_with_a_button() -> None:
    assert read(scenes.command_offered(), "command.1") == snapshot("""\
@ana offers command to @dee at 14:03 UTC. Until then @ana commands.
[ Take command ]\
""")


def test_command_that_was_taken_is_told() -> None:
    assert read(scenes.command_taken(), "command.1") == snapshot("@dee commands since 14:03 UTC, from @ana.")


def test_another_release_needs_agreement() -> None:
    assert read(scenes.retarget_proposed(), "proposal.p2") == snapshot("""\
Proposed: go back to 2.3.9 instead by @ana at 14:08 UTC: 2.4.0 fails as well
Asked: an approver, not @ana. Agreed so far: @ana (commander).
[ Agree ]\
""")


def test_an_agreed_proposal_says_who() -> None:
    assert read(scenes.retargeted(), "proposal.p2") == snapshot(
        "Proposed: go back to 2.3.9 instead by @ana: 2.4.0 fails as well · agreed by @ana (commander) and @cho "
        "(approver) at 14:08 UTC"
    )


def test_a_halt_that_ended_says_how() -> None:
    assert read(scenes.retargeted(), "halt.deploy.1") == snapshot("""\
Deploy 2.4.0 stopped at 14:08 UTC: 1 of 6 pods ready after 5 min; last event: ImagePullBackOff (registry answered 403).
At 14:08 UTC: another release was chosen by @ana: 2.4.0 fails as well\
""")


def test_the_root_card_names_what_was_given_up() -> None:
    assert read(scenes.retargeted(), "root") == snapshot("""\
Rollback of shop: 2.4.1 → 2.3.9 · going on
Customers: Checkout has failed for some customers since 14:02. Carts are kept, paying by invoice works.
Reason: checkout fails since 14:02 · Commander @ana
Tried before and given up: 2.4.0 (2.4.0 fails as well).
About 5-8 min of work and 3 decisions by people. People on call: @SONCALL (approver), @ben (dba).
Preflight: 1 of 2 fine. Look at: Backups: the newest backup is 26 min old, expected at most 30 min.
[ Stop ] ( ⋯ All steps · Another release… · Let a fix through… · Hand command over… · Abort… )
4 of 14 steps have ended
  [done] Prepare: 3 of 3
  [under way] Backend: 1 of 6
  [to do] Verify: 0 of 3
  [to do] Close: 0 of 2
Run shop-1f · since 2026-11-25 14:02 UTC · plan standard\
""")


def test_an_undo_has_a_card_of_its_own() -> None:
    assert read(scenes.undo_asked(), "decision.undo.deploy") == snapshot("""\
Decision 4 of 4: Undo: Deploy 2.4.0
Deploy 2.4.0: back to 2.4.1
    `{eu-1,us-1}/shop-api/image` sha256:9f3c → sha256:77aa
Reversible.
Asked: an approver, not @ana.
[ Undo: Deploy 2.4.0 ] [ Not now ] ( ⋯ Show commands · Break glass… · Abort… )\
""")


def test_a_decision_nobody_can_pass_says_so() -> None:
    assert read(scenes.impossible(), "decision.backend") == snapshot("""\
Decision 2 of 3: Bring the backend back
1. Pause workers: 1 deployment to 0 replicas, 1 cron job suspended
    Careful: 17 queued jobs are of a kind that 2.4.0 cannot read: they are parked
    queued jobs: 214 jobs · missed schedules: 14:30
    `shop-worker/replicas` 6 → 0
    `shop-settle/suspend` false → true
2. Deploy 2.4.0: 4 workloads in eu-1 and us-1 to sha256:9f3c…, with their settings of 2.4.0
    `{eu-1,us-1}/shop-api/image` sha256:77aa → sha256:9f3c
3. Settings: 4 keys back; left alone: checkout.kill_switch, changed by dee at 14:05
    `config/PAY_URL` https://new?a=1&b=2 → https://old
Reversible.
Asked: an approver, not @ana.
Nobody can pass this at the moment: needs an approver; found 0 of 1 approver. Break-glass is possible.
[ Bring the backend back ] [ Not now ] ( ⋯ Show commands · Break glass… · Abort… )\
""")


def test_a_notice_of_an_action_is_posted_where_it_wants() -> None:
    assert read(scenes.noticed(), "notice.cdn") == snapshot("Purge /index.html & /sw.js of shop <E123>")


def test_a_message_is_these_blocks() -> None:
    assert scenes.skip_proposed().post("proposal.p2").message.blocks == snapshot(
        (
            {
                "block_id": "b0",
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": """\
*Proposed: skip Payments journey* by <@UANA> at <!date^1795615714^{time}|14:08 UTC>: the payment sandbox is down
Asked: an approver, not @ana.\
""",
                    "verbatim": True,
                },
            },
            {
                "block_id": "proposal.p2|shop-1f",
                "type": "actions",
                "elements": [
                    {
                        "type": "button",
                        "text": {"type": "plain_text", "text": "Agree", "emoji": False},
                        "action_id": "do:agree:p2",
                        "value": "agree|p2|",
                        "style": "primary",
                    }
                ],
            },
        )
    )


def test_a_message_is_complete_in_its_text() -> None:
    assert scenes.asked_backend().post("decision.backend").message.text == snapshot("""\
*Decision 2 of 3: Bring the backend back*
1. *Pause workers*: 1 deployment to 0 replicas, 1 cron job suspended
    *Careful*: 17 queued jobs are of a kind that 2.4.0 cannot read: they are parked
    queued jobs: 214 jobs · missed schedules: 14:30
    `shop-worker/replicas` 6 → 0
    `shop-settle/suspend` false → true
2. *Deploy 2.4.0*: 4 workloads in eu-1 and us-1 to sha256:9f3c…, with their settings of 2.4.0
    `{eu-1,us-1}/shop-api/image` sha256:77aa → sha256:9f3c
3. *Settings*: 4 keys back; left alone: checkout.kill_switch, changed by dee at 14:05
    `config/PAY_URL` https://new?a=1&amp;b=2 → https://old
Reversible.
Asked: an approver, not @ana.
To press: Bring the backend back · Not now · Show commands · Break glass… · Abort…\
""")


def test_the_end_says_how_far_the_record_was_and_decision_cards_hold_no_hashes() -> None:
    tape = scenes.verified()
    decided, closed = tape.run.asked["backend"].decided, tape.run.closed_at
    assert decided is not None and closed is not None
    chain = "9a0b1c2d" * 8
    tape.marks = {decided: Checkpoint(12, "shop-1f", 31, "5e1f00aa" * 8, "0" * 64, chain),
                  closed: Checkpoint(15, "shop-1f", 74, "7c1e90ab" * 8, chain, "b00c" * 16)}  # fmt: skip
    assert "Record" not in read(tape, "decision.backend") and "5e1f" not in read(tape, "decision.backend")
    assert read(tape, "end").splitlines()[-2] == snapshot(
        "Record: 74 entries, head 7c1e90ab7c1e · checkpoint 15, b00cb00cb00c. `rollback-bot audit shop-1f verify` checks it."
    )


def test_with_thirty_steps_in_eight_tracks_the_card_is_five_task_cards_below_the_buttons() -> None:
    steps = [StepSpec(f"t{t}-{i}", f"Step {i} of {t}", f"track{t}", "action", "http.put", after=(f"t{t - 1}-3",) if t else ())
             for t in range(8) for i in range(4)]  # fmt: skip
    tape = Tape(plan=Plan("large", tuple(steps)))
    kinds = [b["type"] for b in tape.post("root").message.blocks]
    assert kinds == ["section", "actions", "plan", "context"]

    def titles(run: Any) -> list[str]:
        tape.run = run
        (found,) = [b for b in tape.post("root").message.blocks if b["type"] == "plan"]
        tasks: Any = found["tasks"]
        assert not [t for t in tasks if "details" in t or "output" in t], "a card is tall enough"
        return [t["title"] for t in tasks]

    assert titles(tape.run) == [
        "Track0: 0 of 4, Step 0 of 0 and 3 more", "Track1: 0 of 4", "Track2: 0 of 4", "Then: 0 of 20",
    ]  # fmt: skip
    over = {i: replace(s, end="done", ended=1.0) for i, s in tape.run.steps.items() if s.spec.track < "track4"}
    assert titles(replace(tape.run, steps={**tape.run.steps, **over})) == [
        "Before: 12 of 12", "Track3: 4 of 4", "Track4: 0 of 4", "Track5: 0 of 4", "Then: 0 of 8",
    ]  # fmt: skip
    ended = {i: replace(s, end="done", ended=1.0) for i, s in tape.run.steps.items()}
    assert len(titles(replace(tape.run, steps=ended))) <= 5


def test_at_most_two_buttons_are_in_view_and_stop_is_always_there() -> None:
    for scene in scenes.SCENES:
        tape = scene()
        for post in tape.screen().posts:
            for block in post.message.blocks:
                found: Any = block.get("elements", []) if block["type"] == "actions" else []
                assert sum(e["type"] == "button" for e in found) <= 2, (scene.__name__, post.slot)
        if tape.run.open and not tape.run.aborted and not tape.run.stopped:
            assert any(label == "Stop" for label, _, _ in buttons_of(tape.post("root").message)), scene.__name__


def test_a_call_carries_the_link_to_its_card_and_waits_a_moment_for_it() -> None:
    tape = scenes.halted()
    tape.links = {}
    assert not [p for p in tape.screen().posts if p.slot.endswith(".call")], "the card is not there yet"
    assert tape.screen().again == tape.now
    tape.links = {"halt.deploy.1": "https://x.slack.example/archives/C1/p12?thread_ts=1"}
    assert "<https://x.slack.example/archives/C1/p12?thread_ts=1|the card>" in str(
        tape.post("halt.deploy.1.call").message.blocks
    )
    tape.links, tape.now = {}, tape.now + 16
    assert "the card is in the thread" in read(tape, "halt.deploy.1.call"), "a card that Slack refuses silences nobody"
    called = scenes.reminded()
    called.links = {"decision.backend": "https://x.slack.example/archives/C1/p13"}
    (page,) = [p for p in called.screen().posts if p.slot.startswith("page.backend")]
    assert "p13|the card>" in str(page.message.blocks)


def test_channels_that_were_told_of_the_start_are_told_of_the_end() -> None:
    tape = scenes.verified()
    tape.notices = [Notice(tape.run.id, "announce", "#payments", "shop is being rolled back", tape.now)]
    assert tape.post("end.#payments").channel == "#payments"
    assert read(tape, "end.#payments") == snapshot("Rollback of shop: 2.4.1 → 2.4.0 has ended: verified.")


def test_a_reminder_is_shown_when_it_is_due_and_mentions_people() -> None:
    tape = scenes.verified()
    due = tape.now + 3600
    tape.notices = [Notice(tape.run.id, "remind", "#inc-4211", "It <begins>", tape.now, due, "U0ANA00001 cho")]
    slots = [p.slot for p in tape.screen().posts]
    assert "notice.remind" not in slots and "end.#inc-4211" not in slots
    assert tape.screen().again == due
    tape.now = due
    assert tape.screen().again is None
    post = tape.post("notice.remind")
    assert (post.channel, post.under, post.fixed) == ("#inc-4211", "", True)
    assert "<@U0ANA00001> @cho" in str(post.message.blocks) and "It &lt;begins&gt;" in str(post.message.blocks)
    tape.notices = [Notice(tape.run.id, "remind", "#other", "later", tape.now, tape.now + 5)]
    assert "end.#other" not in [p.slot for p in tape.screen().posts], "nobody there was told of the beginning"


def test_checks_that_still_run_do_not_read_as_a_failure() -> None:
    tape = scenes.schema_asked()
    tape.now += 33
    tape.approve("schema.keep", scenes.BEN)
    tape.acts("keep", "nothing was changed", 0)
    tape.looks("health", Status.PASS, "200 in 80 ms", "200")
    assert read(tape, "checklist").splitlines()[0] == "Verification: 1 of 2 so far."


def test_a_halt_tells_in_words_which_release_runs_where() -> None:
    good, bad = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    tape = scenes.halted()
    assert tape.run.created is not None
    created = replace(tape.run.created, removed=Release("2.4.1", images={"shop-api": f"r/api@{bad}"}))
    run = replace(tape.run, created=created, target=Release("2.4.0", images={"shop-api": f"r/api@{good}"}))
    seen: dict[str, Any] = {
        "eu-1/deployment/shop-api/image/app": f"r/api@{good}", "us-1/deployment/shop-api/image/app": f"r/api@{bad}",
        "us-1/deployment/shop-worker/image/app": f"r/api@{bad}", "eu-1/deployment/shop-worker/replicas": 0,
        "eu-1/configmap/shop/data/PAY_URL": "https://old", "eu-1/guard/freeze-shop/rules": {"service": "shop"},
    }  # fmt: skip
    assert plain([section(true_now(run, run.steps["deploy"], seen))], str) == snapshot(
        "on 2.4.0: shop-api in eu-1; on 2.4.1: shop-api in us-1 and shop-worker in us-1; 0 replicas: shop-worker in eu-1; refusing releases: freeze-shop in eu-1; settings as approved: 0 of 1"
    )


def test_who_has_to_give_something_back_is_named_in_a_status() -> None:
    said = replies.standing(scenes.handed_over().run, scenes.T0, None)
    assert "<@UDEE> sees to it" in said and "@UDEE " not in said.replace("<@UDEE>", "")


def test_the_end_says_who_refuses_what_may_not_come_back() -> None:
    tape = scenes.verified()
    thaw = tape.run.steps["thaw"]
    banned = replace(
        thaw, spec=replace(thaw.spec, id="ban", kind="action", uses="release.ban", undo=None, duties=("ban",))
    )
    steps = {**tape.run.steps, "ban": banned}
    assert tape.run.created is not None

    def end(**differs: Any) -> str:
        other = scenes.verified()
        other.run = replace(tape.run, steps=steps, **differs)
        return read(other, "end")

    removed = Release("2.4.1", images={"api": "r/api@sha256:" + "1" * 64})
    created = replace(tape.run.created, removed=removed)
    assert "CI and the clusters refuse 2.4.1 until a newer release is registered." in end(created=created)
    assert "CI refuses 2.4.1 until" in end(), "it has no image that a cluster could refuse"
    bad = (Release("2.4.0"), "fails as well")
    both = end(target=Release("2.3.9"), tried=(bad,), created=created)
    assert "CI and the clusters refuse 2.4.1 until" in both and "CI refuses 2.4.0 until" in both
    by_hand = end(created=created, closed=ev.Closed("closed", Actor.of(scenes.ANA, "slack")))
    assert "The clusters refuse 2.4.1 until" in by_hand
    assert "refuse" not in end(created=replace(tape.run.created, purpose="forward", follows="shop-00"))


def test_leaving_it_as_it_is_stands_among_the_ways_of_a_choice() -> None:
    ways = ("leave", "down")
    steps = (
        StepSpec("leave", "Leave it", "main", "gate", decision="schema.leave"),
        StepSpec("down", "Downgrade", "main", "action", "schema.downgrade", {}, decision="schema.down"),
    )
    decisions = tuple(Decision(f"schema.{w}", w, (w,), scenes.DBA, choice="schema", option=w) for w in ways)
    tape = Tape(plan=Plan("p", steps, decisions, (Choice("schema", "Schema", ways),)))
    tape.look()
    assert read(tape, "decision.schema").splitlines()[:3] == [
        "Decision 1 of 1: Schema",
        "Leave: nothing is changed",
        "Down: read-only for about 1 min; drops orders.coupon_id and table coupons",
    ]
    tape.approve("schema.leave", scenes.BEN)
    assert read(tape, "decision.schema") == "Schema: leave · approved by @ben (dba) at 14:02 UTC"
