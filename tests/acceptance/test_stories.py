"""The demo, both stories, as `make demo` plays them; side by side, as each is mostly waiting."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bot.playground.demo.story import STORIES

LONGEST = 240.0
"""Seconds; alone a story takes less than one minute."""


@pytest.fixture(scope="module")
def played() -> Iterator[Mapping[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "bot.playground.demo", "--story"]
    found = {
        name: subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name in STORIES
    }
    yield found
    for process in found.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("story", [*STORIES])
def test_the_story_ends_right(story: str, played: Mapping[str, subprocess.Popen[str]]) -> None:
    told, _ = played[story].communicate(timeout=LONGEST)
    assert played[story].returncode == 0, told
    assert "Not yours to decide" in told
    assert told.splitlines()[-1].endswith("and the record verifies.")
    for file in map(Path, re.findall(r"stays here: (\S+)", told)):
        assert file.read_text().startswith("<!doctype html>") and "2.4.1" in file.read_text()
        shutil.rmtree(file.parent, ignore_errors=True)
    assert "stays here: " in told
