"""The drawing of docs/architecture.md against the code: which room stands on which floor, and that no way leads up."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
PAGE = HOUSE / "docs" / "architecture.md"
OURS = ("bot", "actions", "checks", "migrations")
ROOMS = re.compile(r"```\n((?: *\d+  .+\n)+)```")


def modules() -> dict[str, Path]:
    """Module -> its file, the playground left out: it imports nothing of ours."""
    found = {}
    for top in OURS:
        for file in sorted((HOUSE / top).rglob("*.py")):
            name = ".".join(file.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")
            if "playground" not in file.parts:
                found[name] = file
    return found


def room(module: str) -> str:
    """The package below `bot`, or the module there; a top-level package of ours is one room."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "bot" and rest else top


def ways() -> dict[str, set[str]]:
    """Room -> the rooms that it imports."""
    known = modules()
    found: dict[str, set[str]] = {room(m): set() for m in known if m != "bot"}
    for module, file in known.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{a.name}" for a in node.names]
                used = [n if n in known else node.module for n in names]
            elif isinstance(node, ast.Import):
                used = [a.name for a in node.names]
            else:
                continue
            here = {room(u) for u in used if u.partition(".")[0] in OURS} - {room(module), "bot", "playground"}
            if module != "bot":
                found[room(module)] |= here
    return found


def floors(imports: Mapping[str, set[str]]) -> dict[str, int]:
    """Room -> its floor: one above the highest that it imports. RecursionError where there is a circle."""
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            found[name] = 1 + max(map(floor, imports[name]), default=-1)
        return found[name]

    for name in imports:
        floor(name)
    return found


def drawn(found: Mapping[str, int]) -> str:
    """The drawing, as it is to stand in the page."""
    rows = []
    for n in sorted(set(found.values()), reverse=True):
        rows.append(f"{n:>2}  {'  '.join(sorted(r for r, at in found.items() if at == n))}\n")
    return "".join(rows)


def test_no_way_leads_back_up_or_round_in_a_circle() -> None:
    imports = ways()
    found = floors(imports)
    assert all(found[name] > found[below] for name, used in imports.items() for below in used)


def test_a_circle_would_be_seen() -> None:
    with pytest.raises(RecursionError):
        floors({"a": {"b"}, "b": {"a"}})


def test_the_drawing_is_as_the_code_is() -> None:
    shown = ROOMS.search(PAGE.read_text(encoding="utf-8"))
    assert shown is not None, "docs/architecture.md has no drawing"
    assert shown[1] == drawn(floors(ways())), "put this drawing into docs/architecture.md"


def test_every_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:bot|actions|checks|migrations|tests)/[\w./]*)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 40
    assert [n for n in named if not (HOUSE / n).exists()] == []


def test_every_room_says_what_it_is_for() -> None:
    for name in ways():
        module = importlib.import_module(name if name in OURS else f"bot.{name}")
        assert (module.__doc__ or "").strip(), f"{name} has no docstring"


def test_the_import_contract_names_every_room() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(c for c in contracts if c["name"] == "Everything depends downwards")
    assert layers["exhaustive"] is True and layers["containers"] == ["bot"]


# -- tests follow the rooms --------------------------------------------------------------------------------------------

OF_THE_WHOLE = {"test_architecture", "test_house", "test_names"}
BESIDE = {"acceptance", "actions", "checks", "deploy", "docs", "fixtures", "torture"}
"""Folders of tests/ that are no room of bot/: what a whole bot does, handlers, pages, manifests, servers for tests."""


def test_each_file_of_tests_stands_where_what_it_tests_does() -> None:
    rooms = {p.name for p in (HOUSE / "bot").iterdir() if p.is_dir()} | BESIDE
    flat = {f"test_{p.stem}" for p in (HOUSE / "bot").glob("*.py")} | OF_THE_WHOLE
    for file in (HOUSE / "tests").rglob("test_*.py"):
        first = file.relative_to(HOUSE / "tests").parts[0]
        known = first in rooms or any(file.stem == name or file.stem.startswith(f"{name}_") for name in flat)
        assert known, (
            f"{file}: tests of bot/<room>/ stand in tests/<room>/, those of bot/<file>.py in tests/test_<file>.py"
        )


def test_no_two_files_of_the_tests_are_called_the_same() -> None:
    files = [
        f.relative_to(HOUSE) for f in (HOUSE / "tests").rglob("*.py") if f.name not in ("conftest.py", "__init__.py")
    ]
    seen: dict[str, list[str]] = {}
    for file in files:
        seen.setdefault(file.name, []).append(str(file))
    assert {name: where for name, where in seen.items() if len(where) > 1} == {}
