"""The main path from a terminal, and the ways in which people leave it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

from bot.cli.output import Code
from tests.fixtures.whole_bot import PLAN, House, Running


def until(house: House, person: str, run: str, true: Callable[[Any], object], within: float = 60.0) -> Any:
    """The run as shown, once something holds of it."""
    end = time.monotonic() + within
    while not true(shown := house.json(person, "show", run)):
        assert time.monotonic() < end, shown["text"]
        time.sleep(0.05)
    return shown


def is_open(decision: str) -> Callable[[Any], bool]:
    return lambda shown: any(d["name"] == decision and d["state"] == "open" for d in shown["decisions"])


def card(shown: Any, decision: str) -> str:
    return next(str(d["card"]) for d in shown["decisions"] if d["name"] == decision)


def opened(house: House, *more: str) -> str:
    """A rollback that ana asked for and started, waiting for an approver."""
    run = str(house.json("ana", "rollback", "shop", "to", "2.4.0", "because", "checkout", "fails", *more)["run"])
    shown = until(house, "ana", run, is_open("start"))
    assert house.say("ana", "approve", run, "start", "--card", card(shown, "start")).exit_code == 0
    until(house, "ana", run, is_open("backend"))
    return run


def test_a_rollback_goes_from_words_to_verified_and_forward_again(bot: Running) -> None:
    house = bot.house
    run = opened(house)
    seen = card(house.json("cho", "show"), "backend")

    refused = house.say("ana", "approve", run, "backend", "--card", seen)
    assert refused.exit_code == 1
    assert "Who can: @ben, @cho" in refused.stderr and not refused.stdout

    assert house.say("cho", "approve", run, "backend", "--card", seen).exit_code == 0
    live = house.say("cho", "show", run, "--live")
    assert live.exit_code == 0, live.output
    assert (
        "Switch the release: done: api: 2.4.1 -> 2.4.0" in live.stdout
        and "verified after" in live.stdout.splitlines()[-1]
    )

    assert "verified" in house.say("eve", "audit", "verify").stdout
    assert house.json("eve", "audit", run, "verify")["ok"]
    table = house.say("eve", "audit", run, "export").stdout
    assert "| cho (approver), cho via cli | cho approved" in table
    page = house.folder / "timeline.html"
    assert house.say("eve", "audit", run, "export", "--format", "html", "-o", str(page)).exit_code == 0
    assert "<b>cho</b> (approver), cho via cli" in page.read_text()
    rows = house.say("eve", "audit", run, "export", "--format", "jsonl").stdout.splitlines()
    found = [json.loads(r) for r in rows]
    events, links = [r for r in found if "at" in r], [r for r in found if "checkpoint" in r]
    assert [r["seq"] for r in events] == list(range(1, len(events) + 1)) and [*events, *links] == found and links

    forward = house.json("ana", "forward", run, "because", "it", "was", "the", "payment", "provider")
    assert forward["title"] == "Roll forward of shop: 2.4.0 → 2.4.1"
    assert house.say("ana", "status").stdout.startswith(forward["title"])
    assert [r["run"] for r in house.json("ana", "history", "shop")["runs"]] == [forward["run"], run]


def test_the_run_and_the_decision_may_be_left_out_where_only_one_is_open(bot: Running) -> None:
    house = bot.house
    run = opened(house)
    seen = card(house.json("cho", "show"), "backend")
    assert house.json("cho", "show", "shop")["run"] == run
    assert house.json("cho", "status", run)["run"] == run
    for words in (("stop",), ("resume", "shop"), ("approve", "backend", "--card", seen)):
        found = house.say("cho", *words)
        assert found.exit_code == 0, found.output
    assert house.say("ana", "show", "--live").exit_code == 0


def test_without_a_terminal_and_without_a_card_nothing_is_approved(bot: Running) -> None:
    house = bot.house
    run = opened(house)
    found = house.say("cho", "approve")
    assert found.exit_code == 1
    assert "api/release: 2.4.1 → 2.4.0" in found.stderr
    again = found.stderr.splitlines()[-1].split()
    assert again[:4] == ["rollback-bot", "approve", run, "backend"]
    assert house.say("cho", *again[1:]).exit_code == 0


def test_a_card_that_was_not_looked_at_is_refused(bot: Running) -> None:
    opened(bot.house)
    found = bot.house.say("cho", "approve", "backend", "--card", "0" * 12)
    assert found.exit_code == 1 and "look again" in found.stderr


def test_a_typed_phrase_is_asked_for_and_must_be_right(bot: Running) -> None:
    house = bot.house
    run = opened(house, "--plan", "typed")
    seen = card(house.json("cho", "show"), "backend")
    wrong = house.say("cho", "approve", run, "backend", "--card", seen, "--phrase", "backend")
    assert wrong.exit_code == 2 and 'Type "backend shop"' in wrong.stderr
    asked = house.say("cho", "approve")
    assert "--phrase 'backend shop'" in asked.stderr
    assert house.say("cho", "approve", run, "backend", "--card", seen, "--phrase", "backend shop").exit_code == 0


def test_break_glass_needs_a_reason_and_is_recorded_with_it(bot: Running) -> None:
    house = bot.house
    run = opened(house)
    assert house.say("dee", "break-glass", run, "backend").exit_code == 2
    seen = card(house.json("dee", "show"), "backend")
    words = ("break-glass", run, "backend", "--card", seen, "because", "nobody", "answers", "the", "phone")
    assert "Glass broken" in house.say("dee", *words).stdout
    assert "nobody answers the phone" in house.say("dee", "audit", run, "export").stdout


def test_following_an_aborted_run_ends_with_5_and_says_how_it_ended(bot: Running) -> None:
    house = bot.house
    run = opened(house)
    assert house.say("ana", "abort", run, "because", "a", "false", "alarm").exit_code == 0
    found = house.say("eve", "show", run, "--live")
    assert found.exit_code == 5 and "It ended: aborted." in found.stderr
    lines = house.say("eve", "show", run, "--live", "--json").stdout.splitlines()
    assert json.loads(lines[-1])["error"]["outcome"] == "aborted"
    assert json.loads(lines[0])["kind"] == "created"


def stopped(house: House) -> str:
    """A run whose switch was refused by the shop, while it is read-only."""
    run = opened(house)
    fault = {"next": 1000, "method": "PUT", "path": "/release", "status": 422}
    request = Request(f"{house.shop}/faults", json.dumps(fault).encode(), method="PUT")
    with urlopen(request) as answer:
        assert answer.status == 200
    seen = card(house.json("cho", "show"), "backend")
    assert house.say("cho", "approve", run, "backend", "--card", seen).exit_code == 0
    until(house, "ana", run, lambda s: s["halts"])
    return run


def test_a_step_that_stopped_is_skipped_by_two_people_and_can_be_tried_again(bot: Running) -> None:
    house = bot.house
    run = stopped(house)
    assert f"rollback-bot retry {run} switch" in house.say("eve", "show").stdout
    assert house.say("ana", "retry", "switch").exit_code == 0
    until(house, "ana", run, lambda s: s["halts"])
    proposed = house.say("ana", "skip", run, "switch", "because", "it", "serves", "already")
    proposal = proposed.stdout.split("`agree ")[1].split("`")[0]
    assert house.say("ana", "agree", run, proposal).exit_code == 1
    assert house.say("cho", "agree", run, proposal).stdout.startswith("Done")
    shown = until(house, "ana", run, lambda s: not s["halts"] and s["steps"][2]["state"] == "skipped")
    assert "it serves already" in shown["text"]


def test_a_debt_of_an_aborted_run_is_handed_over_with_a_time(bot: Running) -> None:
    house = bot.house
    run = stopped(house)
    assert "Still in place: Go read-only" in house.say("ana", "abort", run, "because", "enough").stdout
    past = house.say("ana", "hand-over", "quiesce", "--to", "ben", "--until", "2020-01-01", "because", "he knows")
    assert past.exit_code == 2 and "future" in past.stderr
    words = ("hand-over", "quiesce", "--to", "@ben", "--until", "2h", "because", "ben", "knows", "it")
    assert house.say("ana", *words).stdout == "Go read-only is @ben's now.\n"
    shown = until(house, "ana", run, lambda s: not s["open"])
    assert shown["outcome"] == "aborted, debts handed over" and "@ben sees to it" in shown["text"]
    owed = house.say("ben", "debts")
    assert "Go read-only is in place" in owed.stdout and "@ben sees to it until" in owed.stdout
    assert f"rollback-bot restore {run} quiesce" in owed.stdout
    (debt, *_) = json.loads(house.say("ben", "debts", "shop", "--json").stdout)["owed"]
    assert (debt["what"], debt["owner"], debt["overdue"]) == ("debt", "ben", False)
    assert "Nothing is in place" in house.say("ben", "debts", "billing").stdout


def test_a_debt_of_an_aborted_run_is_restored(bot: Running) -> None:
    house = bot.house
    run = stopped(house)
    house.say("ana", "abort", run, "because", "enough")
    assert house.say("ana", "restore", "quiesce", "because", "customers", "wait").exit_code == 0
    assert until(house, "ana", run, lambda s: not s["open"])["outcome"] == "aborted"
    with urlopen(f"{house.shop}/maintenance") as answer:
        assert json.load(answer)["read_only"] is False


def test_another_plan_takes_the_place_of_one_that_has_not_begun(bot: Running) -> None:
    house = bot.house
    old = str(house.json("ana", "rollback", "shop", "to", "2.4.0", "because", "checkout", "fails")["run"])
    assert house.say("ana", "replan", "typed").exit_code == Code.USAGE
    new = house.json("ana", "replan", "typed", "because", "only", "the", "api", "is", "bad")
    assert new["run"] != old and new["title"] == "Rollback of shop: 2.4.1 → 2.4.0"
    shown = house.json("ana", "show", old)
    assert not shown["open"] and shown["outcome"] == "aborted"
    assert "plan typed instead: only the api is bad" in house.say("ana", "audit", old, "export").stdout
    no = house.say("ana", "replan", old, "standard", "because", "all", "of", "it")
    assert no.exit_code == Code.REFUSED


def test_what_nobody_could_decide_names_the_option_that_opens_it_all_the_same(bot: Running) -> None:
    house = bot.house
    (house.folder / "plans" / "standard.yaml").write_text(PLAN.replace("approver: 1", "approver: 9"))
    words = ("rollback", "shop", "to", "2.4.0", "because", "checkout", "fails")
    no = house.say("ana", *words)
    assert no.exit_code == Code.REFUSED and "Nobody can pass 1 of" in no.output and "That is `--despite`." in no.output
    assert house.say("ana", *words, "--despite").exit_code == 0
