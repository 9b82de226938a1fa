"""A folder that cannot be written and a disk that is full are told once, wherever people look, and so is their end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from bot.node import faults
from bot.node.faults import NodeFaults, cramped, folders
from bot.run.state import new_run
from bot.slack.draw.screen import screen
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.log import Store
from tests.fixtures.stores import store as store
from tests.run.played import T0, Play, act, plan
from tests.slack.scenes import CHANNELS


async def test_a_fault_is_told_once_and_its_end_once_in_the_log_and_in_the_threads_of_open_runs(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "bot.node.faults")
    play = Play(plan(act("one")))
    await store.append(new_run("r1"), [m.event for m in play.moments], T0)
    wrong = {"files": "", "disk": ""}

    async def look() -> dict[str, str]:
        return dict(wrong)

    watched = NodeFaults(look, store, lambda: T0)
    await watched.look()
    assert watched.text == "" and await store.notices("r1") == []
    wrong["files"] = "No space left on device. Next: make room"
    await watched.look()
    await watched.look()
    assert watched.text == "The bot's files: No space left on device. Next: make room."
    (told,) = await store.notices("r1")
    shown = screen(await store.load("r1"), now=T0, channels=CHANNELS, notices=[told])
    (post,) = [p for p in shown.posts if p.slot.startswith("notice.")]
    assert post.under == "root" and "No space left" in str(post)
    wrong["files"] = ""
    watched._clock = lambda: T0 + 60
    await watched.look()
    assert [n.text for n in await store.notices("r1")][1:] == ["The bot's files: fine again."]
    assert len(caplog.records) == 2


async def test_a_folder_that_cannot_be_written_is_found_by_writing(tmp_path: Path) -> None:
    files = FileBlobs(tmp_path / "files")
    await files.ping()
    (tmp_path / "files" / "outside" / "written").unlink()
    (tmp_path / "files" / "outside").rmdir()
    (tmp_path / "files" / "outside").write_text("in the way")
    with pytest.raises(BlobsUnavailable, match="Next: look at the disk"):
        await files.ping()


async def test_a_disk_that_is_nearly_full_is_named_once_for_all_folders_on_it(
    store: Store, tmp_path: Path, monkeypatch: Any
) -> None:
    both = folders(store, tmp_path)
    assert len(both) == 2
    monkeypatch.setattr(faults, "LOW", 0)
    assert cramped(*both) == "" and cramped(tmp_path / "nowhere") == ""
    monkeypatch.setattr(faults, "LOW", 2**62)
    assert cramped(*both).count("MB are left on the disk of") == 1
