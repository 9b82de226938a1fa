"""Every story of the demo, as `make demo` plays it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bot.playground.demo.story import STORIES
from bot.playground.demo.titles import TITLES
from bot.playground.demo.trouble import TROUBLES

LONGEST = 900.0
"""Seconds on a very busy machine; alone a story takes about one minute."""
MOST_LINES = 120
"""What a tired person reads."""
TROUBLED = 12
"""Lines more that it takes to tell how the bot died and came back."""
PLAYED = [name for name in STORIES if name != "schema-keep"]
"""`rollback` is the same story as `schema-keep`."""


def _play(story: str) -> subprocess.CompletedProcess[str]:
    """With the bot killed in the middle of what it does to a database, where it does something to one."""
    trouble = ["--trouble"] if story in TROUBLES else []
    command = [sys.executable, "-m", "bot.playground.demo", "--story", story, *trouble]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONGEST)


@pytest.mark.parametrize("story", PLAYED)
def test_the_story_ends_right(story: str) -> None:
    ended = _play(story)
    told = ended.stdout
    assert ended.returncode == 0, told
    assert "Not yours to decide" in told
    assert len(told.splitlines()) <= MOST_LINES + (TROUBLED if story in TROUBLES else 0), told
    assert ("dies, kill -9" in told) is (story in TROUBLES)
    assert told.splitlines()[-1].endswith("and the record verifies.")
    assert "Postmortem: " in told and "== The checklist ==" in told and "before: " in told
    (thread,) = (Path(file) for file in re.findall(r"All of it: (\S+\.txt)", told))
    assert "Rollback of shop" in thread.read_text()
    pages = [Path(file) for file in re.findall(r"for your browser: (\S+\.html)", told)]
    assert pages
    for page in pages:
        assert page.read_text().startswith("<!doctype html>") and page.stem in page.read_text()
    shutil.rmtree(thread.parent)


def test_every_story_has_a_title() -> None:
    assert [*STORIES] == [*TITLES]
