"""The audit finds what was changed, cut or removed, and names it; exports can be checked by anybody."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any, Literal, get_args

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import migrations
from bot.audit import Verification, code, export_markdown, prose, verify
from bot.catalogue import Release
from bot.contract import Change, Edit, Effect, Receipt, Status, Verdict
from bot.ports import Blob, Where
from bot.run import events as ev
from bot.run.state import new_run
from bot.store import triggers
from bot.store.chain import Checkpoint, Stored, checkpoint_hash, event_hash
from bot.store.log import Store, StoreUnavailable
from bot.telling.sentences import Names, details, sentence, who
from tests.store.conftest import ANA, Sample

AT = 1_763_900_000.5
sample = Sample()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Three runs, checkpointed at start and end: r1 (7 rows, closed), r2 (6 rows, open), r3 (1 row)."""
    migrations.upgrade(database_url)
    found = await Store.open(database_url)
    for n in (1, 2, 3):
        run = await found.append(new_run(f"r{n}"), [sample.created(f"s{n}")], AT, checkpoint=True)
        if n < 3:
            run = await found.append(run, sample.work(), AT + 1, checkpoint=True)
        if n == 1:
            await found.append(run, [sample.closed()], AT + 2, checkpoint=True)
    yield found
    await found.close()


async def tamper(store: Store, *statements: str, guarded: bool = True) -> None:
    """What somebody with all rights on the database can do. guarded: the triggers are put back."""

    def work(c: sa.Connection) -> None:
        for table in ("event", "checkpoint"):
            if store.db.lite:
                for what in ("update", "delete", "replace"):
                    c.exec_driver_sql(f"DROP TRIGGER {table}_no_{what}")
            else:
                c.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
        for statement in statements:
            c.execute(sa.text(statement.replace(":", "\\:")))
        if guarded:
            triggers.put_back(c)

    await store.db.write(work)


async def test_an_untouched_record_is_verified(store: Store) -> None:
    last = await store.last_checkpoint()
    assert last is not None
    report = await verify(store, anchor=last)
    assert report == Verification(14, 3, 6, (), last.chain) and report.ok
    assert report.text == f"14 entries of 3 runs, head {last.chain[:12]}: verified"
    one = await verify(store, run="r3")
    assert (one.rows, one.runs, one.head, one.ok) == (1, 1, (await store.load("r3")).head, True)


async def test_an_empty_record_is_verified(database_url: str) -> None:
    migrations.upgrade(database_url)
    store = await Store.open(database_url)
    assert (await verify(store)).ok
    assert (await verify(store, run="r1")).faults[0].text == "There is no run r1."
    await store.close()


@pytest.mark.parametrize(
    ("statements", "what", "run", "seq", "text"),
    [
        (["UPDATE event SET body = replace(body, 'ana', 'eve') WHERE run = 'r2' AND seq = 1"],
         "hash", "r2", 1, "Row 1 of run r2 is not as it was written"),
        (["UPDATE event SET at = at + 1 WHERE run = 'r1' AND seq = 4"], "hash", "r1", 4, "Row 4 of run r1"),
        (["UPDATE event SET kind = 'noted' WHERE run = 'r1' AND seq = 2"], "hash", "r1", 2, "Row 2 of run r1"),
        (["UPDATE event SET hash = repeat('0', 64) WHERE run = 'r1' AND seq = 2"], "hash", "r1", 2, "Row 2"),
        (["UPDATE event SET prev = prev || 'x' WHERE run = 'r1' AND seq = 3"], "hash", "r1", 3, "Row 3"),
        (["DELETE FROM event WHERE run = 'r1' AND seq = 3"], "gap", "r1", 4, "Row 3 is missing in run r1"),
        (["DELETE FROM event WHERE run = 'r2' AND seq IN (2, 3)"], "gap", "r2", 4, "Rows 2 to 3 are missing"),
        (["DELETE FROM event WHERE run = 'r1' AND seq = 1"], "gap", "r1", 2, "Row 1 is missing"),
        (["UPDATE event SET seq = 0 WHERE run = 'r1' AND seq = 1"], "gap", "r1", 0, "Row 0 comes before the first"),
        (["DELETE FROM event WHERE run = 'r1' AND seq > 5"],
         "cut", "r1", 5, "Run r1 ends at row 5, but row 7 was there: its tail was cut"),
        (["DELETE FROM event WHERE run = 'r1' AND seq > 5", "UPDATE head SET seq = 5 WHERE run = 'r1'"],
         "cut", "r1", 5, "row 7 was there"),
        (["DELETE FROM event WHERE run = 'r2'"], "missing run", "r2", 0, "named by the index, but has no rows"),
        (["DELETE FROM event WHERE run = 'r2'", "DELETE FROM head WHERE run = 'r2'"],
         "missing run", "r2", 0, "named by a checkpoint, but has no rows: it was removed"),
        (["DELETE FROM head WHERE run = 'r2'"], "index", "r2", 6, "is not in the index"),
        (["UPDATE head SET seq = 5 WHERE run = 'r2'"], "index", "r2", 6, "6 rows, the index knows 5"),
        (["DELETE FROM checkpoint WHERE n = 2"], "checkpoint", "r1", 7, "Checkpoint 2 is missing"),
        (["UPDATE checkpoint SET seq = 1 WHERE n = 2"], "checkpoint", "r1", 1, "Checkpoint 2 is not as it was"),
    ],
)  # fmt: skip
async def test_the_first_bad_row_is_named(
    store: Store, statements: list[str], what: str, run: str, seq: int, text: str
) -> None:
    if store.db.lite:
        statements = [s.replace("repeat('0', 64)", f"'{'0' * 64}'") for s in statements]
    await tamper(store, *statements)
    report = await verify(store)
    first = report.faults[0]
    assert (first.what, first.run, first.seq) == (what, run, seq)
    assert text in first.text and text in report.text and "NOT verified" in report.text
    if what not in ("checkpoint",):
        assert (await verify(store, run=run)).faults[0] == first
        assert (await verify(store, run="r3")).ok


def forged(rows: list[Stored], n: int, body: str) -> list[Stored]:
    """The same run with another body in row n, and every hash from there on made to fit."""
    made: list[Stored] = []
    for row in rows:
        prev = made[-1].hash if made else row.prev
        row = replace(row, prev=prev, body=body if row.seq == n else row.body)
        made.append(replace(row, hash=event_hash(prev, row.run, row.seq, row.at, row.kind, row.body)))
    return made


async def test_a_forged_run_with_fitting_hashes_is_found_by_its_checkpoints(store: Store) -> None:
    rows = forged(await store.events("r1"), 6, '{"command":"true","n":2,"step":"deploy"}')
    await tamper(store, *(
        f"UPDATE event SET body = '{r.body}', prev = '{r.prev}', hash = '{r.hash}' WHERE run = 'r1' AND seq = {r.seq}"
        for r in rows[5:]
    ))  # fmt: skip
    (fault,) = (await verify(store)).faults
    assert (fault.what, fault.run, fault.seq) == ("checkpoint", "r1", 6)
    await tamper(store, f"UPDATE event SET prev = '{'a' * 64}' WHERE run = 'r2' AND seq = 6")
    assert {f.run for f in (await verify(store)).faults} == {"r1", "r2"}


async def test_a_start_decision_or_end_without_its_checkpoint_is_found(store: Store) -> None:
    for kind, body in (("approved", "{}"), ("closed", '{"outcome":"verified"}'), ("created", "{}")):
        last = (await store.events("r2"))[-1]
        hash_ = event_hash(last.hash, "r2", last.seq + 1, last.at + 5, kind, body)
        values = f"'r2', {last.seq + 1}, {last.at + 5}, '{kind}', '{body}', '{last.hash}', '{hash_}'"
        index = f"UPDATE head SET seq = {last.seq + 1} WHERE run = 'r2'"
        await tamper(store, f"INSERT INTO event VALUES ({values})", index)
    told = [f.text for f in (await verify(store)).faults]
    assert [t for t in told if "is in no checkpoint" in t] == [
        f"Row {n} of run r2 ({kind}) is in no checkpoint: it was added."
        for n, kind in ((7, "approved"), (8, "closed"), (9, "created"))
    ]
    assert (await verify(store, run="r1")).ok


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            "open = false WHERE run = 'r2'",
            "Run r2 is not in the index as it is: the index calls it ended, the log open.",
        ),
        (
            "open = true WHERE run = 'r1'",
            "Run r1 is not in the index as it is: the index calls it open, the log ended.",
        ),
        ("service = 'blog' WHERE run = 'r2'", "the index has 'blog' for its service, the log 's2'"),
        ("kind = 'freeze' WHERE run = 'r3'", "the index has 'freeze' for its purpose, the log 'rollback'"),
        ("closed = NULL WHERE run = 'r1'", "the index has None for its end, the log 1763900002500000"),
        ("closed = 5 WHERE run = 'r2'", "the index has 5 for its end, the log None"),
    ],
)
async def test_an_index_that_says_otherwise_than_the_log_is_found(store: Store, change: str, text: str) -> None:
    await tamper(store, f"UPDATE head SET {change}")
    (fault,) = (await verify(store)).faults
    assert fault.what == "index" and text in fault.text


async def test_triggers_that_are_gone_or_refuse_nothing_are_found_and_put_back(store: Store, database_url: str) -> None:
    assert await store.unguarded() == ""
    await tamper(store, guarded=False)
    (fault,) = (await verify(store)).faults
    assert fault.what == "triggers" and "checkpoint_" in fault.text and "db upgrade" in await store.unguarded()
    await asyncio.to_thread(migrations.upgrade, database_url)
    assert await store.unguarded() == "" and (await verify(store)).ok
    with pytest.raises((sa.exc.IntegrityError, StoreUnavailable)):
        await store.db.write(lambda c: c.exec_driver_sql("DELETE FROM event"))
    hollow = (
        ["DROP TRIGGER event_no_delete", "CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN SELECT 1; END"]
        if store.db.lite
        else ["CREATE OR REPLACE FUNCTION rollback_bot_append_only() RETURNS trigger LANGUAGE plpgsql AS "
              "'BEGIN RETURN NULL; END'"]
    )  # fmt: skip
    await store.db.write(lambda c: [c.exec_driver_sql(statement) for statement in hollow])
    assert "event_" in await store.unguarded()
    await asyncio.to_thread(migrations.upgrade, database_url)
    assert await store.unguarded() == ""


async def test_a_row_that_follows_another_row_is_found(store: Store) -> None:
    row = (await store.events("r2"))[5]
    wrong = event_hash("a" * 64, row.run, row.seq, row.at, row.kind, row.body)
    await tamper(store, f"UPDATE event SET prev = '{'a' * 64}', hash = '{wrong}' WHERE run = 'r2' AND seq = 6")
    assert (await verify(store)).faults[0].what == "prev"


async def test_a_tail_cut_with_its_checkpoints_is_found_by_the_copy_outside(store: Store) -> None:
    last = await store.last_checkpoint()
    assert last is not None and Checkpoint.parse(last.text) == last
    await tamper(store, "DELETE FROM event WHERE run = 'r3'", "DELETE FROM head WHERE run = 'r3'",
                 "DELETE FROM checkpoint WHERE run = 'r3'")  # fmt: skip
    assert (await verify(store)).ok
    (fault,) = (await verify(store, anchor=last)).faults
    assert (fault.what, fault.run) == ("anchor", "r3")
    assert "checkpoint 6 (run r3, row 1" in fault.text and "ends at 5" in fault.text and "backup" in fault.text


async def test_a_rewritten_checkpoint_chain_is_found_by_the_copy_outside(store: Store) -> None:
    last = (await store.checkpoints())[-1]
    chain = checkpoint_hash(last.prev, 6, "r3", 1, "b" * 64)
    await tamper(store, f"UPDATE checkpoint SET hash = '{'b' * 64}', chain = '{chain}' WHERE n = 6")
    report = await verify(store, anchor=last)
    assert [f.what for f in report.faults] == ["checkpoint", "anchor"]
    assert "it was rewritten" in report.faults[1].text


async def test_a_bot_at_work_does_not_disturb_the_audit(store: Store) -> None:
    run = await store.load("r2")
    async with store.snapshot() as snapshot:
        heads = await snapshot.heads()
        run = await store.append(run, [ev.Stopped(ANA)], AT + 9)
        seen = [row[:2] async for rows in snapshot.chain() for row in rows]
    assert max(n for r, n in seen if r == "r2") == heads["r2"] == run.seq - 1
    assert (await verify(store)).ok


def test_an_altered_anchor_is_refused() -> None:
    good = Checkpoint(1, "r1", 1, "h", "p", checkpoint_hash("p", 1, "r1", 1, "h"))
    assert Checkpoint.parse(good.text) == good
    with pytest.raises(ValueError, match="was altered"):
        Checkpoint.parse(good.text.replace('"seq": 1', '"seq": 2'))
    for text in ("", "{}", "[1]", '{"n": 1}'):
        with pytest.raises(ValueError, match="not a checkpoint"):
            Checkpoint.parse(text)


# -- Markdown and sentences --------------------------------------------------------------------------------------------

BLOB = Blob("sha256:" + "0" * 64, 5000, "text/plain")
CHANGE = Change("to 2.4.0", (Edit("shop/image", None, BLOB),), (Effect("flush shop:*"),))
RECEIPT = Receipt("6 of 6 pods ready", {"pods": 6}, (("log", "https://log/1"),), {"x": 1})
PROPOSED: tuple[Literal["retarget", "forward", "admit", "skip", "accept"], ...] = (
    "retarget", "forward", "admit", "skip", "accept",
)  # fmt: skip
API = Where("https://b.example", "b" * 32, "http")
EVERY: list[ev.Event] = [
    sample.created(),
    ev.Stopped(ANA, "wait"),
    ev.Resumed(ANA),
    ev.Aborted(ANA, "fire"),
    ev.Agreed("p1", ANA),
    *(ev.Proposed("p1", what, ANA, "better", "deploy", Release("2.3.9")) for what in PROPOSED),
    ev.Retargeted(Release("2.3.9"), "bad too", ANA),
    ev.FixAdmitted(Release("2.4.2"), "fix", ANA),
    ev.Relocated({}, ("eu-1: now at https://a, approved for https://b",)),
    ev.FreezeOverridden("2.4.3", "the certificate expires", ANA),
    ev.CommandTaken(ANA, "after silence"),
    ev.CommandOffered("U2", ANA),
    ev.Told("Paying by card fails.", "Invoices work", ANA),
    ev.Told("Paying by card fails", "", ANA),
    ev.PeopleChanged({"go": "needs a dba"}),
    ev.PeopleChanged({}),
    ev.Restored(),
    ev.Closed("verified"),
    ev.Closed("closed", ANA, "by hand"),
    ev.Approved("go", {"deploy": "f00"}, ANA, "approver", True),
    ev.Declined("go", ANA, "not yet"),
    ev.BrokeGlass("go", {"deploy": "f00"}, ANA, "nobody awake"),
    ev.Taken("go", "proven"),
    ev.Lapsed("go", "approved over 60 min ago, and not begun"),
    ev.Reminded("go"),
    ev.Paged("go"),
    ev.Started("deploy", 1, 1, "plan", "node"),
    ev.Planned("deploy", 1, CHANGE, "f00", {"shop/image": "x"}),
    ev.Planned("deploy", 1, Change("already at 2.4.0"), "f00"),
    ev.Drifted("deploy", 1, CHANGE, "f01", ("image: moved",)),
    ev.ApplyStarted("deploy", 2, CHANGE, "f00"),
    ev.Recorded("deploy", 2, "kubectl -n shop scale | tee `x`"),
    ev.Noted("deploy", 2, "invalidation", {"id": "I1"}),
    ev.Waiting("deploy", 2, "2 of 6 pods", AT, 2, 6),
    ev.Applied("deploy", 2, RECEIPT),
    ev.Undone("deploy", 3, RECEIPT, {"shop/image": "2.4.1"}),
    ev.Checked("deploy", 1, Verdict(Status.FAIL, "0.9 %", "0.1 %")),
    ev.Cancelled("deploy", 1, "stopped"),
    ev.Failed("deploy", 1, "unknown", "reset by peer", "look", AT, {"shop/image": "2.4.1"}),
    ev.Lost("deploy", 1, "node is gone"),
    ev.NotNeeded("deploy", "kept"),
    ev.Retried("deploy", ANA),
    ev.Skipped("deploy", ANA, "later"),
    ev.Accepted("deploy", ANA, "known"),
    ev.UndoAsked("deploy", ANA, "worse", True),
    ev.HandedOver("deploy", "U2", AT, ANA, "night"),
    ev.AdoptAsked("deploy", ANA, "did it"),
    ev.Adopted("deploy", 1, {"shop/image": "2.4.0"}, "at 2.4.0"),
    ev.LossAccepted(ANA, "the disk is gone", '{"n": 7}', 5),
    ev.Relocated({"api": API}, ("api now at https://b.example, approved for https://a.example",)),
    ev.TokenIssued("83e851948051", "cho", "os:root", 1_763_900_000.0),
    ev.TokenRevoked("83e851948051", "cho"),
    ev.Vouched(ANA, "signing begins", "rbp_x", ("r1",), 1),
    ev.Seen("deploy", 4, {"shop/image": "2.4.0"}),
    ev.Seen("deploy", 4, {}, "eu-1 cannot be reached"),
    ev.Inherited("deploy", "r0", "deploy", CHANGE, AT),
    ev.TakenOver("deploy", "r2"),
    ev.Overdue("deploy"),
    ev.Overdue(decision="go"),
    ev.Lifted("deploy", {"eu-1/guard/g/rules": "the guard is gone"}),
    ev.Lifted("deploy", {}),
    ev.CameBack({"eu-1/configmap/shop/data/MODE": "is fast"}),
    ev.CameBack({}),
    ev.Overdue(part="us-1"),
    ev.TakenOver("", "r2", "us-1"),
    ev.PartProposed("p1", "us-1", "no answer", ANA, "its provider is down"),
    ev.WentWithout("us-1", "no answer", ANA, "its provider is down"),
    ev.PartBack("us-1"),
    ev.PartBack("us-1", ANA),
    ev.PartHandedOver("us-1", "U2", AT, ANA, "night"),
    ev.Reviewed("go", ANA, "it was right"),
    ev.ClockJumped(3600.0, "node-1"),
    ev.ClockJumped(-3600.0),
    ev.Unknown("teleported", "{}"),
]
"""At least one event of every kind."""


def stored(events: list[ev.Event]) -> list[Stored]:
    rows: list[Stored] = []
    for seq, event in enumerate(events, 1):
        kind, body = ev.encode(event)
        prev = rows[-1].hash if rows else "0" * 64
        at = 1_763_900_000_123_456 + seq
        rows.append(Stored("r1", seq, at, kind, body, prev, event_hash(prev, "r1", seq, at, kind, body)))
    return rows


@pytest.mark.parametrize("kind", get_args(ev.Event))
def test_every_kind_of_event_has_a_sentence(kind: Any) -> None:
    of_kind = [e for e in EVERY if isinstance(e, kind)]
    assert of_kind, f"no example of {kind.__name__}"
    for event in of_kind:
        said = sentence(event, Names({"deploy": "Deploy the backend"}, {"go": "Bring it back"}))
        assert said and said == said.strip() and not said.endswith(".")
        assert "Deploy the backend" in said or getattr(event, "step", "") == "" or isinstance(event, ev.Proposed)
        assert '"Bring it back"' in said or not getattr(event, "decision", "")
        person = who(event)
        assert said.startswith("ana ") if person else "None" not in said
        for f in fields(event):
            if f.name in ("reason", "why", "error", "hint", "note") and isinstance(event, kind):
                assert getattr(event, f.name) in said


def test_sentences_read_like_this() -> None:
    names = Names({"deploy": "Deploy"}, {"go": "Bring it back"})
    said = [sentence(e, names) for e in EVERY]
    for line in (
        "ana asked to roll shop back from 2.4.1 to 2.4.0 by plan small: checkout fails",
        "ana proposed to let release 2.3.9 through the freeze (proposal p1): better",
        'ana approved "Bring it back" as approver, with the phrase typed',
        "Deploy: would make 1 change and 1 effect: to 2.4.0; 1 target changed by others",
        "Deploy: nothing to do: already at 2.4.0",
        "Deploy: taking effect: 2 of 6 pods (2 of 6); looked at again at 2025-11-23 12:13:20 UTC",
        "Deploy: attempt 1 failed with an unknown outcome: reset by peer (look); "
        "tried again at 2025-11-23 12:13:20 UTC",
        "ana handed Deploy over to U2 until 2025-11-23 12:13:20 UTC: night",
        "the run closed itself: verified",
    ):
        assert line in said
    assert details(EVERY[0])[0].startswith("plan: sha256:")
    assert details(ev.Recorded("s", 1, "true")) == ("true",)
    assert details(ev.Planned("s", 1, CHANGE, "f")) == (
        f"shop/image: absent -> sha256:{'0' * 64} (5000 bytes, text/plain)", "flush shop:*",
    )  # fmt: skip


def test_markdown_has_a_row_for_every_event() -> None:
    rows = stored(EVERY)
    text = export_markdown(rows)
    table = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    assert len(table) == len(EVERY)
    for line in table:
        assert len(re.findall(r"(?<!\\)\|", line)) == 5, line
    assert text.startswith("# Record of shop: 2.4.1 → 2.4.0\n")
    assert f"Run `r1`, {len(EVERY)} entries, 2025-11-23 12:13:20.123 to 2025-11-23 12:13:20.123 UTC." in text
    assert rows[-1].hash in text
    assert "| ana (commander), U1 via slack |" in table[0] and "| the bot |" in table[-1]
    assert "kubectl -n shop scale &#124; tee &#96;x&#96;" in text
    assert "`shop/image: now 2.4.1`" in text


def test_a_row_that_cannot_be_read_is_shown_as_such() -> None:
    bad = replace(stored(EVERY)[1], body='{"by": 3}')
    assert "stopped, which cannot be read" in export_markdown([bad])
    assert export_markdown([]).startswith("# An empty record")


@given(st.text())
def test_no_text_breaks_out_of_its_cell(text: str) -> None:
    for written in (prose(text), code(text)):
        assert "\n" not in written and "\r" not in written
        assert not re.search(r"(?<!\\)\|", written)
        assert set(re.findall(r"<[^>]*>?", written)) <= {"<br>", "<code>", "</code>"} or "`" in written[:1]
    plain = code(text)
    assert plain.count("`") in (0, 2)
    assert prose("<script>*b* [x](http://e) `c` | \u202e") == (
        "&lt;script&gt;\\*b\\* \\[x\\](http://e) \\`c\\` \\| \\\\u202e"
    )
