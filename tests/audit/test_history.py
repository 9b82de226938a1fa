"""What a run was, told from its own record: by whom, when, how long, what was odd, and what somebody has to see to."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.audit.history import StoredHistory, story
from bot.catalogue import load_catalogue
from bot.ports.history import Arrangement, Story
from bot.ports.notices import Topic
from bot.run.state import new_run
from bot.store.chain import Stored
from bot.store.log import Store
from tests.fixtures.stores import store as store
from tests.slack import scenes
from tests.store.conftest import Sample

TOPIC = Topic("r1", "shop", "2.4.1", "2.4.0", "checkout fails", "ana", "#inc-4211")


def told(tape: scenes.Tape) -> Story:
    rows = [Stored("r1", n, round(at * 1e6), k, body, "", "") for n, (k, body, at) in enumerate(tape.log, 1)]
    return story(tape.run, rows, TOPIC, "Shop")


def test_a_run_that_went_well_is_told_whole() -> None:
    s = told(scenes.verified())
    assert s.restored is not None and s.started is not None and s.asked < s.started < s.restored
    assert [(p.name, p.did) for p in s.people] == [
        ("ana", ("commander", "asked for it", 'approved "Start rollback"')),
        ("cho", ('approved "Bring the backend back"',)),
        ("ben", ('approved "Database schema"',)),
    ]
    assert [(d.title, d.how, d.by) for d in s.decisions] == [
        ("Start rollback", "approved", ("ana (commander)",)),
        ("Bring the backend back", "approved", ("cho (approver)",)),
        ("Database schema", "approved", ("ben (dba)",)),
    ]
    assert [d.title for d in s.steps if d.end == "done"][:4] == [
        "Backups", "Schema", "Start rollback", "Freeze deployments"
    ]  # fmt: skip
    assert "Downgrade" not in [d.title for d in s.steps], "a way that was not taken is no step"
    by_people = [(line.who, line.what) for line in s.lines if line.who]
    asked = "asked to roll shop back from 2.4.1 to 2.4.0 by plan standard: checkout fails since 14:02"
    assert by_people[0] == ("ana", asked) and [who for who, _ in by_people] == ["ana", "ana", "cho", "ben"]
    assert s.due == ()
    assert all(line.at.tzinfo is UTC for line in s.lines)


def test_looks_and_attempts_are_left_to_the_record() -> None:
    tape = scenes.verified()
    s = told(tape)
    assert len(s.lines) < len(tape.log) / 2
    assert not [line for line in s.lines if "attempt" in line.what]
    checked = [line.what for line in s.lines if line.what.startswith("Health: ")]
    assert len(checked) == len(set(checked))


def test_what_did_not_go_well_is_asked_about() -> None:
    stopped = (
        "Deploy 2.4.0 stopped: 1 of 6 pods ready after 5 min; last event: ImagePullBackOff (registry answered 403)"
    )
    paged = "Database schema waited until people were paged"
    assert told(scenes.halted()).odd == (stopped, paged)
    assert told(scenes.aborted()).odd == (stopped, paged, "the run was aborted by ana: 2.4.0 is bad too")
    assert told(scenes.retargeted()).odd == (
        f"{stopped}, then retargeted by ana", "2.4.0 was tried and given up: 2.4.0 fails as well"
    )  # fmt: skip


def test_broken_glass_and_what_was_handed_over_are_to_be_seen_to() -> None:
    (review,) = told(scenes.glass_broken()).due
    what = 'review of the broken glass for "Database schema" by cho: no dba answers, customers cannot pay'
    assert (review.what, review.who) == (what, "")
    assert review.until == datetime(2026, 11, 27, 14, 4, 5, tzinfo=UTC)
    assert [(d.what, d.who) for d in told(scenes.handed_over()).due] == [
        ("Freeze deployments is still in place", "UDEE"), ("Pause workers is still in place", "")
    ]  # fmt: skip


def test_what_a_later_step_gives_back_is_nobodys_debt() -> None:
    tape = scenes.asked_backend()
    assert tape.run.debts and told(tape).due == ()


async def test_a_stored_run_is_told_by_the_catalogue_in_force(store: Store) -> None:
    sample = Sample()
    run = await store.append(new_run("r1"), [sample.created(), *sample.work()], 1_795_615_320.0)
    text = """
services: {shop: {title: The shop, postmortem: {zone: Asia/Tokyo}}}
roles: {commander: {people: [U1]}, approver: {people: [U2]}}
"""
    history = StoredHistory(store, run, load_catalogue(text, "r"), lambda _: TOPIC)
    assert history.arranged == Arrangement("Asia/Tokyo")
    s = await history.story()
    assert (s.title, s.asked) == ("The shop", datetime(2026, 11, 25, 14, 2, tzinfo=UTC))
    gone = StoredHistory(store, run, load_catalogue(text.replace("{shop:", "{other:"), "r"), lambda _: TOPIC)
    assert gone.arranged == Arrangement() and (await gone.story()).title == "shop"
