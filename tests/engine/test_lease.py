"""Who is alive: file lock, rows, self-fence, election."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from bot.store import tables
from bot.store.database import BadAddress
from bot.store.lease import FENCED, AlreadyRunning, FileLease, RowLease, take

TTL = 1.0
"""Seconds, where a test waits for beats; a process that really ends itself gets twice that."""


class Fence:
    """Stands for the end of the process."""

    def __init__(self) -> None:
        self.why, self.fell = "", Event()

    def __call__(self, why: str) -> None:
        self.why = why
        self.fell.set()


@contextmanager
def process(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with a lease of its own; prints its node's id."""
    code = f"""
import time
from bot.store.lease import take
lease = take({url!r}, ttl={2 * TTL})
print(lease.id, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        try:
            yield other
        finally:
            other.kill()


def line(other: subprocess.Popen[str]) -> str:
    assert other.stdout is not None
    return other.stdout.readline().strip()


def eventually(true: Callable[[], bool], within: float = 60.0) -> bool:
    end = time.monotonic() + within
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


# -- SQLite ------------------------------------------------------------------------------------------------------------


def test_a_second_process_is_told_who_runs_and_may_when_that_one_is_killed(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
    with process(url) as other:
        assert line(other) == "local"
        with pytest.raises(AlreadyRunning, match="another bot works on this database") as told:
            take(url)
        assert told.value.pid == other.pid
        assert told.value.path == tmp_path / "bot.db.lock"
        other.kill()
        other.wait()
        with closing(take(url)) as lease:
            assert lease.alive_nodes() == {"local"}
            assert lease.elect("publisher")


def test_a_closed_lease_is_free_and_not_alive(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
    first = FileLease(url)
    first.close()
    assert not first.live()
    assert not first.elect("publisher")
    assert first.alive_nodes() == frozenset()
    FileLease(url).close()


def test_one_file_has_one_lease_by_whichever_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    file = tmp_path / "real" / "bot.db"
    file.touch()
    (tmp_path / "link.db").symlink_to(file)
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    first = FileLease(f"sqlite:///{file}")
    for other in (tmp_path / "link.db", tmp_path / "folder" / "bot.db", "real/bot.db", "real/../link.db"):
        with pytest.raises(AlreadyRunning):
            FileLease(f"sqlite:///{other}")
    first.close()
    FileLease("sqlite:///link.db").close()
    assert sorted(p.name for p in tmp_path.rglob("*.lock")) == ["bot.db.lock"]
    (tmp_path / "hard.db").hardlink_to(file)
    with pytest.raises(BadAddress, match="has 2 names"):
        FileLease(f"sqlite:///{file}")


@pytest.mark.parametrize("url", ["sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:"])
def test_a_database_without_a_file_has_no_lease(url: str) -> None:
    with pytest.raises(ValueError, match="names no file"):
        take(url)


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


class Nodes:
    """A database with the table, leases in it, and a hand that writes their rows."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        tables.node.create(self.engine)
        self.open: list[RowLease] = []

    def lease(self, ttl: float = 30.0, fence: Callable[[str], None] | None = None, **more: Any) -> RowLease:
        self.open.append(RowLease(self.url, ttl=ttl, fence=fence or Fence(), **more))
        return self.open[-1]

    def set(self, id: str, expires: str) -> None:
        """Move a row's expiry to `expires` from the database's now."""
        with self.engine.begin() as c:
            moved = sa.text("update node set until = now() + cast(:by as interval) where id = :id")
            c.execute(moved, {"by": expires, "id": id})

    def drop(self) -> None:
        tables.node.drop(self.engine)

    def until(self, id: str) -> Any:
        with self.engine.connect() as c:
            return c.execute(sa.select(tables.node.c.until).where(tables.node.c.id == id)).scalar()


@pytest.fixture
def nodes(pg_database: str) -> Iterator[Nodes]:
    found = Nodes(pg_database)
    yield found
    for lease in found.open:
        lease.close()


def test_a_node_is_alive_until_it_closes(nodes: Nodes) -> None:
    a, b = nodes.lease(), nodes.lease(version="1.2")
    assert a.alive_nodes() == b.alive_nodes() == {a.id, b.id}
    assert a.live()
    a.close()
    assert not a.live()
    assert b.alive_nodes() == {b.id}


def test_beats_renew_the_lease(nodes: Nodes) -> None:
    a = nodes.lease(ttl=TTL)
    first = nodes.until(a.id)
    assert eventually(lambda: nodes.until(a.id) > first)
    assert a.live()


def test_the_databases_clock_judges_whatever_our_own_says(nodes: Nodes) -> None:
    a, b = nodes.lease(clock=lambda: 1e9), nodes.lease(clock=lambda: -5.0)
    assert b.alive_nodes() == {a.id, b.id}
    nodes.set(a.id, "-1 ms")
    assert b.alive_nodes() == a.alive_nodes() == {b.id}


def test_an_expired_lease_is_not_revived_but_ends_the_process(nodes: Nodes) -> None:
    fence = Fence()
    a = nodes.lease(ttl=TTL, fence=fence, clock=lambda: 0.0)
    nodes.set(a.id, "-1 ms")
    assert fence.fell.wait(60)
    assert fence.why == "the lease had expired before it could be renewed"
    assert a.id not in a.alive_nodes()


def test_a_node_that_the_database_does_not_answer_ends_itself_in_time(nodes: Nodes) -> None:
    fence, now = Fence(), [100.0]
    a = nodes.lease(ttl=TTL, fence=fence, clock=lambda: now[0])
    nodes.drop()
    now[0] += 0.69
    assert a.live()
    assert not fence.fell.is_set()
    now[0] += 0.02
    assert not a.live()
    assert fence.fell.wait(60)
    assert fence.why == "no beat for 0.7 s"


def test_a_frozen_process_ends_itself_when_it_wakes(nodes: Nodes) -> None:
    here = nodes.lease()
    with process(nodes.url) as other:
        node = line(other)
        assert node in here.alive_nodes()
        other.send_signal(signal.SIGSTOP)
        assert eventually(lambda: node not in here.alive_nodes())
        other.send_signal(signal.SIGCONT)
        assert other.wait(60) == FENCED
    assert here.alive_nodes() == {here.id}


def test_a_role_has_one_holder_who_keeps_it(nodes: Nodes) -> None:
    a, b = nodes.lease(), nodes.lease()
    assert a.elect("publisher")
    assert not b.elect("publisher")
    assert a.elect("publisher")
    assert b.elect("sweeper")
    assert a.alive_nodes() == {a.id, b.id}


def test_a_role_is_taken_over_when_it_expires_or_is_given_back(nodes: Nodes) -> None:
    a, b, c = nodes.lease(), nodes.lease(), nodes.lease()
    assert a.elect("publisher")
    nodes.set("role:publisher", "-1 ms")
    assert b.elect("publisher")
    assert not a.elect("publisher")
    b.close()
    assert c.elect("publisher")
    assert not a.elect("publisher")


def test_many_who_want_a_role_at_once_are_one_who_gets_it(nodes: Nodes) -> None:
    leases = [nodes.lease() for _ in range(4)]
    with ThreadPoolExecutor(len(leases)) as pool:
        for name in map(str, range(20)):
            assert sum(pool.map(partial(RowLease.elect, name=name), leases)) == 1


def test_a_node_that_is_not_alive_takes_no_role(nodes: Nodes) -> None:
    a = nodes.lease()
    nodes.set(a.id, "-1 ms")
    assert not a.elect("publisher")
    a.close()
    assert not a.elect("publisher")


def test_without_an_answer_nobody_is_elected(nodes: Nodes) -> None:
    a = nodes.lease()
    nodes.drop()
    assert not a.elect("publisher")
