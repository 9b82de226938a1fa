"""Past a dead bot: only past a dead one, only as who the operating system says, and recorded so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.cli.output import Code
from tests.cli.test_path import card, is_open, opened, until
from tests.fixtures.whole_bot import OS_USER, House, Running, shop_running, stocked

DIRECT = ("--direct", "the bot is down since 14:02")


@pytest.fixture
def left(house: House) -> Iterator[tuple[House, str]]:
    """A run that waits for an approver, and no bot any more."""
    running = Running(house)
    try:
        run = opened(house)
    finally:
        running.stop()
    yield house, run


def test_beside_a_live_bot_it_is_refused(bot: Running) -> None:
    found = bot.house.say("ana", "status", *DIRECT)
    assert found.exit_code == Code.REFUSED
    assert "another bot works on this database" in found.stderr


def test_on_postgresql_a_live_bot_is_seen_as_well(tmp_path: Path, pg_database: str) -> None:
    with shop_running() as shop:
        house = stocked(House(tmp_path, shop.url, database=pg_database))
        running = Running(house)
        try:
            found = house.say("", "status", *DIRECT)
            assert found.exit_code == Code.REFUSED and "are alive on this database" in found.stderr
        finally:
            running.stop()
        assert house.say("", "status", *DIRECT).exit_code == 0


def test_it_looks_without_a_bot(left: tuple[House, str]) -> None:
    house, run = left
    assert run in house.say("", "status", *DIRECT).stdout
    assert "Bring the backend back" in house.say("", "show", *DIRECT).stdout
    assert house.say("", "audit", "verify", *DIRECT).exit_code == 0
    assert house.say("", "whoami", *DIRECT).stdout == f"{OS_USER} (@{OS_USER}): commander\n"
    assert "cannot be said now" in house.say("", "preview", "shop", *DIRECT).stdout


def exported(house: House, run: str) -> list[dict[str, Any]]:
    """The rows of a run."""
    lines = house.say("", "audit", run, "export", "--format", "jsonl", *DIRECT).stdout.splitlines()
    return [row for line in lines if "at" in (row := json.loads(line))]


def test_what_is_said_is_recorded_with_the_reason_and_nothing_begins(left: tuple[House, str]) -> None:
    house, run = left
    before = len(exported(house, run))
    found = house.say("", "stop", "because", "wait for me", *DIRECT)
    assert found.exit_code == 0 and "A bot goes on from here" in found.stderr
    rows = exported(house, run)
    assert [r["kind"] for r in rows[before:]] == ["stopped"]
    assert rows[-1]["body"]["by"]["via"] == f"direct:{OS_USER}: the bot is down since 14:02"


def test_the_bot_goes_on_from_it_when_it_is_back(left: tuple[House, str]) -> None:
    house, run = left
    taken = house.say("", "take", *DIRECT)
    assert taken.exit_code == Code.REFUSED and "was active" in taken.stderr
    assert house.say("", "stop", *DIRECT).exit_code == 0
    assert house.say("", "resume", *DIRECT).exit_code == 0
    running = Running(house)
    try:
        shown = until(house, "cho", run, is_open("backend"))
        assert house.say("cho", "approve", run, "backend", "--card", card(shown, "backend")).exit_code == 0
        assert until(house, "cho", run, lambda s: not s["open"])["outcome"] == "verified"
        assert house.json("eve", "audit", "verify")["ok"]
    finally:
        running.stop()


def test_it_never_stands_for_a_second_person(left: tuple[House, str]) -> None:
    house, run = left
    shown = house.json("", "show", *DIRECT)
    found = house.say("", "approve", run, "backend", "--card", card(shown, "backend"), *DIRECT)
    assert found.exit_code == Code.REFUSED and "Not yours to decide: this needs an approver" in found.stderr
    assert house.say("ana", "abort", run, "because", "it is me, ana", *DIRECT).exit_code == Code.REFUSED


def test_a_token_in_the_environment_makes_nobody_else_of_you(left: tuple[House, str]) -> None:
    house, _ = left
    assert house.json("cho", "whoami", *DIRECT)["id"] == OS_USER


def test_without_a_reason_or_a_place_in_the_catalogue_it_is_refused(left: tuple[House, str]) -> None:
    house, _ = left
    assert house.say("", "status", "--direct", "x").exit_code == Code.USAGE
    token = "rbt_" + "aB3" * 12
    found = house.say("", "status", "--direct", f"the bot is down, it said {token}")
    assert found.exit_code == Code.USAGE and "looks like a secret" in found.stderr and token not in found.stderr
    catalogue = house.folder / "rollback.yaml"
    catalogue.write_text(catalogue.read_text().replace(f", {OS_USER}", "").replace(f"  {OS_USER}: {OS_USER}\n", ""))
    found = house.say("", "status", *DIRECT)
    assert found.exit_code == Code.REFUSED and f"You are {OS_USER!r} here" in found.stderr


def test_whoever_brings_another_catalogue_says_nothing_in_a_run_of_before(left: tuple[House, str]) -> None:
    house, run = left
    file = house.folder / "rollback.yaml"
    before = file.read_text()
    file.write_text(before.replace("approver: {people: [", f"approver: {{people: [{OS_USER}, "))
    shown = house.json("", "show", *DIRECT)
    found = house.say("", "approve", run, "backend", "--card", card(shown, "backend"), *DIRECT)
    assert found.exit_code == Code.REFUSED and "was opened with catalogue" in found.stderr
    assert house.say("", "stop", *DIRECT).exit_code == Code.REFUSED
    file.write_text(before)
    assert house.say("", "stop", *DIRECT).exit_code == 0


def test_what_it_opens_pins_its_places_too(house: House) -> None:
    opened = house.json("", "rollback", "shop", "to", "2.4.0", "because", "checkout fails", *DIRECT)
    rows = house.say("", "audit", opened["run"], "export", "--format", "jsonl", *DIRECT).stdout.splitlines()
    assert json.loads(rows[0])["body"]["places"]["api"]["at"] == house.shop
