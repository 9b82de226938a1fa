"""README's steps, typed by a newcomer into an empty folder, where nothing is installed but the wheel and the lock."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest

from bot.playground.free_port import free_port
from tests.plain import HOUSE, Plain, plain

README = (HOUSE / "README.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[list[str]]:
    """The commands of each shell block below a heading, comments taken off."""
    text = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [[re.sub(r"\s+#.*", "", line) for line in block.splitlines() if line.strip()] for block in found]


INSTALL, SERVE, USE = blocks("Run it for yourself")


@pytest.fixture(scope="module")
def there() -> Plain:
    """What the install step makes."""
    return plain()


def typed(there: Plain, folder: Path, lines: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    """The lines in one shell, which gives up at the first that fails."""
    user = pwd.getpwuid(os.getuid()).pw_name
    shell = ("bash", "-euo", "pipefail", "-c", "\n".join(lines))
    return there.run(folder, *shell, commands=len(lines), USER=user, **env)


def test_the_install_step_takes_the_lock_by_its_hashes_and_nothing_beside_it(there: Plain, tmp_path: Path) -> None:
    assert INSTALL[2:] == ["pip install --require-hashes -r requirements/runtime.lock", "pip install --no-deps ."]
    pinned = re.findall(r"^([\w.-]+)==([\w.]+)", (HOUSE / "requirements/runtime.lock").read_text(), re.MULTILINE)
    code = "from importlib.metadata import distributions as d\nfor x in d(): print(x.name.lower().replace('_', '-'))"
    installed = set(there.run(tmp_path, "python", "-c", code).stdout.split())
    assert installed <= {name.lower() for name, _ in pinned} | {"rollback-bot"}
    assert "pytest" not in installed and "rollback-bot" in installed


def test_each_step_of_the_readme_works_as_it_stands(there: Plain, tmp_path: Path) -> None:
    port = str(free_port())
    own = {"ROLLBACK_PORT": port, "ROLLBACK_URL": f"http://127.0.0.1:{port}"}
    *before, serve = SERVE
    found = typed(there, tmp_path, before, **own)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "No mistakes." in found.stdout
    with there.serving(tmp_path, *serve.split(), **own):
        found = typed(there, tmp_path, USE, **own)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "FAULT  target shop/api: " in found.stdout  # nobody serves the shop here: said, with the next thing to do
    assert "2.4.1 → 2.4.0" in found.stdout and "start" in found.stdout
    assert (tmp_path / "rollback.db").exists() and (tmp_path / "rollback.yaml").exists()
