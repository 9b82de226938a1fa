"""Handlers are found by file and by entry point, and a broken one is never left out in silence."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import actions
import checks
from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.handlers.registry import Registry, RegistryError

HEAD = """\
from bot.contract import Action, Check, Params, Verdict, Status

class Nothing(Params):
    pass
"""
CHECK = """
class {cls}(Check[Nothing]):
    name = "{name}"
    Params = Nothing

    async def run(self, ctx, p):
        return Verdict(Status.PASS, "", "")
"""

Package = Callable[..., ModuleType]


class Nothing(Params):
    """No parameters."""


class Serving(Check[Nothing]):
    name, Params = "health.serving", Nothing

    async def run(self, ctx: ReadCtx, p: Nothing) -> Verdict:
        return Verdict(Status.PASS, "200", "200")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Makes a package of handlers out of file name -> text."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def make(name: str = "handlers_here", **files: str) -> ModuleType:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        for stem, text in files.items():
            (folder / f"{stem}.py").write_text(text)
        return importlib.import_module(name)

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


def check(name: str, cls: str = "Found") -> str:
    return HEAD + CHECK.format(name=name, cls=cls)


def wrong(*packages: ModuleType, entry_points: bool = False) -> str:
    with pytest.raises(RegistryError) as caught:
        Registry.discover(*packages, entry_points=entry_points)
    return str(caught.value)


def test_what_ships_with_the_bot_is_found() -> None:
    registry = Registry.discover(actions, checks, entry_points=False)
    files = {p.stem for m in (actions, checks) for p in Path(m.__path__[0]).glob("[a-z]*.py")}
    assert {n.replace(".", "_") for n in registry.names} == files


def test_a_registry_is_by_name_and_cannot_be_changed() -> None:
    serving = Serving()
    registry = Registry.of(serving)
    assert registry.get("health.serving") is serving
    assert registry.get("health.servin") is None
    assert (dict(registry.checks), dict(registry.actions), registry.names) == (
        {"health.serving": serving}, {}, ("health.serving",),
    )  # fmt: skip
    changeable: Any = registry.checks
    with pytest.raises(TypeError):
        changeable["x.y"] = serving


def test_modules_are_handlers_and_underscored_ones_are_private(package: Package) -> None:
    found = package(health_serving=check("health.serving"), _shared="VALUE = 1\n")
    assert Registry.discover(found, entry_points=False).names == ("health.serving",)


def test_an_imported_or_private_class_is_not_the_modules_handler(package: Package) -> None:
    text = check("a.b", "_Base") + "\nclass B(_Base):\n    pass\n\nfrom bot.contract import Check as Imported\n"
    assert Registry.discover(package(a_b=text), entry_points=False).names == ("a.b",)


def test_everything_that_is_wrong_is_said_at_once_with_its_file(package: Package, tmp_path: Path) -> None:
    here = tmp_path / "handlers_here"
    lacking = HEAD + '\nclass Half(Action[Nothing]):\n    name = "half.done"\n    Params = Nothing\n'
    found = package(
        broken_import="import sys\nimport no_such_module\n",
        broken_syntax="x = 1\nclass :\n",
        calls_exit="raise SystemExit(3)\n",
        half_done=lacking,
        nothing_here="VALUE = 1\n",
        two_here=check("two.here") + CHECK.format(name="two.more", cls="More"),
        wrong_name=check("right.name"),
    )
    assert wrong(found).splitlines() == [
        f"{here}/broken_import.py:2: cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
        f"{here}/broken_syntax.py:2: cannot be imported: SyntaxError: invalid syntax (broken_syntax.py, line 2)",
        f"{here}/calls_exit.py:1: cannot be imported: SystemExit: 3",
        f"{here}/half_done.py: Half does not define apply, observe, plan",
        f"{here}/nothing_here.py: holds no handlers; a module holds exactly one",
        f"{here}/two_here.py: holds 2 handlers (Found, More); a module holds exactly one",
        f"{here}/wrong_name.py: its handler is named 'right.name'; call the file right_name.py",
    ]


def test_two_handlers_of_one_name_are_an_error_naming_both_files(package: Package, tmp_path: Path) -> None:
    first = package("first_here", health_serving=check("health.serving"))
    second = package("second_here", health_serving=check("health.serving"))
    assert wrong(first, second) == (
        "two handlers are named 'health.serving': "
        f"{tmp_path}/first_here/health_serving.py and {tmp_path}/second_here/health_serving.py; rename one"
    )


def test_a_handler_that_breaks_the_contract_is_refused() -> None:
    class Loose(Check[Any]):
        name = "Health"
        needs = "http"  # type: ignore[assignment]
        Params = dict
        Output = Output

        async def run(self, ctx: ReadCtx, p: Any) -> Verdict:
            return Verdict(Status.PASS, "", "")

    with pytest.raises(RegistryError) as caught:
        Registry.of(Loose())
    assert [line.partition("Loose: ")[2] for line in str(caught.value).splitlines()] == [
        "name is 'Health'; it must be <noun>.<verb> in lower case",
        "Params must be a class derived from bot.contract.Params",
        "needs must be a set of port names",
    ]


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("queue.drain = acme_rollback:Drain", None),
        ("queue.empty = acme_rollback:Drain", "its handler is named 'queue.drain'; name the entry point like it"),
        ("queue.drain = acme_rollback:VALUE", "is no Action or Check class"),
        ("queue.drain = acme_rollback:Drian", "cannot be imported: AttributeError"),
        ("queue.drain = acme_rolback:Drain", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_installed_packages_offer_handlers(package: Package, tmp_path: Path, point: str, expected: str | None) -> None:
    info = tmp_path / "acme_rollback-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rollback\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[rollback_bot.handlers]\n{point}\n")
    (tmp_path / "acme_rollback.py").write_text(check("queue.drain", "Drain") + "\nVALUE = 1\n")
    importlib.invalidate_caches()
    if expected is None:
        assert "queue.drain" in Registry.discover().names
        assert "queue.drain" not in Registry.discover(entry_points=False).names
    else:
        assert f"{expected}" in wrong(entry_points=True)
        assert "of acme-rollback (acme_rol" in wrong(entry_points=True)
