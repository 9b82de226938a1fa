"""Every story of the demo, as `make demo` plays it; two at a time, as each waits half of its time."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.playground.demo.story import STORIES

LONGEST = 240.0
"""Seconds; alone a story takes about one minute."""
TOGETHER = 2
Told = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def played() -> Iterator[Mapping[str, Future[Told]]]:
    with ThreadPoolExecutor(TOGETHER) as stages:
        yield {name: stages.submit(_play, name) for name in STORIES}
        stages.shutdown(cancel_futures=True)


def _play(story: str) -> Told:
    command = [sys.executable, "-m", "bot.playground.demo", "--story", story]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONGEST)


@pytest.mark.parametrize("story", [*STORIES])
def test_the_story_ends_right(story: str, played: Mapping[str, Future[Told]]) -> None:
    ended = played[story].result()
    told = ended.stdout
    assert ended.returncode == 0, told
    assert "Not yours to decide" in told
    assert told.splitlines()[-1].endswith("and the record verifies.")
    timelines = [Path(file) for file in re.findall(r"stays here: (\S+\.html)", told)]
    (thread,) = re.findall(r"stays here: (\S+\.txt)", told)
    assert "Rollback of shop" in Path(thread).read_text()
    for file in timelines:
        assert file.read_text().startswith("<!doctype html>") and file.stem in file.read_text()
    assert timelines
    for folder in {file.parent for file in timelines}:
        shutil.rmtree(folder)
