"""A program that is started by a fork cannot tell, and neither can whoever started it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forks import Template

PROGRAM = """
import os, signal, sys
print(__name__, os.getcwd(), os.environ["SAID"], os.environ.get("KEPT"), sys.argv[1:], os.getppid(), flush=True)
print("not well", file=sys.stderr)
sys.exit(int(sys.argv[1])) if len(sys.argv) > 1 else signal.pause()
"""


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    found = Template()
    while not found.takes(os.environ, ()):
        time.sleep(0.05)
    yield found
    found.close()


def start(template: Template, folder: Path, *words: str) -> tuple[int, str]:
    """A program in this folder: its process, and what it says first."""
    (folder / "said.py").write_text(PROGRAM)
    told, telling = os.pipe()
    with open(os.devnull, "rb") as nothing, (folder / "errors").open("wb") as errors:  # noqa: PTH123 - no file
        env = {**{k: v for k, v in os.environ.items() if k != "KEPT"}, "SAID": "so"}
        child = template.start(["said", *words], str(folder), env, (nothing.fileno(), telling, errors.fileno()))
    os.close(telling)
    with os.fdopen(told) as answer:
        return child, answer.readline().strip()


def test_a_fork_is_a_child_with_its_own_words_folder_environment_files_and_exit_code(
    template: Template, tmp_path: Path
) -> None:
    child, said = start(template, tmp_path, "7")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert said == f"__main__ {tmp_path} so None ['7'] {os.getpid()}"
    assert (tmp_path / "errors").read_text() == "not well\n"


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
def test_a_fork_dies_of_signals_like_any_child(template: Template, tmp_path: Path, signal_: signal.Signals) -> None:
    child, _ = start(template, tmp_path)
    os.kill(child, signal_)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal_


def test_another_python_or_a_terminal_is_not_forked(template: Template) -> None:
    ours, theirs = os.openpty()
    try:
        assert template.takes(os.environ, ())
        assert not template.takes({**os.environ, "PYTHONHASHSEED": "1"}, ())
        assert not template.takes(os.environ, (theirs,))
    finally:
        os.close(ours)
        os.close(theirs)
