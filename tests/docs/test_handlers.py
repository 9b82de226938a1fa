"""The example of docs/handlers.md passes `make check` as it stands: put where the page says, nothing else edited."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
PARTS = ("actions", "bot", "checks", "docs", "migrations", "tests", "pyproject.toml")
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the example in it, and its own pages made anew, as `make fmt` does."""
    folder = tmp_path_factory.mktemp("house")
    for part in PARTS:
        if (HOUSE / part).is_dir():
            shutil.copytree(HOUSE / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(HOUSE / part, folder / part)
    page = (HOUSE / "docs" / "handlers.md").read_text(encoding="utf-8")
    handler, test = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (folder / "actions" / "notice_show.py").write_text(handler)
    (folder / "tests" / "actions" / "test_notice_show.py").write_text(test)
    made = subprocess.run([sys.executable, "-m", "docs.generate"], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize(
    "words",
    [
        [str(BIN / "ruff"), "check", "."],
        [str(BIN / "ruff"), "format", "--check", "."],
        [str(BIN / "mypy"), "actions/notice_show.py", "tests/actions/test_notice_show.py"],
        [str(BIN / "lint-imports"), "--no-logo"],
        [sys.executable, "-m", "docs.generate", "--check"],
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/actions/test_notice_show.py"],
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contract.py", "-k", "notice.show"],
    ],
    ids=lambda words: " ".join(w.rsplit("/", 1)[-1] for w in words[:3]),
)
def test_the_example_passes_what_make_check_and_make_test_do_with_it(copy: Path, words: list[str]) -> None:
    found = subprocess.run(words, cwd=copy, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_copy_is_what_was_looked_at(copy: Path) -> None:
    """A check that reads another folder than the copy would pass whatever the page says."""
    file = copy / "actions" / "notice_show.py"
    good = file.read_text()
    file.write_text(good.replace("HttpTarget = Field", "int = Field"))
    mypy = [str(BIN / "mypy"), "actions/notice_show.py"]
    try:
        assert subprocess.run(mypy, cwd=copy, capture_output=True, text=True, timeout=300).returncode == 1
    finally:
        file.write_text(good)
    assert "## `notice.show`" in (copy / "docs" / "handlers-list.md").read_text()
