"""The ledger of releases: what may be registered, what serves, and what is never gone back to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import migrations
from bot.catalogue import Release
from bot.plan.model import Plan, StepSpec
from bot.policy import Actor
from bot.ports import Blob
from bot.releases.ledger import REMOVED, Entry
from bot.releases.register import (
    WINDOW,
    BadRelease,
    ReleaseConflict,
    ReleasePayload,
    ReleaseRegister,
    UnknownRelease,
    faults,
    sign,
    verify_signature,
)
from bot.run import events as ev
from bot.run.fold import evolve
from bot.run.state import Run, new_run
from bot.store import tables as t
from bot.store.log import Store
from bot.store.rows import ReleaseRow, to_row
from tests.fixtures.stores import store as store

NOW = 1_763_900_000.0
HOUR, DAY = 3600.0, 86400.0
ANA = Actor("U1", "ana", ("commander",))


FRONT = f"b/1@sha256:{'f' * 64}"


def image(letter: str) -> str:
    return f"registry.example/shop-api@sha256:{letter * 64}"


def release(version: str, letter: str = "a") -> Release:
    return Release(
        version, f"c-{version}", {"shop-api": image(letter)}, f"builds/{version}@sha256:{letter * 64}", "0041"
    )


@pytest.fixture
def releases(store: Store) -> ReleaseRegister:
    return ReleaseRegister(store, lambda: NOW)


@pytest.fixture
async def both(database_url: str) -> AsyncIterator[tuple[ReleaseRegister, ReleaseRegister]]:
    """The same ledger in two processes, once for each back end."""
    migrations.upgrade(database_url)
    stores = [await Store.open(database_url) for _ in range(2)]
    yield ReleaseRegister(stores[0], lambda: NOW), ReleaseRegister(stores[1], lambda: NOW)
    for found in stores:
        await found.close()


async def shop(releases: ReleaseRegister, *versions: str, each: float = 2 * DAY) -> None:
    """Releases of shop that served one after another, the last one since `each` seconds."""
    for i, v in enumerate(versions):
        since = NOW - (len(versions) - i) * each
        await releases.record("shop", release(v, "abcdef"[i % 6]), by="ci", at=since - 60, serving_since=since)


def run_of(
    removed: str, target: str, *events: ev.Event, id: str = "r1", follows: str = "", purpose: str = "rollback"
) -> Run:
    plan = Plan("small", (StepSpec("deploy", "Deploy", "backend", "action", "http.put"),))
    opened = ev.Created(
        "shop", plan, plan.digest, release(removed), release(target), "checkout fails", ANA, purpose, follows=follows
    )
    run = new_run(id)
    for i, e in enumerate([opened, *events]):
        run = evolve(run, e, NOW - 100 + i)
    return run


# -- registering -----------------------------------------------------------------------------------------------------


async def test_a_release_is_kept_as_it_was_registered(both: tuple[ReleaseRegister, ReleaseRegister]) -> None:
    releases, there = both
    full = Release("2.4.0", "c1", {"api": image("a"), "worker": image("b")}, FRONT, "0041", image("a"))
    found = await releases.record("shop", full, by="ci", at=NOW - 5)
    assert found.new and found.registered.state == "candidate"
    kept = await there.get("shop", "2.4.0")
    assert kept == found.registered and kept.release == full and kept.at == NOW - 5
    assert kept.history == (Entry(NOW - 5, "registered", "ci"),)
    assert await releases.get("shop", "2.4.1") is None and await releases.all("blog") == []


async def test_the_same_again_is_harmless(releases: ReleaseRegister) -> None:
    first = await releases.record("shop", release("2.4.0"), by="ci")
    again = await releases.record("shop", release("2.4.0"), by="somebody", at=NOW + 50)
    assert not again.new and again.registered == first.registered


async def test_another_digest_under_a_version_is_refused_and_named(releases: ReleaseRegister) -> None:
    await releases.record("shop", release("2.4.0", "a"), by="ci")
    with pytest.raises(ReleaseConflict) as e:
        await releases.record("shop", replace(release("2.4.0", "b"), schema=None), by="ci")
    for part in ("shop 2.4.0", f"images.shop-api: registered {image('a')}, sent {image('b')}", "sent none", "Nothing"):
        assert part in str(e.value)
    kept = await releases.get("shop", "2.4.0")
    assert kept and kept.release == release("2.4.0", "a")


async def test_every_mistake_is_told_at_once_and_nothing_is_written(releases: ReleaseRegister) -> None:
    wrong = Release("", "c\n1", {"api": "shop/api:2.4.1", "two words": image("a"), "worker": image("a")[:-1]})
    with pytest.raises(BadRelease) as e:
        await releases.record("shop", wrong, by="ci")
    lines = str(e.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["version", "images.api", "images", "images.worker", "commit"]
    assert "<repository>@sha256:<64 hex digits>" in lines[1]
    assert await releases.all("shop") == []


@pytest.mark.parametrize("version", ["", " ", "2.4 0", "-rf", "2.4.0\n", "x" * 129, "2.4\x000"])
def test_what_is_no_version_is_refused(version: str) -> None:
    assert faults(Release(version)) != []


@pytest.mark.parametrize("version", ["2.4.0", "v2", "2.4.1+build.5", "release/2026-11", "7c1e9a2", "1"])
def test_versions_as_people_write_them_are_taken(version: str) -> None:
    assert faults(Release(version)) == []


# -- serving ---------------------------------------------------------------------------------------------------------


async def test_the_one_before_stops_where_the_next_begins(releases: ReleaseRegister) -> None:
    await shop(releases, "2.3.9", "2.4.0")
    assert await releases.current("shop") == release("2.4.0", "b")
    old = await releases.get("shop", "2.3.9")
    assert old and [(s.since, s.until) for s in old.served] == [(NOW - 4 * DAY, NOW - 2 * DAY)]
    assert old.served_for(NOW) == 2 * DAY


async def test_what_never_served_is_not_current(releases: ReleaseRegister) -> None:
    assert await releases.current("shop") is None
    await releases.record("shop", release("2.4.0"), by="ci")
    assert await releases.current("shop") is None


async def test_serving_can_be_told_twice_and_late(both: tuple[ReleaseRegister, ReleaseRegister]) -> None:
    releases, _ = both
    for version in ("1.0", "1.1", "1.2"):
        await releases.record("shop", release(version), by="ci", at=NOW - DAY)
    await releases.served("shop", "1.0", NOW - 300)
    await releases.served("shop", "1.2", NOW - 100)
    for _ in range(2):
        await releases.served("shop", "1.1", NOW - 200)
        await releases.served("shop", "1.0", NOW - 250)  # it served already
    spells = {r.version: [(s.since, s.until) for s in r.served] for r in await releases.all("shop")}
    assert spells == {
        "1.0": [(NOW - 300, NOW - 200)], "1.1": [(NOW - 200, NOW - 100)], "1.2": [(NOW - 100, None)],
    }  # fmt: skip
    rows = {row.version: (row.served_from, row.served_until) for row in await releases.store.releases("shop")}
    assert rows == {v: s[-1] for v, s in spells.items()}


async def test_an_unknown_release_is_named_with_those_that_are_known(releases: ReleaseRegister) -> None:
    await shop(releases, "2.3.9", "2.4.0")
    with pytest.raises(UnknownRelease, match=r"no release '2\.4\.9'; registered last: 2\.4\.0, 2\.3\.9"):
        await releases.served("shop", "2.4.9", NOW)
    assert await releases.current("shop") == release("2.4.0", "b")


# -- judging ---------------------------------------------------------------------------------------------------------


async def test_every_transition_is_kept_with_who_when_and_why(releases: ReleaseRegister) -> None:
    await shop(releases, "2.4.0")
    await releases.stable("shop", "2.4.0", "ana", "soaked", at=NOW + 1)
    await releases.bad("shop", "2.4.0", "leaks\nmemory\x00", "ben", at=NOW + 2)
    await releases.ban("shop", "2.4.0", "INC-4188", "cho", at=NOW + 3)
    found = await releases.lift("shop", "2.4.0", "was the network", "ana", at=NOW + 4)
    assert found.state == "candidate" and found.reason == ""
    assert found.history[2:] == (
        Entry(NOW + 1, "stable", "ana", "soaked"), Entry(NOW + 2, "bad", "ben", "leaks memory"),
        Entry(NOW + 3, "banned", "cho", "INC-4188"), Entry(NOW + 4, "lifted", "ana", "was the network"),
    )  # fmt: skip


async def test_judging_twice_changes_nothing(releases: ReleaseRegister) -> None:
    await shop(releases, "2.4.0")
    first = await releases.ban("shop", "2.4.0", "INC-1", "ana", at=NOW)
    assert await releases.ban("shop", "2.4.0", "INC-1", "ana", at=NOW + 9) == first
    assert (await releases.ban("shop", "2.4.0", "INC-2", "ana", at=NOW + 9)).reason == "INC-2"


async def test_a_ban_is_not_weakened_by_marking_it_bad(releases: ReleaseRegister) -> None:
    await shop(releases, "2.4.0")
    await releases.ban("shop", "2.4.0", "INC-1", "ana")
    found = await releases.bad("shop", "2.4.0", "slow too", "ben")
    assert (found.state, found.reason, found.history[-1].what) == ("banned", "INC-1", "bad")


async def test_a_bad_one_is_not_stable_before_it_is_lifted(releases: ReleaseRegister) -> None:
    await shop(releases, "2.4.0")
    await releases.bad("shop", "2.4.0", "leaks", "ana")
    with pytest.raises(ReleaseConflict, match=r"2\.4\.0 is bad \(leaks\).*release lift"):
        await releases.stable("shop", "2.4.0", "ben")
    await releases.lift("shop", "2.4.0", "fixed by a restart", "ana")
    assert (await releases.stable("shop", "2.4.0", "ben")).state == "stable"
    assert (await releases.lift("shop", "2.4.0", "again", "ana")).state == "stable"


@pytest.mark.parametrize("verb", ["bad", "ban", "lift"])
async def test_judging_needs_a_reason(releases: ReleaseRegister, verb: str) -> None:
    await shop(releases, "2.4.0")
    with pytest.raises(BadRelease, match="needs a reason"):
        await getattr(releases, verb)("shop", "2.4.0", " \n", "ana")


async def test_a_newer_release_lifts_no_ban_but_is_written_down_once(releases: ReleaseRegister) -> None:
    await shop(releases, "2.4.1")
    await releases.ban("shop", "2.4.1", "INC-1", "ana")
    await releases.record("shop", release("2.3.10"), by="ci")  # registered later, but an older number
    for v in ("2.4.2", "2.4.3"):
        await releases.record("shop", release(v), by="ci", at=NOW)
    found = await releases.get("shop", "2.4.1")
    assert found and found.state == "banned"
    assert [e for e in found.history if e.what == "newer registered"] == [Entry(NOW, "newer registered", "ci", "2.4.2")]


async def test_no_transition_is_lost_between_two_processes(both: tuple[ReleaseRegister, ReleaseRegister]) -> None:
    here, _ = both
    await shop(here, "2.4.0")
    await asyncio.gather(
        *(r.ban("shop", "2.4.0", f"INC-{n}", "ana") for n, r in enumerate(both * 8)),
        *(r.record("shop", release(f"3.{n}"), by="ci", serving_since=NOW + n) for n, r in enumerate(both * 4)),
        *(r.record("shop", release("4.0"), by="ci") for r in both * 2),
    )
    found = {r.version: r for r in await here.all("shop")}
    assert {e.why for e in found["2.4.0"].history if e.what == "banned"} == {f"INC-{n}" for n in range(16)}
    assert [v for v, r in found.items() if r.serves] == ["3.7"] and len(found) == 10
    assert all(r.served for v, r in found.items() if v != "4.0")


async def left_behind(releases: ReleaseRegister, row: ReleaseRow) -> None:
    """What another version of the bot has written."""
    mine = (t.release.c.service == row.service, t.release.c.version == row.version)
    await releases.store.db.write(lambda c: c.execute(sa.update(t.release).where(*mine).values(to_row(row))))


async def test_what_a_newer_version_of_the_bot_wrote_survives_a_transition(releases: ReleaseRegister) -> None:
    await shop(releases, "2.4.0")
    row = (await releases.store.releases("shop"))[0]
    newer = row.body.replace('"release":{', '"extra":1,"release":{"sbom":"s1",').replace(
        '"what":"registered"', '"what":"registered","run":"r9"'
    )
    await left_behind(releases, replace(row, body=newer))
    await releases.stable("shop", "2.4.0", "ana")
    body = (await releases.store.releases("shop"))[0].body
    for part in ('"extra":1', '"sbom":"s1"', '"run":"r9"', '"what":"stable"'):
        assert part in body


async def test_a_state_of_a_newer_version_is_never_gone_back_to(releases: ReleaseRegister) -> None:
    await shop(releases, "2.3.9", "2.4.0", "2.4.1")
    row = next(r for r in await releases.store.releases("shop") if r.version == "2.4.0")
    await left_behind(releases, replace(row, state="quarantined", reason="by 3.0"))
    choice = await releases.choose("shop", removed="2.4.1", floor=None, now=NOW)
    assert choice.best and choice.best.release.version == "2.3.9"
    assert choice.passed_over[0].passed_over == "quarantined: by 3.0"


async def test_a_damaged_row_is_named(releases: ReleaseRegister) -> None:
    await shop(releases, "2.4.0")
    row = (await releases.store.releases("shop"))[0]
    await left_behind(releases, replace(row, body='{"history":[]}'))
    with pytest.raises(ValueError, match=r"release 2\.4\.0 of shop cannot be read"):
        await releases.current("shop")


# -- going back ------------------------------------------------------------------------------------------------------


async def test_the_storyboard_is_told_as_written(releases: ReleaseRegister) -> None:
    for v in ("2.4.0-rc2", "2.4.0", "2.4.1"):
        await releases.record("shop", release(v), by="ci", at=NOW - 9 * DAY)
    await releases.served("shop", "2.4.0-rc2", NOW - 8 * DAY)
    await releases.ban("shop", "2.4.0-rc2", "INC-4188", "ana")
    await releases.served("shop", "2.4.0", NOW - 6 * DAY - 6 * HOUR)
    await releases.served("shop", "2.4.1", NOW - 2 * HOUR)
    choice = await releases.choose("shop", removed="2.4.1", floor=None, now=NOW)
    assert choice.best and choice.best.release.version == "2.4.0"
    assert choice.best.why == ("served 6 d 4 h until 2 h ago, stable",)
    assert choice.evidence == (
        "2.4.0 served 6 d 4 h until 2 h ago, stable.",
        "Passed over: 2.4.0-rc2 (banned: INC-4188).",
    )


async def test_newest_stable_comes_before_newer_ones_that_served_too_short(releases: ReleaseRegister) -> None:
    await shop(releases, "1.0", "1.1", each=3 * DAY)
    await releases.record("shop", release("1.2"), by="ci", serving_since=NOW - 5 * HOUR)
    await releases.record("shop", release("1.3"), by="ci", serving_since=NOW - 2 * HOUR)
    found = await releases.candidates("shop", removed="1.3", floor=None, now=NOW)
    assert [c.release.version for c in found] == ["1.1", "1.0", "1.2", "1.3"]
    assert found[2].why == ("served 3 h until 2 h ago; not yet the 1 d that count as stable",)
    assert found[3].passed_over == REMOVED
    short = await releases.candidates("shop", removed="1.3", floor=None, now=NOW, stable_after=HOUR)
    assert short[0].release.version == "1.2"
    await releases.stable("shop", "1.2", "ci", "canary passed")
    best = (await releases.candidates("shop", removed="1.3", floor=None, now=NOW))[0]
    assert best.why == ("served 3 h until 2 h ago, stable", "marked stable by ci: canary passed")


async def test_without_a_removed_one_it_is_what_serves(releases: ReleaseRegister) -> None:
    await shop(releases, "1.0", "1.1")
    choice = await releases.choose("shop", removed=None, floor=None, now=NOW)
    assert choice.best and choice.best.release.version == "1.0"


async def test_one_that_never_served_is_taken_only_if_there_is_nothing_else(releases: ReleaseRegister) -> None:
    await shop(releases, "1.0", "1.1")
    await releases.record("shop", release("1.2"), by="ci")
    found = await releases.candidates("shop", removed="1.1", floor=None, now=NOW)
    assert {c.release.version: c.passed_over for c in found} == {"1.0": "", "1.1": REMOVED, "1.2": "never served"}
    await releases.bad("shop", "1.0", "leaks", "ana")
    choice = await releases.choose("shop", removed="1.1", floor=None, now=NOW)
    assert choice.best and choice.best.release.version == "1.2" and "never served" in choice.best.warning
    assert choice.evidence == (
        "1.2 registered 0 s ago, never served.",
        "Careful: it has never served, so nothing is known of how it behaves.",
        "Passed over: 1.0 (bad: leaks).",
    )


async def test_one_that_never_served_and_is_vouched_for_can_be_gone_back_to_after_all_that_served(
    releases: ReleaseRegister,
) -> None:
    await shop(releases, "1.0", "1.1")
    await releases.record("shop", release("1.2"), by="ci")
    await releases.stable("shop", "1.2", "ana", "ran in staging for a week")
    found = await releases.candidates("shop", removed="1.1", floor=None, now=NOW)
    assert [c.release.version for c in found if not c.passed_over] == ["1.0", "1.2"]
    assert found[1].why[1:] == (
        "marked stable by ana: ran in staging for a week",
        "careful: it has never served, so nothing is known of how it behaves",
    )


async def test_with_nothing_to_go_back_to_it_says_what_to_do(releases: ReleaseRegister) -> None:
    await shop(releases, "1.0", "1.1")
    await releases.ban("shop", "1.0", "INC-1", "ana")
    choice = await releases.choose("shop", removed="1.1", floor=None, now=NOW)
    assert choice.best is None
    assert choice.evidence[:2] == ("No release to go back to.", "Passed over: 1.0 (banned: INC-1).")
    assert "release record" in choice.evidence[2]


@pytest.mark.parametrize(
    ("floor", "best"),
    [("2.9.0", "2.10.0"), ("2.10.0-rc1", "2.10.0"), ("2.10.0", "2.10.0"), ("v2.10.0", "2.10.0"), ("2.10.1", None)],
)
async def test_the_floor_is_compared_as_a_version(releases: ReleaseRegister, floor: str, best: str | None) -> None:
    await shop(releases, "2.9.0-rc1", "2.10.0", "2.11.0")
    choice = await releases.choose("shop", removed="2.11.0", floor=floor, now=NOW)
    assert (choice.best.release.version if choice.best else None) == best
    assert f"2.9.0-rc1 (below the floor {floor})" in choice.evidence[-1 if best else 1]


async def test_versions_that_are_no_numbers_compare_by_when_they_were_registered(
    releases: ReleaseRegister,
) -> None:
    await shop(releases, "f00d", "1234567", "beef", "cafe")
    choice = await releases.choose("shop", removed="cafe", floor="1234567", now=NOW)
    assert choice.best and choice.best.release.version == "beef"
    assert [c.release.version for c in choice.passed_over] == ["f00d"]
    unknown = await releases.choose("shop", removed="cafe", floor="abad1dea", now=NOW)
    assert unknown.best is None and "cannot be compared with the floor abad1dea" in unknown.evidence[1]


async def test_what_it_served_before_it_was_marked_bad_proves_nothing(releases: ReleaseRegister) -> None:
    await shop(releases, "1.0", "1.1", "1.2", each=3 * DAY)
    await releases.bad("shop", "1.1", "leaks", "ana", at=NOW - 2 * DAY)
    await releases.lift("shop", "1.1", "it was the host", "ana", at=NOW - DAY)
    found = await releases.candidates("shop", removed="1.2", floor=None, now=NOW)
    assert [c.release.version for c in found] == ["1.0", "1.1", "1.2"]
    assert found[1].why[0].endswith("not yet the 1 d that count as stable")
    assert found[1].why[1] == "cleared by ana: it was the host"


async def test_many_passed_over_are_counted(releases: ReleaseRegister) -> None:
    await shop(releases, *(f"1.{n}" for n in range(8)))
    for n in range(1, 7):
        await releases.bad("shop", f"1.{n}", "x", "ana")
    choice = await releases.choose("shop", removed="1.7", floor=None, now=NOW)
    assert choice.evidence[-1] == "Passed over: 1.6 (bad: x), 1.5 (bad: x), 1.4 (bad: x), 1.3 (bad: x) and 2 more."


# -- what runs find out ----------------------------------------------------------------------------------------------

VERIFIED = (ev.Restored(), ev.Closed("verified"))


async def states(releases: ReleaseRegister) -> dict[str, str]:
    return {r.version: r.state for r in await releases.all("shop")}


async def test_a_verified_run_bans_what_it_removed_and_the_target_serves(releases: ReleaseRegister) -> None:
    await shop(releases, "2.3.9", "2.4.0", "2.4.1")
    run = run_of("2.4.1", "2.4.0", *VERIFIED)
    await releases.after_run(run)
    assert await states(releases) == {"2.3.9": "candidate", "2.4.0": "candidate", "2.4.1": "banned"}
    banned = await releases.get("shop", "2.4.1")
    assert banned and banned.reason == "removed by run r1: checkout fails"
    now = await releases.get("shop", "2.4.0")
    assert now and now.serves and now.served[-1].since == run.restored


async def test_a_second_rollback_does_not_bring_the_bad_one_back(releases: ReleaseRegister) -> None:
    await shop(releases, "2.3.9", "2.4.0", "2.4.1", each=5 * DAY)
    await releases.after_run(run_of("2.4.1", "2.4.0", *VERIFIED))
    choice = await releases.choose("shop", removed="2.4.0", floor=None, now=NOW)
    assert choice.best and choice.best.release.version == "2.3.9"
    assert "2.4.1 (banned: removed by run r1: checkout fails)" in choice.evidence[-1]


async def test_telling_of_a_run_again_does_not_undo_what_people_decided_since(releases: ReleaseRegister) -> None:
    await shop(releases, "2.4.0", "2.4.1")
    run = run_of("2.4.1", "2.4.0", *VERIFIED)
    await releases.after_run(run)
    await releases.lift("shop", "2.4.1", "it was the provider", "ana")
    before = await releases.all("shop")
    await releases.after_run(run)
    assert await releases.all("shop") == before


async def test_what_was_tried_is_banned_as_soon_as_the_run_is_retargeted(releases: ReleaseRegister) -> None:
    await shop(releases, "2.3.9", "2.4.0", "2.4.1")
    retargeted = ev.Retargeted(release("2.3.9"), "also fails", ANA)
    await releases.after_run(run_of("2.4.1", "2.4.0", retargeted))
    assert await states(releases) == {"2.3.9": "candidate", "2.4.0": "banned", "2.4.1": "candidate"}
    assert await releases.current("shop") == release("2.4.1", "c")
    await releases.after_run(run_of("2.4.1", "2.4.0", retargeted, *VERIFIED))
    assert await states(releases) == {"2.3.9": "candidate", "2.4.0": "banned", "2.4.1": "banned"}
    current = await releases.current("shop")
    assert current and current.version == "2.3.9"


@pytest.mark.parametrize(
    ("events", "state", "serves"),
    [
        ((ev.Closed("closed", ANA),), "bad", "2.4.1"),
        ((ev.Restored(), ev.Closed("closed", ANA)), "banned", "2.4.0"),
        ((ev.Closed("aborted"),), "candidate", "2.4.1"),
        ((ev.Restored(), ev.Closed("aborted, debts handed over")), "banned", "2.4.0"),
        ((), "candidate", "2.4.1"),
    ],
)
async def test_an_unverified_end_says_only_what_is_known(
    releases: ReleaseRegister, events: tuple[ev.Event, ...], state: str, serves: str
) -> None:
    await shop(releases, "2.4.0", "2.4.1")
    await releases.after_run(run_of("2.4.1", "2.4.0", *events))
    assert (await states(releases))["2.4.1"] == state
    current = await releases.current("shop")
    assert current and current.version == serves


@pytest.mark.parametrize("purpose", ["rollback", "forward"])
async def test_rolling_forward_again_lifts_the_ban_and_bans_nothing(
    releases: ReleaseRegister, store: Store, purpose: str
) -> None:
    await shop(releases, "2.4.0", "2.4.1")
    back = run_of("2.4.1", "2.4.0", *VERIFIED)
    await releases.after_run(back)
    assert back.created
    await store.append(new_run("r1"), [back.created, *VERIFIED], NOW)
    forward = run_of("2.4.0", "2.4.1", *VERIFIED, id="r2", follows="r1", purpose=purpose)
    assert forward.created
    await store.append(new_run("r2"), [forward.created, *VERIFIED], NOW)
    await releases.after_run(forward)
    assert await states(releases) == {"2.4.0": "candidate", "2.4.1": "candidate"}
    current = await releases.current("shop")
    assert current and current.version == "2.4.1"
    await releases.after_run(run_of("2.4.1", "2.4.0", *VERIFIED, id="r3", follows="r2"))
    assert await states(releases) == {"2.4.0": "candidate", "2.4.1": "banned"}


async def test_what_a_process_could_not_write_down_is_caught_up_with(releases: ReleaseRegister, store: Store) -> None:
    await shop(releases, "2.4.0", "2.4.1")
    run = run_of("2.4.1", "2.4.0", *VERIFIED)
    assert run.created
    await store.append(new_run("r1"), [run.created, *VERIFIED], NOW - 9)
    for _ in range(2):
        await releases.catch_up()
    assert await states(releases) == {"2.4.0": "candidate", "2.4.1": "banned"}
    current = await releases.get("shop", "2.4.0")
    assert current and current.serves and len(current.served) == 2


async def test_releases_that_only_a_run_knew_are_registered_by_it(releases: ReleaseRegister) -> None:
    await releases.after_run(run_of("2.4.1", "2.4.0", *VERIFIED))
    found = {r.version: r for r in await releases.all("shop")}
    assert found["2.4.0"].serves and found["2.4.1"].state == "banned"
    assert found["2.4.0"].history[0] == Entry(NOW - 100, "registered", "run r1", "not registered before the run")


# -- what CI sends ---------------------------------------------------------------------------------------------------


def test_the_payload_says_everything_that_a_release_has() -> None:
    sent = {
        "service": "shop", "version": "2.4.0", "commit": "c", "images": {"api": image("a")}, "frontend": FRONT,
        "schema": "0041", "migrations": image("b"), "serving_since": "2026-11-23T14:02:00Z",
        "jobs": ["receipt"], "compatible": "0040",
    }  # fmt: skip
    noted = {"settings", "last"}  # when it serves, by the bot itself
    assert set(sent) - {"service", "serving_since"} == {f.name for f in fields(Release)} - noted
    found = ReleasePayload.model_validate(sent)
    assert found.release == Release(
        "2.4.0", "c", {"api": image("a")}, FRONT, "0041", image("b"), jobs=("receipt",), compatible="0040"
    )
    assert found.serving_since and found.serving_since.timestamp() == 1795442520.0
    assert set(ReleasePayload.model_json_schema()["properties"]) == set(sent)


@pytest.mark.parametrize(
    "sent", [{"service": "shop"}, {"service": "shop", "version": "1", "image": "x"}, {"service": "", "version": "1"},
             {"service": "shop", "version": "1", "serving_since": "2026-11-23T14:02:00"}],
)  # fmt: skip
def test_a_payload_that_does_not_fit_is_refused(sent: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ReleasePayload.model_validate(sent)


BODY = '{"service":"shop","version":"2.4.0","commit":"é"}'.encode()


def test_a_signature_holds_for_its_secret_time_and_body_only() -> None:
    at = str(int(NOW))
    good = sign("s3cret", at, BODY)
    assert verify_signature("s3cret", at, BODY, good, NOW)
    assert not verify_signature("other", at, BODY, good, NOW)
    assert not verify_signature("s3cret", at, BODY + b" ", good, NOW)
    assert not verify_signature("s3cret", str(int(NOW) + 1), BODY, good, NOW)
    assert not verify_signature("s3cret", at, BODY, good.upper(), NOW)


def test_a_signature_is_good_for_five_minutes() -> None:
    at = str(int(NOW))
    good = sign("s3cret", at, BODY)
    assert verify_signature("s3cret", at, BODY, good, NOW + WINDOW)
    assert verify_signature("s3cret", at, BODY, good, NOW - WINDOW)
    assert not verify_signature("s3cret", at, BODY, good, NOW + WINDOW + 1)
    assert not verify_signature("s3cret", at, BODY, good, NOW - WINDOW - 1)


def test_without_a_secret_nothing_is_verified() -> None:
    at = str(int(NOW))
    assert not verify_signature("", at, BODY, sign("", at, BODY), NOW)


@given(st.text(max_size=20), st.text(max_size=80))
def test_no_header_whatever_its_text_is_an_error_or_good(timestamp: str, signature: str) -> None:
    assert not verify_signature("s3cret", timestamp, BODY, signature, NOW)


def test_a_signature_is_what_openssl_makes_of_the_same_text() -> None:
    """printf 'v0:%s:%s' "$time" "$body" | openssl dgst -sha256 -hmac "$secret" -r"""
    made = "e255e1c1c78ad9c4364b5cb03bd21d84d864fdbb056ae23b8516b307ccd90a6c"
    assert sign("s3cret", "1763900000", BODY) == f"v0={made}"


async def test_settings_are_noted_when_a_release_serves_and_the_first_stay(releases: ReleaseRegister) -> None:
    await releases.record("shop", release("2.4.0"), by="ci")
    first, later = (Blob(f"sha256:{digit * 64}", 20, "application/json") for digit in "12")
    await releases.settled("shop", "2.4.0", first)
    await releases.settled("shop", "2.4.0", later)
    found = await releases.get("shop", "2.4.0")
    assert found is not None
    assert found.release.settings == first
    assert not (await releases.record("shop", release("2.4.0"), by="ci")).new  # CI knows nothing of them


async def test_a_release_of_before_there_were_settings_is_read(releases: ReleaseRegister) -> None:
    await releases.record("shop", release("2.4.0"), by="ci")
    row = (await releases.store.releases("shop"))[0]
    await left_behind(releases, replace(row, body=row.body.replace('"settings":null,', "")))
    found = await releases.get("shop", "2.4.0")
    assert found is not None
    assert found.release.settings is None


@pytest.mark.parametrize(
    "frontend",
    ["builds/2.4.0", "builds/2.4.0@sha256:abc", f"../x@sha256:{'0' * 64}", f"@sha256:{'0' * 64}"],
)
def test_a_frontend_is_pinned_by_the_digest_of_its_manifest(frontend: str) -> None:
    found = faults(Release("2.4.0", "c", {"api": image("a")}, frontend))
    assert len(found) == 1 and found[0].startswith("frontend: ")
