"""The seam to DBOS, held against real DBOS on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from dbos import DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions, WorkflowStatus

from bot.engine.attempt_id import AttemptId
from bot.engine.executor import GRACE, UNSERVED, Executor, beside
from bot.store import tables
from bot.store.lease import Lease, take
from tests.fixtures.own_time import own_time

_runs = itertools.count(1)


def attempt(step: str = "step", n: int = 1) -> AttemptId:
    """An attempt of a run that no other test has."""
    return AttemptId(f"run{next(_runs)}", step, 1, n)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One database for the whole file: making DBOS's tables takes its time."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('executor') / 'bot.db'}"
        return
    server = request.getfixturevalue("postgres_url")
    with psycopg.connect(server.replace("+psycopg", "", 1), autocommit=True) as c:
        c.execute("create database executor")
        found = server.replace("/postgres?", "/executor?", 1)
        engine = sa.create_engine(found, poolclass=sa.NullPool)
        tables.node.create(engine)
        yield found
        c.execute("drop database executor with (force)")


@pytest.fixture
def lease(url: str) -> Iterator[Lease]:
    found = take(url)
    yield found
    found.close()


@dataclass
class Engine:
    """An engine that keeps no log: what was begun, ended and cancelled, and what a step's pass does."""

    does: dict[str, Callable[[AttemptId], Awaitable[None]]] = field(default_factory=dict)
    begun: Counter[AttemptId] = field(default_factory=Counter)
    ended: dict[AttemptId, str] = field(default_factory=dict)
    cancelled: list[AttemptId] = field(default_factory=list)

    async def run_pass(self, a: AttemptId) -> None:
        self.begun[a] += 1
        try:
            await self.does.get(a.step, _nothing)(a)
        except BaseException as e:
            self.ended[a] = type(e).__name__
            raise
        self.ended[a] = "done"

    async def on_cancelled(self, a: AttemptId) -> None:
        self.cancelled.append(a)

    @contextlib.asynccontextmanager
    async def on(self, url: str, lease: Lease, **options: Any) -> AsyncIterator[Executor]:
        executor = Executor(url, lease=lease, run_pass=self.run_pass, on_cancelled=self.on_cancelled, **options)
        await executor.launch()
        try:
            yield executor
        finally:
            await executor.close()


async def _nothing(a: AttemptId) -> None:
    pass


async def _forever(a: AttemptId) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def engine() -> Engine:
    return Engine({"forever": _forever})


async def hand_over(executor: Executor, url: str, *attempts: AttemptId) -> None:
    """As the engine does, right behind an append."""
    await executor.dispatch(attempts)


async def eventually(true: Callable[[], object], within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def outsider(url: str) -> Iterator[DBOSClient]:
    """DBOS as seen by another process."""
    client = DBOSClient(
        system_database_url=url if url.startswith("postgresql") else beside(url),
        serializer=DBOSPortableJSONSerializer(),
        application_name="rollback-bot",
    )
    yield client
    client.destroy()


def rows(url: str, *attempts: AttemptId) -> list[WorkflowStatus]:
    with outsider(url) as client:
        return client.list_workflows(workflow_ids=[str(a) for a in attempts])


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("r1.deploy.1#2", AttemptId("r1", "deploy", 1, 2)),
        ("r1.undo.of.deploy.3#10", AttemptId("r1", "undo.of.deploy", 3, 10)),
        ("r1.a#b.1#1", AttemptId("r1", "a#b", 1, 1)),
    ],
)
def test_an_attempts_name_is_read_back(text: str, means: AttemptId) -> None:
    assert AttemptId.parse(text) == means
    assert str(means) == text


@pytest.mark.parametrize("text", ["", "r1", "r1.deploy.1", "r1.deploy#1", "r1..1#1", ".deploy.1#1", "r1.deploy.x#1"])
def test_what_names_no_attempt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not <run>"):
        AttemptId.parse(text)


def test_a_run_with_a_dot_has_no_attempts() -> None:
    with pytest.raises(ValueError, match="without dots"):
        AttemptId("r.1", "deploy", 1, 1)


def test_dbos_has_a_sqlite_file_of_its_own_beside_ours() -> None:
    assert beside("sqlite+aiosqlite:////var/lib/bot.db") == "sqlite:////var/lib/bot.dbos.db"
    assert beside("sqlite+aiosqlite:///bot.db?timeout=5") == "sqlite:///bot.dbos.db"


async def test_what_dbos_keeps_in_sqlite_waits_for_no_disk(tmp_path: Path, engine: Engine) -> None:
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    with contextlib.closing(take(url)) as lease:
        async with engine.on(url, lease):
            with contextlib.closing(sqlite3.connect(tmp_path / "bot.dbos.db")) as file:
                assert file.execute("pragma journal_mode").fetchone() == ("wal",)
        assert not (tmp_path / "bot.dbos.db-wal").exists()  # closed, not left


# -- handing over ------------------------------------------------------------------------------------------------------


async def test_an_attempt_is_passed_once_however_often_it_is_handed_over(
    url: str, lease: Lease, engine: Engine
) -> None:
    a = attempt("dotted.step")
    async with engine.on(url, lease) as executor:
        await hand_over(executor, url, a)
        await hand_over(executor, url, a)
        await asyncio.gather(*(executor.dispatch([a]) for _ in range(3)))
        await eventually(lambda: a in engine.ended)
        await hand_over(executor, url, a)
        await asyncio.sleep(0.3)
        assert await executor.lost([a], 0.0) == []
    assert engine.begun == {a: 1}
    assert [(w.status, w.name, w.app_version) for w in rows(url, a)] == [("SUCCESS", "attempt", "1")]


async def test_what_a_pass_hands_over_is_nobodys_child(url: str, lease: Lease, engine: Engine) -> None:
    a, b = attempt("first"), attempt("second")

    async def first(_: AttemptId) -> None:
        await hand_over(executor, url, b)
        assert await executor.lost([b], 0.0) == []

    engine.does["first"] = first
    async with engine.on(url, lease) as executor:
        await hand_over(executor, url, a)
        await eventually(lambda: b in engine.ended and a in engine.ended)
    assert engine.ended == {a: "done", b: "done"}
    assert [w.parent_workflow_id for w in rows(url, a, b)] == [None, None]


async def test_no_more_passes_at_once_than_allowed_and_one_cancelled_while_it_waits_never_begins(
    url: str, lease: Lease, engine: Engine
) -> None:
    many = [attempt("forever") for _ in range(4)]
    async with engine.on(url, lease, concurrency=2, drain=0.1) as executor:
        await hand_over(executor, url, *many)
        await eventually(lambda: len(engine.begun) == 2)
        await asyncio.sleep(0.3)
        assert len(engine.begun) == 2
        assert await executor.lost(many, 0.0) == await executor.lost(many, 100.0) == []
        never, next_one = (a for a in many if a not in engine.begun)
        await executor.cancel(never)
        await eventually(lambda: engine.cancelled == [never])
        await executor.cancel(next(iter(engine.begun)))
        await eventually(lambda: next_one in engine.begun)
    assert never not in engine.begun


async def test_forty_checks_that_hang_hang_side_by_side(url: str, lease: Lease, engine: Engine) -> None:
    many = [attempt("forever") for _ in range(40)]
    async with engine.on(url, lease, drain=0.1) as executor:
        await hand_over(executor, url, *many)
        await eventually(lambda: engine.begun.keys() == {*many})


async def test_what_one_node_has_no_room_for_another_begins(url: str, lease: Lease, engine: Engine) -> None:
    many = [attempt("forever") for _ in range(3)]
    async with engine.on(url, lease, concurrency=2, drain=0.1) as executor:
        await hand_over(executor, url, *many)
        await eventually(lambda: len(engine.begun) == 2)
        (waits,) = (a for a in many if a not in engine.begun)
        if url.startswith("sqlite"):  # one process alone has the database
            assert await executor.lost(many, 0.0) == []
            assert rows(url, waits) == []
            return
        await asyncio.to_thread(_begin_and_be_killed, url, waits)
        await executor.cancel(next(iter(engine.begun)))
        await eventually(lambda: len(engine.cancelled) == 1)
        await hand_over(executor, url, waits)
    assert waits not in engine.begun


async def test_what_an_earlier_version_left_in_its_queue_is_begun_anew(url: str, lease: Lease, engine: Engine) -> None:
    a = attempt()
    async with engine.on(url, lease) as executor:
        with outsider(url) as client:
            queued: EnqueueOptions = {"workflow_name": "attempt", "queue_name": "attempts", "workflow_id": str(a)}
            await client.enqueue_async(queued, a.run, a.step, a.application, a.n)
        assert await executor.lost([a], 0.0) == await executor.lost([a], UNSERVED - 0.1) == []
        assert await executor.lost([a], UNSERVED) == [(a, "no node takes it out of its queue")]
    assert not engine.begun


# -- cancelling --------------------------------------------------------------------------------------------------------


async def test_a_cancelled_pass_hears_of_it_within_two_seconds_and_the_engine_too(
    url: str, lease: Lease, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    here, elsewhere = attempt("forever"), attempt("forever")
    async with engine.on(url, lease) as executor:
        await hand_over(executor, url, here, elsewhere)
        await eventually(lambda: len(engine.begun) == 2)
        with own_time() as took:
            await executor.cancel(here)
            with outsider(url) as client:
                await client.cancel_workflow_async(str(elsewhere))
            await eventually(lambda: len(engine.cancelled) == 2)
            assert took.seconds < 2.5
        assert engine.ended == {here: "CancelledError", elsewhere: "CancelledError"}
        assert await executor.lost([here], 10.0) == []
        assert await executor.lost([here], 10.0 + GRACE) == [(here, "it ended without a record (cancelled)")]
    assert [r.getMessage() for r in caplog.records if r.name == "dbos" and r.levelno >= logging.WARNING] == []


async def test_cancelling_what_is_over_or_unknown_does_nothing(url: str, lease: Lease, engine: Engine) -> None:
    a = attempt()
    async with engine.on(url, lease) as executor:
        await executor.cancel(attempt())
        await hand_over(executor, url, a)
        await eventually(lambda: a in engine.ended)
        await eventually(lambda: rows(url, a)[0].status == "SUCCESS")
        await executor.cancel(a)
        assert rows(url, a)[0].status == "SUCCESS"
    assert engine.cancelled == []


# -- what will never report --------------------------------------------------------------------------------------------


async def test_an_attempt_that_dbos_never_heard_of_is_dispatched_again(url: str, lease: Lease, engine: Engine) -> None:
    a = attempt()
    async with engine.on(url, lease) as executor:
        assert await executor.lost([a], 0.0) == []
        await eventually(lambda: a in engine.ended)
    assert engine.begun == {a: 1}


async def test_a_pass_that_breaks_is_logged_and_lost_after_a_grace(
    url: str, lease: Lease, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(_: AttemptId) -> None:
        raise LookupError("the log was out of reach")

    engine.does["breaks"] = breaks
    a, fine = attempt("breaks"), attempt("forever")
    async with engine.on(url, lease, drain=0.1) as executor:
        await hand_over(executor, url, a, fine)
        await eventually(lambda: fine in engine.begun and rows(url, a)[0].status == "ERROR")
        assert await executor.lost([a, fine], 50.0) == []
        assert await executor.lost([a, fine], 50.0 + GRACE - 0.1) == []
        assert await executor.lost([a, fine], 50.0 + GRACE) == [(a, "it ended without a record (error)")]
    assert any("the log was out of reach" in (r.exc_text or "") for r in caplog.records if r.name == "dbos")


async def test_an_attempt_that_was_taken_here_but_never_began_is_lost_after_a_grace(
    url: str, lease: Lease, engine: Engine
) -> None:
    a = attempt()
    async with engine.on(url, lease) as executor:
        await hand_over(executor, url, a)
        await eventually(lambda: a in engine.ended and rows(url, a)[0].status == "SUCCESS")
        _forge(url, f"update {{}}workflow_status set status = 'PENDING' where workflow_uuid = '{a}'")
        assert await executor.lost([a], 0.0) == []
        assert await executor.lost([a], GRACE) == [(a, "it was taken here but never began")]


def _forge(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(beside(url).removeprefix("sqlite:///"))) as file, file:
            file.execute(statement.format(""))
    else:
        with psycopg.connect(url.replace("+psycopg", "", 1)) as c:
            c.execute(statement.format("dbos.").encode())


_CRASHING = """
import asyncio, sys
from bot.engine.executor import AttemptId, Executor
from bot.store.lease import take

async def begun(a):
    print("begun", flush=True)
    await asyncio.sleep(60)

async def main(url, text):
    executor = Executor(url, lease=take(url, ttl=2.0), run_pass=begun, on_cancelled=begun)
    await executor.launch()
    await executor.lost([AttemptId.parse(text)], 0.0)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_process_leaves_an_attempt_that_is_lost_and_never_begun_again(url: str, engine: Engine) -> None:
    a = attempt()
    await asyncio.to_thread(_begin_and_be_killed, url, a)
    with contextlib.closing(take(url)) as lease:
        async with engine.on(url, lease) as executor:
            found = await executor.lost([a], 0.0)
            async with asyncio.timeout(60):
                while not found:  # PostgreSQL: until its lease has expired
                    await asyncio.sleep(0.1)
                    found = await executor.lost([a], 0.0)
            assert found == [(a, "its process is gone")]
            await asyncio.sleep(1.2)  # DBOS looks for what it could recover once a second
            assert rows(url, a)[0].status == "PENDING"
            again = AttemptId(a.run, a.step, a.application, a.n + 1)
            await executor.cancel(a)
            await hand_over(executor, url, again)
            await eventually(lambda: again in engine.ended)
    assert engine.begun == {again: 1}
    assert engine.cancelled == []


def _begin_and_be_killed(url: str, a: AttemptId) -> None:
    command = [sys.executable, "-c", _CRASHING, url, str(a)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "begun\n"
        finally:
            other.kill()


# -- closing -----------------------------------------------------------------------------------------------------------


async def test_whoever_uses_a_thread_while_it_closes_is_not_refused(url: str, lease: Lease, engine: Engine) -> None:
    a = attempt()
    async with engine.on(url, lease) as executor:
        await hand_over(executor, url, a)
        await eventually(lambda: a in engine.ended)
        closing = asyncio.create_task(executor.close())
        while not closing.done():
            assert await asyncio.to_thread(str, 1) == "1"
        await closing


async def test_closing_waits_for_a_pass_and_cuts_off_what_lasts_too_long_for_takeover(
    url: str, lease: Lease, engine: Engine
) -> None:
    async def short(_: AttemptId) -> None:
        await asyncio.sleep(0.3)

    engine.does["short"] = short
    ends, stays, late = attempt("short"), attempt("forever"), attempt()
    async with engine.on(url, lease, drain=0.6) as executor:
        await hand_over(executor, url, ends, stays)
        await eventually(lambda: len(engine.begun) == 2)
        closing = asyncio.create_task(executor.close())
        await asyncio.sleep(0)
        await executor.dispatch([late])
        await closing
        assert engine.ended == {ends: "done", stays: "CancelledError"}
        assert engine.cancelled == []
        assert late not in engine.begun
        with pytest.raises(RuntimeError, match="not open"):
            await executor.cancel(stays)
    assert await asyncio.to_thread(str, 1) == "1"
    assert {w.workflow_id: w.status for w in rows(url, ends, stays)} == {str(ends): "SUCCESS", str(stays): "PENDING"}

    async with engine.on(url, lease) as executor:
        assert await executor.lost([ends, stays, late], 0.0) == [(stays, "its process is gone")]
        await eventually(lambda: late in engine.ended)
    assert engine.begun == {ends: 1, stays: 1, late: 1}


async def test_a_pass_that_only_waits_holds_up_no_closing(url: str, lease: Lease, engine: Engine) -> None:
    went_on: list[bool] = []

    async def waits(_: AttemptId) -> None:
        for seconds in (0.01, 600.0):
            went_on.append(await executor.rest(seconds))

    engine.does["waits"] = waits
    a = attempt("waits")
    async with engine.on(url, lease, drain=600.0) as executor:
        await hand_over(executor, url, a)
        await eventually(lambda: went_on)
        async with asyncio.timeout(60):
            await executor.close()
    assert went_on == [True, False]
    assert engine.ended == {a: "done"} and rows(url, a)[0].status == "SUCCESS"


async def test_one_executor_at_a_time_in_a_process(url: str, lease: Lease, engine: Engine) -> None:
    async with engine.on(url, lease) as executor:
        with pytest.raises(RuntimeError, match="one executor at a time"):
            async with engine.on(url, lease):
                pass
        assert await executor.lost([], 0.0) == []
    with pytest.raises(RuntimeError, match="each only once"):
        await executor.launch()


async def test_a_launch_that_fails_leaves_room_for_another(
    url: str, lease: Lease, engine: Engine, tmp_path: Path
) -> None:
    bad = (
        "postgresql+psycopg://nobody@127.0.0.1:9/none"
        if url.startswith("post")
        else f"sqlite+aiosqlite:///{tmp_path}/no/x.db"
    )
    with pytest.raises(sa.exc.OperationalError):
        async with engine.on(bad, lease):
            pass
    async with engine.on(url, lease) as executor:
        assert await executor.lost([], 0.0) == []


async def test_rows_of_finished_attempts_are_deleted_after_a_week(url: str, lease: Lease, engine: Engine) -> None:
    a, running, days = attempt(), attempt("forever"), [6.9]
    async with engine.on(
        url, lease, sweep_every=0.05, clock=lambda: time.time() + days[0] * 86400, drain=0.1
    ) as executor:
        await hand_over(executor, url, a, running)
        await eventually(lambda: running in engine.begun and rows(url, a)[0].status == "SUCCESS")
        await asyncio.sleep(0.3)
        assert len(rows(url, a, running)) == 2
        days[0] = 7.1
        await eventually(lambda: [w.workflow_id for w in rows(url, a, running)] == [str(running)])
