"""What was kept of incidents is read on the bot's host, by its digest, until its day is past."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from bot.cli.output import Code
from bot.store.blobs import FileBlobs
from bot.store.evidence import KeptEvidence
from tests.fixtures.whole_bot import House


def test_evidence_is_listed_shown_and_deleted_once_its_day_is_past(house: House) -> None:
    assert house.say("", "evidence", "list").stdout.strip() == "No evidence is kept."
    kept = KeptEvidence(FileBlobs(house.folder / "files"), lambda text: text.replace("hush", "[redacted]"))
    now = datetime.now(UTC)
    blob = asyncio.run(kept.keep("hush, a log\n", now + timedelta(days=30)))
    old = asyncio.run(kept.keep("an old log\n", now - timedelta(days=2)))
    assert house.say("", "evidence", "show", blob.digest).stdout == "[redacted], a log\n"
    listed = house.say("", "evidence", "list").stdout
    assert blob.digest in listed and old.digest in listed
    assert house.say("", "evidence", "prune").stdout.strip() == "The evidence of 1 day(s) is deleted."
    gone = house.say("", "evidence", "show", old.digest)
    assert gone.exit_code == Code.REFUSED and "not any more" in gone.output
    assert house.say("", "evidence", "show", "/etc/passwd").exit_code == Code.REFUSED
    folder = next(kept.folder.iterdir())
    assert folder.stat().st_mode & 0o077 == 0
    (file,) = [p for p in folder.rglob("*") if p.is_file()]
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(b"other")
    damaged = house.say("", "evidence", "show", blob.digest)
    assert damaged.exit_code == Code.BAD_RECORD and "is damaged" in damaged.output
