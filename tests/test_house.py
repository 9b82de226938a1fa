"""The house itself: what its fixtures promise, and how it is packed."""

from __future__ import annotations

import ast
import importlib
import re
import socket
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from sqlalchemy import text

from bot.store.database import open_database

HOUSE = Path(__file__).parent.parent
LOCKS = sorted((HOUSE / "requirements").glob("*.lock"))


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.org", "0.0.0.0"])
def test_connecting_outside_loopback_is_refused(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        for connect in (sock.connect, sock.connect_ex):
            with pytest.raises(RuntimeError, match="only loopback"):
                connect((host, 80))


def test_connecting_to_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
        sock.connect(server.getsockname())


@pytest.mark.parametrize("turn", [1, 2])
async def test_every_test_has_an_empty_database(database_url: str, turn: int) -> None:
    database = open_database(database_url)
    await database.write(lambda c: c.execute(text("CREATE TABLE mine (n integer)")))
    assert await database.read(lambda c: c.execute(text("SELECT count(*) FROM mine")).scalar_one()) == 0
    await database.close()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_hashes_and_names_no_place(lock: Path) -> None:
    content = lock.read_text()
    assert "://" not in content
    assert not re.search(r"index-url|find-links|file:|(^|\s)/", content)
    assert content.count("==") > 1
    for requirement in re.split(r"\n(?=\w)", content)[1:]:
        assert "--hash=sha256:" in requirement, requirement


def test_the_runtime_is_part_of_the_development_environment() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (HOUSE / "requirements" / name).read_text(), re.MULTILINE))

    assert pins("runtime.lock") <= pins("dev.lock")


def test_the_packages_lie_in_one_folder() -> None:
    packages = [importlib.import_module(name) for name in ("bot", "actions", "checks", "migrations")]
    assert {Path(str(package.__file__)).parent.parent for package in packages} == {HOUSE}


def _imported(file: Path) -> Iterator[str]:
    """The packages that a module imports, wherever in it but for types alone."""
    left: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while left:
        node = left.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            left += ast.iter_child_nodes(node)


def _lacking(folders: list[str], wanted: list[str]) -> dict[str, set[str]]:
    """Package -> who imports it, of those that stand among none of these requirements."""
    named = {_normal(re.split(r"[\[>=<; ]", w)[0]) for w in wanted}
    ours = {"bot", "actions", "checks", "migrations"} | sys.stdlib_module_names
    homes = metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    for file in (f for folder in folders for f in (HOUSE / folder).rglob("*.py")):
        if "playground" in folders[0] or "playground" not in file.parts:
            for package in set(_imported(file)) - ours:
                if not {_normal(d) for d in homes.get(package, [])} & named:
                    found.setdefault(package, set()).add(str(file.relative_to(HOUSE)))
    return found


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_whatever_is_imported_at_run_time_is_a_dependency() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    needed, extras = project["dependencies"], project["optional-dependencies"]
    own = [*extras["plots"], "opentelemetry-sdk"]  # which the exporter of `traces` brings
    assert extras["traces"] == ["opentelemetry-exporter-otlp-proto-http"]
    assert _lacking(["bot", "actions", "checks", "migrations"], needed + own) == {}
    works_without = {"PIL": {"bot/adapters/plots.py"}, "opentelemetry": {"bot/node/traces.py"}}
    assert _lacking(["bot"], needed) == works_without, "what works without its extra"
    assert _lacking(["bot/playground"], needed + project["optional-dependencies"]["playground"]) == {}
    without = [d for d in needed if not d.startswith("aiohttp")]
    assert "bot/wiring.py" in _lacking(["bot"], without)["aiohttp"]


def test_each_case_from_the_field_is_read_by_a_test() -> None:
    cases = {f.stem for f in (HOUSE / "tests/cases").rglob("*") if f.is_file()}
    tests = "\n".join(f.read_text(encoding="utf-8") for f in (HOUSE / "tests").rglob("*.py"))
    assert len(cases) > 30 and {c for c in cases if not re.search(rf"\b{c}\b", tests)} == set()
