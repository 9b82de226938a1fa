"""The log: a line for each event with its run, readable or JSON, nothing secret; two lines for an outage."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

import migrations
from bot.cli import logs
from bot.node import journal
from bot.playground.postgres import private_postgres, stopped
from bot.playground.workspace.clock import Clock
from bot.redaction.redactor import Redactor
from bot.steady.outage import SETTLE, Outage
from bot.store.log import StoreUnavailable, away_by
from tests.engine.conftest import desk
from tests.engine.documents import ANA, CHO, World, gate, plan, put, start

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What `set_up` is to write to; afterwards the log is as it was."""
    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    yield stream
    root.handlers[:], root.level = before


def lines(stream: io.StringIO) -> list[str]:
    """What was written, line by line."""
    return stream.getvalue().splitlines()


def test_a_line_is_text_with_its_time_or_json_with_its_fields_and_never_holds_a_secret(written: io.StringIO) -> None:
    more = {"run": "shop-1", "seq": 7, "event": "aborted", "person": "ana"}
    logs.set_up("INFO", Redactor([SECRET]), to=written)
    logging.getLogger("bot.x").warning("run shop-1 #7 aborted: %s", SECRET, extra=more)
    logs.set_up("INFO", Redactor([SECRET]), "json", written)
    logging.getLogger("bot.x").warning("run shop-1 #7 aborted: %s", SECRET, extra=more)
    text, as_json = lines(written)
    assert text[10] == "T" and text[19:] == "Z WARNING bot.x: run shop-1 #7 aborted: [redacted:secret]"
    found = json.loads(as_json)
    assert {k: found[k] for k in more} == more and found["level"] == "WARNING"
    assert found["message"] == "run shop-1 #7 aborted: [redacted:secret]" and found["at"].endswith("Z")


def test_only_a_record_begins_at_the_margin_and_a_trace_is_one_json_line(written: io.StringIO) -> None:
    for form in logs.FORMS:
        logs.set_up("INFO", Redactor([SECRET]), form, written)
        try:
            raise ValueError(f"it was {SECRET}")
        except ValueError:
            logging.getLogger("bot.x").exception("broken")
    *text, as_json = lines(written)
    assert [line for line in text if not line.startswith("    ")] == text[:1] and text[0].endswith(
        "ERROR bot.x: broken"
    )
    assert "ValueError: it was [redacted:secret]" in json.loads(as_json)["trace"]
    assert SECRET not in written.getvalue()


async def test_each_event_of_a_run_is_one_line_with_its_run_whoever_caused_it(
    database_url: str, written: io.StringIO
) -> None:
    await asyncio.to_thread(migrations.upgrade, database_url)
    logs.set_up("INFO", Redactor(), "json", written)
    async with desk(database_url, World()) as bot:
        bot.engine.watchers = (journal.watch,)
        run_id = await bot.open(plan(start(), put("a", after=["start"], decision="a"), decisions=[gate("a", "a")]))
        await bot.approve(run_id, "start", ANA)
        await bot.approve(run_id, "a", CHO)
        await bot.step(run_id, "a", lambda s: s.end == "done")
        rows = [(e.seq, e.kind) for e in await bot.store.events(run_id)]
    told = [found for line in lines(written) if "event" in (found := json.loads(line))]
    assert [(t["seq"], t["event"]) for t in told] == rows and {t["run"] for t in told} == {run_id}
    assert {t.get("person") for t in told} == {"ana", "cho", None}
    assert next(t["message"] for t in told if t["event"] == "applied").startswith(f"run {run_id} #")


# -- outages -----------------------------------------------------------------------------------------------------------


def test_an_outage_is_two_lines_with_its_length_however_often_it_is_met(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(0.0, frozen=True)
    outage = Outage("The pager", logging.getLogger("bot.x"), clock.time)
    for _ in range(1000):
        outage.down("no answer")
        clock.advance(0.1)
    assert (outage.away, outage.why) == (True, "no answer")
    for _ in range(3):
        outage.up()
    assert [r.getMessage() for r in caplog.records] == [
        "The pager is away: no answer", "The pager is back, after 1 min 40 s (1000 failed)",
    ]  # fmt: skip
    assert not outage.away and outage.why == ""


def test_an_answer_to_what_was_asked_before_it_went_does_not_end_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(0.0, frozen=True)
    outage = Outage("The database", logging.getLogger("bot.x"), clock.time)
    before = outage.asked
    outage.down("gone")
    outage.up(before)
    assert outage.away and len(caplog.records) == 1
    clock.advance(2.0)
    outage.up(outage.asked)
    assert [r.getMessage() for r in caplog.records[1:]] == ["The database is back, after 2.0 s (1 failed)"]


def test_hearsay_behind_the_end_opens_no_new_outage_until_it_has_settled(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(0.0, frozen=True)
    outage = Outage("The database", logging.getLogger("bot.x"), clock.time)
    outage.down("gone", hearsay=True)
    clock.advance(2.0)
    outage.up()
    outage.down("gone, said somebody who waited", hearsay=True)
    assert not outage.away and len(caplog.records) == 2
    clock.advance(SETTLE + 1)
    outage.down("gone again", hearsay=True)
    assert outage.away and caplog.records[-1].getMessage() == "The database is away: gone again"


def test_what_only_repeats_that_the_database_is_away_is_left_out_and_nothing_else(written: io.StringIO) -> None:
    logs.set_up("INFO", Redactor(), to=written)
    outage = Outage("The database", logging.getLogger("bot.store"))
    logs.fold(outage)
    gone = psycopg.OperationalError("connection is bad: no such file\n\tIs the server running?")
    wrapped = sa.exc.OperationalError("select 1", None, gone)
    wrapped.__cause__ = gone
    logging.getLogger("dbos").warning(f"Exception listing queues: {wrapped}")  # as DBOS says it
    logging.getLogger("bot.store.lease").warning("no beat, %.1f s left: %s", 3.0, wrapped)
    logging.getLogger("bot.slack").error("the publisher rests: %s", StoreUnavailable("Cannot reach it."))
    try:
        raise RuntimeError("cannot look") from wrapped
    except RuntimeError:
        logging.getLogger("bot.x").exception("cannot look after run r1")
    assert [line.partition(": ")[2] for line in lines(written)] == [
        "The database is away: connection is bad: no such file"
    ]
    logging.getLogger("dbos").warning("a workflow is broken")
    logging.getLogger("bot.x").warning("%s", StoreUnavailable("All connections are in use.", away=False))
    assert len(lines(written)) == 3


def test_a_real_outage_of_postgresql_is_two_lines_and_the_runs_go_on(written: io.StringIO) -> None:
    """The server stops for seconds under a bot with open runs, one of them in the middle of a step."""
    with private_postgres(durable=False) as url:
        asyncio.run(_outage(url, written))


def _of_a_run(line: str) -> bool:
    """What happened to a run meanwhile, and is told as such: an attempt that was taken and never began."""
    return " bot.engine.reconciler: attempt " in line and " is lost: " in line


async def _outage(url: str, written: io.StringIO) -> None:
    await asyncio.to_thread(migrations.upgrade, url)
    logs.set_up("WARNING", Redactor(), to=written)
    world = World()
    world.hold["a"] = asyncio.Event()
    async with desk(url, world) as bot:
        logs.fold(bot.store.db.outage)
        runs = [await bot.open(plan(put(name)), service=name) for name in ("a", "b", "c")]
        await bot.until(runs[0], lambda r: world.entered["a"])
        down = stopped(url)
        await asyncio.to_thread(down.__enter__)
        await asyncio.sleep(2.0)
        world.hold["a"].set()
        await asyncio.to_thread(down.__exit__, None, None, None)
        for run_id, name in zip(runs, "abc", strict=True):
            await bot.step(run_id, name, lambda s: s.end == "done", within=60)
        told = [line for line in lines(written) if line.startswith("20") and not _of_a_run(line)]
    assert [w for w in world.writes if w[0] == "a"] == [("a", "new", f"{runs[0]}/a/1")]
    assert len(told) == 2 and "The database is away: " in told[0] and "The database is back, after " in told[1], told


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("in queue thread: (psycopg.errors.AdminShutdown) terminating connection\nmore", "terminating connection"),
        ("(psycopg.OperationalError) connection refused", "connection refused"),
        ("(psycopg.errors.UniqueViolation) duplicate key", ""),
        ("(sqlite3.OperationalError) database is locked", ""),
        ("all is well", ""),
    ],
)
def test_an_error_that_was_only_logged_says_whether_the_database_is_away(text: str, why: str) -> None:
    assert away_by(text) == why
