"""The head of the record outside the database: an older backup is noticed, and may be accepted by name."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

import migrations
from bot.blobs import FileBlobs
from bot.cli.output import Code
from bot.outside import ANCHOR, Outside, RecordCut
from bot.policy import Actor
from bot.releases import Releases
from bot.run import events as ev
from bot.run.state import new_run
from bot.store import Store
from tests.cli.house import OS_USER, House, Running
from tests.store.conftest import Sample

sample = Sample()


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
    return house.folder / "files" / "outside" / ANCHOR


def test_an_older_backup_is_refused_told_and_left_alone_until_somebody_accepts_the_loss(house: House) -> None:
    outside = restored(house)
    kept = outside.read_text()
    for words in (("serve",), ("status", "--direct", "the bot is dead")):
        refused = house.say("", *words)
        assert refused.exit_code == Code.BAD_RECORD, refused.output
        assert "names checkpoint 1 " in refused.stderr and "the database ends at 0" in refused.stderr
        assert "audit accept-loss" in refused.stderr
    doctor = house.say("", "doctor", "--json")
    record = next(f for f in json.loads(doctor.stdout)["findings"] if f["name"] == "record")
    assert record["state"] == "fault" and "accept-loss" in record["next"]
    assert house.say("", "audit", "accept-loss").exit_code == Code.USAGE
    assert outside.read_text() == kept

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
    assert json.loads(outside.read_text())["n"] == 2
    assert [p.read_text() for p in outside.parent.glob("checkpoint-lost-*.json")] == [kept]


def test_where_nothing_is_missing_there_is_nothing_to_accept(house: House) -> None:
    refused = house.say("", "audit", "accept-loss", "--reason", "just in case")
    assert refused.exit_code == Code.REFUSED and "Nothing is missing" in refused.stderr


def test_nobody_accepts_a_loss_beside_a_bot(bot: Running) -> None:
    refused = bot.house.say("", "audit", "accept-loss", "--reason", "just in case")
    assert refused.exit_code == Code.REFUSED and "another bot works on this database" in refused.stderr


async def test_under_a_running_bot_no_shorter_and_no_other_chain_is_put_over_the_copy(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(migrations.upgrade, database_url)
    store = await Store.open(database_url)
    files = FileBlobs(tmp_path / "files")
    outside = Outside(files, store, Releases(store, lambda: 1.0), lambda: 1_763_900_000.0)

    async def begin(name: str) -> None:
        run = await store.append(new_run(name), [sample.created(name)], 1_763_900_000.0, checkpoint=True)
        await outside.anchor(run, [sample.created(name)])

    await begin("r1")
    first = files.get_anchor(ANCHOR)
    await begin("r2")
    second = files.get_anchor(ANCHOR) or ""
    assert first is not None and first != second
    for text in (second.replace('"n": 2', '"n": 9'), "half a line"):  # altered; and one of another database
        files.put_anchor(ANCHOR, text)
        await begin(f"r{len(text)}")
        assert files.get_anchor(ANCHOR) == text
        with pytest.raises(RecordCut, match="accept-loss"):
            await outside.whole()
    other = await other_chain(tmp_path)
    files.put_anchor(ANCHOR, other)
    await begin("r4")
    assert files.get_anchor(ANCHOR) == other and "it was rewritten" in await outside.missing()
    assert sum("The record is cut" in r.getMessage() for r in caplog.records) == 1
    head = await outside.accept(Actor("os:ana", "ana", (), "host"), "known")
    assert await outside.missing() == "" and (head.n, (await store.events(head.run))[0].kind) == (6, "loss accepted")
    await begin("r5")
    assert (files.get_anchor(ANCHOR) or "").startswith('{"n": 7')
    assert isinstance(ev.decode("loss accepted", (await store.events(head.run))[0].body), ev.LossAccepted)
    await store.close()


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
