"""The by-hand text: whole, in order, in words of people, and still right when it is old."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bot.contract import Change, Edit, Json
from bot.node.outside import ByHand
from bot.plan.model import REF
from bot.ports import Blob, Unreachable
from bot.run.state import Step
from bot.store.blobs import FileBlobs
from bot.telling.by_hand import by_hand, in_words
from tests.slack import scenes
from tests.slack.scenes import Tape


def typed(uses: str, edits: Sequence[Edit]) -> list[str]:
    """A command for each edit, with all of its value."""
    return [f"set '{e.target}' {e.after}" for e in edits]


def text(tape: Tape) -> str:
    return by_hand(tape.run, tape.now, typed)


def parts(said: str) -> tuple[str, str]:
    """(what finishes it, what takes it back)"""
    finish, back = said.split("## To take it back instead")
    return finish.split("## To finish it")[1], back.split("## What was run so far")[0]


def test_what_is_left_stands_in_the_order_in_which_it_is_to_be_done_with_who_still_has_to_agree() -> None:
    finish, _ = parts(text(scenes.asked_backend()))
    heads = [line.partition(". ")[2] for line in finish.splitlines() if line.startswith("### ")]
    assert heads[0] == "Pause workers (only with the yes of an approver)"
    assert heads.index("Deploy 2.4.0 (only with the yes of an approver)") < heads.index("Health")
    assert heads[-2:] == ["Lift the freeze", "Watch"] and "Start rollback" not in finish
    assert "One of these ways only: Keep the schema, Downgrade, Restore a backup." in finish
    assert finish.index("set 'shop-worker/replicas' 0") < finish.index("set 'shop-worker/replicas' 6"), "and given back"


def test_what_takes_it_back_goes_from_the_end_to_the_beginning_and_covers_what_the_bot_may_still_have_done() -> None:
    early, late = parts(text(scenes.asked_backend()))[1], parts(text(scenes.deploying()))[1]
    for back in (early, late):
        assert back.index("set 'eu-1/shop-api/image' sha256:77aa") < back.index("set 'shop-worker/replicas' 6")
        assert back.index("set 'shop-worker/replicas' 6") < back.index("set 'ci/shop' open")
    assert "Cannot be taken back: read-only for about 1 min" in early


def test_nothing_is_cut_and_no_name_of_ours_is_needed() -> None:
    tape = scenes.deploying()
    long = "kubectl patch configmap/x -p " + "y" * 5000
    steps = {i: replace(s, commands=(*s.commands, long) if i == "deploy" else s.commands)
             for i, s in tape.run.steps.items()}  # fmt: skip
    tape.run = replace(tape.run, steps=steps)
    said = text(tape)
    assert long in said and "rollback-bot" not in said and tape.run.id not in said
    to_do = said.split("## What was run so far")[0]
    assert "pause-workers" not in to_do and "release.deploy" not in to_do, "titles, not ids"


@pytest.mark.parametrize("scene", scenes.SCENES)
def test_every_scene_can_be_gone_on_with_by_hand(scene: Callable[[], Tape]) -> None:
    tape = scene()
    said = text(tape)
    over = tape.run.aborted is not None or not tape.run.open
    assert ("## To finish it" in said) is not over
    for d in tape.run.debts:
        made = tape.run.steps[d].made
        assert made is not None and all(line in said for line in typed("", made.inverted().edits)), d


def test_whoever_is_no_bot_first_lets_himself_pass_what_refuses_releases() -> None:
    tape = scenes.asked_backend()
    freeze = tape.run.steps["freeze"]
    made = Change("frozen", (Edit("eu-1/guard/freeze-shop/rules", None, {"service": "shop"}),))
    tape.run = replace(tape.run, steps={**tape.run.steps, "freeze": replace(freeze, made=made)})
    finish, back = parts(text(tape))
    for said in (finish, back):
        first = next(line for line in said.splitlines() if line.startswith("set '"))
        assert first == "set 'eu-1/guard/freeze-shop/rules' None"


@pytest.mark.parametrize("begun", [True, False])
def test_what_would_refuse_whoever_goes_on_is_never_put_there_by_hand_and_a_ban_is_kept(begun: bool) -> None:
    tape = scenes.asked_backend()
    freeze = tape.run.steps["freeze"]
    made = Change("frozen", (Edit("eu-1/guard/freeze-shop/rules", None, "all"),))
    banned = Change("refuse 2.4.1", (Edit("eu-1/guard/ban/rules", None, "digests"),))
    ban = Step(replace(freeze.spec, id="ban", title="Ban 2.4.1", uses="release.ban"), made=banned, end="done")
    waiting = replace(freeze, made=made if begun else None, change=made, end=None, halt=None)
    tape.run = replace(tape.run, steps={**tape.run.steps, "freeze": waiting, "ban": ban})
    finish, _ = parts(text(tape))
    assert waiting.open and "set 'eu-1/guard/freeze-shop/rules' all" not in finish
    assert f"{freeze.spec.title}\n\nLeave it out: it would refuse you too." in finish
    assert ("First: let yourself pass" in finish) is begun
    assert "guard/ban" not in finish, "what keeps the bad release out refuses nobody else"


def test_what_no_decision_has_shown_is_looked_up_all_the_same_or_said_exactly() -> None:
    tape = scenes.asked_backend()
    params: dict[str, Json] = {"service": "shop", "releases": {REF: "run.banned"}, "other": {REF: "steps.none.x"}}
    freeze = tape.run.steps["freeze"].spec
    ban = replace(freeze, id="ban", title="Ban 2.4.1", uses="release.ban", params=params)
    tape.run = replace(tape.run, steps={**tape.run.steps, "ban": Step(ban)})
    made = Change("refuse 2.4.1", (Edit("eu-1/guard/ban/rules", None, "digests"),))
    finish, back = parts(by_hand(tape.run, tape.now, typed, {"ban": made}))
    assert "set 'eu-1/guard/ban/rules' digests" in finish and "set 'eu-1/guard/ban/rules' None" in back
    about = {"release.ban": "Keeps removed releases out of every cluster."}
    for foreseen in ({}, {"ban": Change("nothing yet")}):
        said = by_hand(tape.run, tape.now, typed, foreseen, about).split("Ban 2.4.1\n")[1].split("###")[0]
        assert "It does this: Keeps removed releases out of every cluster.\n- service: shop\n- releases: " in said
        assert "- other" not in said and "look then" in said


def test_a_release_whose_record_is_kept_elsewhere_is_told_as_such() -> None:
    tape = scenes.asked_backend()
    assert tape.run.target is not None
    kept = Blob("sha256:" + "d" * 64, 9000, "application/json")
    tape.run = replace(tape.run, target=replace(tape.run.target, settings=kept))
    check = replace(tape.run.steps["health"].spec, params={"settings": {REF: "target.settings"}})
    deploy = replace(tape.run.steps["freeze"].spec, id="later", uses="x", params=dict(check.params or {}))
    steps = {**tape.run.steps, "health": replace(tape.run.steps["health"], spec=check), "later": Step(deploy)}
    tape.run = replace(tape.run, steps=steps)
    assert f'- settings: {{"digest":"{kept.digest}"' in text(tape)


def test_after_an_abort_only_what_is_changed_is_put_back() -> None:
    said = text(scenes.aborted())
    assert "The run was aborted" in said and "## To put back what is still changed" in said
    assert "set 'shop-worker/replicas' 6" in said and "orders.coupon_id" not in said


async def test_large_values_are_whole_and_a_service_that_is_gone_is_told_in_words(tmp_path: Path) -> None:
    files = FileBlobs(tmp_path)
    blob = await files.put(b"z" * 9000, "text/plain")
    tape = scenes.asked_backend()
    settings = tape.run.steps["settings"]
    assert settings.change is not None
    change = replace(settings.change, edits=(Edit("eu-1/configmap/shop/data/rules", blob, "short"),))
    tape.run = replace(tape.run, steps={**tape.run.steps, "settings": replace(settings, change=change)})
    assert "z" * 9000 in await ByHand(files, lambda: tape.now, lambda run: typed).of(tape.run)

    def gone(run: object) -> object:
        raise Unreachable("not catalogued any more")

    said = await ByHand(files, lambda: tape.now, gone).of(tape.run)  # type: ignore[arg-type]
    assert in_words("", [Edit("shop-worker/replicas", 6, 0)])[0] in said
