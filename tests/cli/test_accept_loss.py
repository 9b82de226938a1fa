"""The head of the record outside the database: an older backup is noticed, and may be accepted by name."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

import migrations
from bot.cli.output import Code
from bot.node.outside import BEFORE, FOLDER, Outside, RecordCut, kept, no_copy
from bot.policy import Actor
from bot.releases.register import ReleaseRegister
from bot.run import events as ev
from bot.run.state import Run, new_run
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.log import Store, Stored
from bot.telling.sentences import Names, sentence
from tests.fixtures.whole_bot import OS_USER, House, Running
from tests.store.conftest import Sample

sample = Sample()
AT = 1_763_900_000.0
NAMES = Names()


def restored(house: House) -> Path:
    """A rollback is begun and the bot stopped; then the database is that of before. The copy outside."""
    database, backup = house.folder / "bot.db", house.folder / "backup.db"
    for name, to in ((database, backup),):
        shutil.copy(name, to)
    bot = Running(house)
    try:
        assert house.say("ana", "rollback", "shop", "to", "2.4.0", "because", "it", "fails").exit_code == 0
    finally:
        bot.stop()
    for late in house.folder.glob("bot.db-*"):
        late.unlink()
    shutil.copy(backup, database)
    return house.folder / "files" / "outside" / FOLDER


def test_an_older_backup_is_refused_told_and_left_alone_until_somebody_accepts_the_loss(house: House) -> None:
    outside = restored(house)
    (first,) = outside.iterdir()
    kept = first.read_text()
    for words in (("serve",), ("status", "--direct", "the bot is dead")):
        refused = house.say("", *words)
        assert refused.exit_code == Code.BAD_RECORD, refused.output
        assert "names checkpoint 1 " in refused.stderr and "the database ends at 0" in refused.stderr
        assert "audit accept-loss" in refused.stderr
    doctor = house.say("", "doctor", "--json")
    record = next(f for f in json.loads(doctor.stdout)["findings"] if f["name"] == "record")
    assert record["state"] == "fault" and "accept-loss" in record["next"]
    assert house.say("", "audit", "accept-loss").exit_code == Code.USAGE
    assert first.read_text() == kept

    accepted = house.json("", "audit", "accept-loss", "--reason", "the disk with the newer backups burned")
    bot = Running(house)
    try:
        told = house.say("ana", "audit", "verify")
        assert told.exit_code == 0 and f"verified; a loss was accepted in {accepted['run']}" in told.stdout
        exported = house.say("ana", "audit", accepted["run"], "export").stdout
        assert OS_USER in exported and "the disk with the newer backups burned" in exported
        assert json.loads(kept)["chain"] in exported
        listed = house.say("ana", "history")
        assert listed.exit_code == 0 and accepted["run"] in listed.stdout
        assert house.say("ana", "rollback", "shop", "to", "2.4.0", "because", "it", "fails").exit_code == 0
    finally:
        bot.stop()
    assert sorted(p.name for p in outside.iterdir()) == ["000000000001.json", "000000000002.json"]
    assert [p.read_text() for p in outside.parent.glob(f"{FOLDER}-lost-*/*")] == [kept]


def test_where_nothing_is_missing_there_is_nothing_to_accept(house: House) -> None:
    refused = house.say("", "audit", "accept-loss", "--reason", "just in case")
    assert refused.exit_code == Code.REFUSED and "Nothing is missing" in refused.stderr


def test_an_archive_is_written_beside_a_running_bot_and_is_whole_or_not_there(bot: Running, tmp_path: Path) -> None:
    run = str(bot.house.json("ana", "rollback", "shop", "because", "checkout", "fails")["run"])
    path = tmp_path / "record.zip"
    found = bot.house.say("", "audit", run, "export", "--format", "archive", "--database", "-o", str(path))
    assert found.exit_code == 0 and "It holds people's data" in found.stdout and "Not in it" not in found.stdout
    assert path.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(path) as zip_:
        told = json.loads(zip_.read("manifest.json"))
        assert {f["is"] for f in told["files"]} >= {
            f"the plan of {run}",
            f"the catalogue of {run}",
            "who held which role",
        }
    program = Path(__file__).parents[2] / "docs" / "verify_record.py"
    done = subprocess.run([sys.executable, str(program), str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and "all of it fits together" in done.stdout, done.stdout
    for wrong in ([run], ["--all", "--database"], [run, "--all", "--database", "-o", str(path)]):
        assert bot.house.say("", "audit", "export", "--format", "archive", *wrong).exit_code == Code.USAGE
    absent = bot.house.say("", "audit", "shop-9", "export", "--format", "archive", "--database", "-o", f"{path}2")
    assert absent.exit_code == Code.USAGE and "there is no run shop-9" in absent.output
    assert [p.name for p in tmp_path.glob("*record.zip*")] == ["record.zip"]


def test_nobody_accepts_a_loss_beside_a_bot(bot: Running) -> None:
    refused = bot.house.say("", "audit", "accept-loss", "--reason", "just in case")
    assert refused.exit_code == Code.REFUSED and "another bot works on this database" in refused.stderr


@dataclass
class Kept:
    """A database, and what is kept of it outside; a node more with each `node()`."""

    store: Store
    files: FileBlobs

    def node(self) -> Outside:
        return Outside(self.files, self.store, ReleaseRegister(self.store, lambda: AT), lambda: AT)

    async def begin(self, name: str, *nodes: Outside) -> Run:
        """A run, of which these nodes are told."""
        run = await self.store.append(new_run(name), [sample.created(name)], AT)
        for node in nodes:
            await node.anchor(run, [sample.created(name)])
        return run

    @property
    def head(self) -> int:
        """Number of the newest link outside; 0 where there is none."""
        text = kept(self.files)
        return json.loads(text)["n"] if text else 0


@pytest.fixture
async def there(database_url: str, tmp_path: Path) -> AsyncIterator[Kept]:
    await asyncio.to_thread(migrations.upgrade, database_url)
    store = await Store.open(database_url)
    yield Kept(store, FileBlobs(tmp_path / "files"))
    await store.close()


async def test_under_a_running_bot_no_shorter_and_no_other_chain_is_put_over_the_copy(
    there: Kept, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = there.node()
    await node.begin()
    await there.begin("r1", node)
    await there.begin("r2", node)
    assert there.head == 2
    second = kept(there.files) or ""
    for n, text in ((8, second.replace('"n": 2', '"n": 9')), (9, "half a line")):  # altered; and broken
        name = f"{FOLDER}/{n:012d}.json"
        there.files.put_anchor(name, text)
        await there.begin(f"r{n}", node)
        assert kept(there.files) == text
        with pytest.raises(RecordCut, match="accept-loss"):
            await node.whole()
        there.files.drop_anchor(name)
    there.files.put_anchor(f"{FOLDER}/000000000009.json", await other_chain(tmp_path))
    await there.begin("r4", node)
    assert "it was rewritten" in await node.missing() and there.head == 1  # the other chain's
    assert sum("The record is cut" in r.getMessage() for r in caplog.records) == 1
    head = await node.accept(Actor("os:ana", "ana", (), "host"), "known")
    assert await node.missing() == "" and (await there.store.events(head.run))[0].kind == "loss accepted"
    assert head.n == there.head == 6
    await there.begin("r5", node)
    assert there.head == 7
    assert isinstance(ev.decode("loss accepted", (await there.store.events(head.run))[0].body), ev.LossAccepted)


async def test_a_node_that_is_behind_writes_over_nothing(there: Kept) -> None:
    fast, slow = there.node(), there.node()
    for node in (fast, slow):
        await node.begin()
    await there.begin("r1", fast)
    old = await there.store.last_checkpoint()
    assert old is not None
    await there.begin("r2", fast)
    assert not there.files.put_first(f"{FOLDER}/{2:012d}.json", "something else") and there.head == 2
    assert not there.files.put_first(f"{FOLDER}/{old.n:012d}.json", old.text) and there.head == 2
    await slow.keep()
    assert there.head == 2 and await slow.missing() == ""
    names = there.files.anchors(FOLDER)
    done = await asyncio.gather(
        *(asyncio.to_thread(there.files.put_first, f"{FOLDER}/x.json", str(n)) for n in range(8))
    )
    assert done.count(True) == 1 and there.files.anchors(FOLDER) == [*names, "x.json"]


async def test_of_links_long_past_some_go(there: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.node.outside.KEPT", 2)
    node = there.node()
    await node.begin()
    for n in range(4):
        await there.begin(f"r{n}", node)
    assert there.files.anchors(FOLDER) == ["000000000003.json", "000000000004.json"]


async def test_a_copy_that_is_gone_is_told_and_made_anew_only_by_who_has_seen_the_chain(
    there: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    witness = there.node()
    await witness.begin()
    await there.begin("r1", witness)
    there.files.drop_anchor(f"{FOLDER}/000000000001.json")
    stranger = there.node()
    await stranger.begin()  # it starts: nothing says that something is lost
    await there.begin("r2", stranger)
    assert there.head == 0 and "no copy" in await stranger.fault() and stranger.copying.away
    assert sum("is not kept: There is no copy" in r.getMessage() for r in caplog.records) == 1
    await witness.keep()
    await stranger.keep()
    assert there.head == 2 and await stranger.fault() == "" and not stranger.copying.away

    there.files.drop_anchor(f"{FOLDER}/000000000002.json")
    head = await there.node().accept(Actor("os:ana", "ana", (), "host"), "the disk burned")
    assert there.head == head.n == 3
    assert "copy of the record's head is lost" in sentence(
        ev.decode(*encoded(await there.store.events(head.run))), NAMES
    )


async def test_a_cut_of_both_is_noticed_by_a_bot_that_runs(there: Kept) -> None:
    node = there.node()
    await node.begin()
    await there.begin("r1", node)
    await there.begin("r2", node)
    await forget(there.store)
    for name in there.files.anchors(FOLDER):
        there.files.drop_anchor(f"{FOLDER}/{name}")
    await node.keep()
    assert node.outage.away and "names checkpoint 2" in node.outage.why and there.head == 0


async def test_where_the_copy_cannot_be_written_it_is_told_once_and_tried_again(
    there: Kept, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    node = there.node()
    await node.begin()
    await there.begin("r1", node)

    def full(self: FileBlobs, path: Path, data: bytes, *, first: bool = False) -> None:
        raise BlobsUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(FileBlobs, "_write", full)
        for n in (2, 3):
            run = await there.begin(f"r{n}", node)
            await replace(node, by_hand=by_hand).files_behind(run, [sample.created()])
        assert there.head == 1 and await node.fault() == "the disk is full"
    told = [r.getMessage() for r in caplog.records]
    assert sum("The copy of the record's head is not kept" in t for t in told) == 1
    assert sum("By-hand files cannot be written" in t for t in told) == 1
    await node.keep()
    assert there.head == 3 and await node.fault() == ""


async def test_a_copy_of_an_earlier_version_counts(there: Kept) -> None:
    await there.begin("r1")
    first = await there.store.last_checkpoint()
    assert first is not None and "no copy" in await no_copy(there.files, there.store)
    there.files.put_anchor(BEFORE, first.text)
    node = there.node()
    await node.begin()
    await there.begin("r2", node)
    assert there.head == 2 and await no_copy(there.files, there.store) == ""
    await forget(there.store)
    with pytest.raises(RecordCut):
        await there.node().begin()


async def by_hand(run: Run) -> str:
    return "by hand"


def encoded(rows: list[Stored]) -> tuple[str, str]:
    return rows[0].kind, rows[0].body


async def forget(store: Store) -> None:
    """The database loses its end, as if an older backup had been restored."""

    def work(c: sa.Connection) -> None:
        lite = c.dialect.name == "sqlite"
        c.exec_driver_sql("DROP TRIGGER checkpoint_no_delete" if lite else "ALTER TABLE checkpoint DISABLE TRIGGER ALL")
        c.exec_driver_sql("DELETE FROM checkpoint WHERE n > 1")

    await store.db.write(work)


async def other_chain(folder: Path) -> str:
    """The head of another database's chain, of the same length."""
    url = f"sqlite:///{folder / 'other.db'}"
    await asyncio.to_thread(migrations.upgrade, url)
    store = await Store.open(url)
    try:
        await store.append(new_run("x1"), [sample.created("x")], 1_763_900_000.0, checkpoint=True)
        head = await store.last_checkpoint()
        return head.text if head is not None else ""
    finally:
        await store.close()
