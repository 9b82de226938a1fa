"""docs/security.md names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path("docs/security.md").read_text("utf-8")


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", PAGE)
    assert len(named) > 40
    gone = [f"{file}::{test}" for file, test in named if not re.search(rf"def {test}\b", Path(file).read_text("utf-8"))]
    assert not gone


def test_every_line_of_the_two_chapters_has_an_answer() -> None:
    for number in (*(f"9.2.{n}" for n in range(1, 11)), *(f"9.4.{n}" for n in range(1, 5))):
        (row,) = re.findall(rf"^\| {re.escape(number)} \| [^|]+ \| ((?:Yes|Partly|\*\*No\*\*)[^|]+) \|$", PAGE, re.M)
        assert "::test_" in row or "**No**" in row
