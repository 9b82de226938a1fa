"""The pages that list things are made from the code, the same everywhere, and a stale one is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent
PRINT = "from docs.generate import pages; print(*pages().values())"


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=HOUSE, env=os.environ | env, capture_output=True, text=True)


def test_the_pages_are_as_the_code_is() -> None:
    found = run("-m", "docs.generate", "--check")
    assert found.returncode == 0, found.stderr


def test_the_same_code_gives_the_same_pages_in_every_surroundings() -> None:
    one = run(
        "-c", PRINT, PYTHONHASHSEED="1", COLUMNS="40", ROLLBACK_PORT="9999", ROLLBACK_URL="http://elsewhere", TZ="UTC"
    )
    two = run("-c", PRINT, PYTHONHASHSEED="2", COLUMNS="200", TZ="Asia/Tokyo", LANG="C")
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert one.stdout == two.stdout and "### `rollback-bot approve [RUN] [DECISION]`" in one.stdout


def test_a_stale_page_is_found_and_said_how_to_renew(tmp_path: Path) -> None:
    there = f"import sys, pathlib, docs.generate as g; g.HOUSE = pathlib.Path({str(tmp_path)!r})"
    code = f"{there}; sys.exit(g.main(sys.argv[1:]))"
    assert run("-c", code).returncode == 0
    page = tmp_path / "docs" / "commands.md"
    page.write_text(page.read_text().replace("approve", "aprove"))
    found = run("-c", code, "--check")
    assert found.returncode == 1
    assert "Next: python -m docs.generate" in found.stderr and "settings.md" not in found.stderr
