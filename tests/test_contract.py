"""Every handler there is, held to the rules of the contract; and the rules held to handlers that break them.

What only running shows (a preview writes nothing, a replay is harmless, an undo restores) is `assert_lifecycle`'s;
here it is made sure that each handler has a test which calls it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, Field

import actions
import checks
from bot.adapters.http import HttpClient, HttpTarget
from bot.contract import Action, Handler, Output, Params
from bot.narrow import PORT_NAMES
from bot.playground.single import Shop
from bot.registry import Registry
from bot.testing import ports

HOUSE = Path(__file__).parent.parent
REGISTRY = Registry.discover(actions, checks, entry_points=False)
HANDLERS: list[Handler[Any]] = [*REGISTRY.actions.values(), *REGISTRY.checks.values()]

RELEASED = HOUSE / "bot" / "released"
OURS = {"bot.contract", "bot.ports", "bot.released"}
REACHING = {
    "builtins", "concurrent", "ctypes", "ftplib", "http", "imaplib", "importlib", "io", "multiprocessing", "os",
    "pathlib", "poplib", "random", "secrets", "select", "shutil", "signal", "smtplib", "socket", "socketserver",
    "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid", "xmlrpc",
}  # fmt: skip
"""Standard library that reaches past the ports, or gives another answer every time."""
CALLS = {
    "open": "the world is reached through ports only",
    "exec": "no code is made at run time",
    "eval": "no code is made at run time",
    "print": "ctx.report shows progress",
    "input": "people are asked by gates",
    "sleep": "raise NotYet, which costs nothing while it waits",
    "now": "the time is ctx.now",
    "utcnow": "the time is ctx.now",
    "today": "the time is ctx.now",
    "time": "the time is ctx.now",
}


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
def test_a_handler_keeps_the_rules(handler: Handler[Any]) -> None:
    source = Path(inspect.getfile(type(handler)))
    assert [*of_class(type(handler)), *of_source(source.read_text(), handler.needs)] == []


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
def test_a_handler_has_a_test_of_its_own_that_runs_it_through_the_contract(handler: Handler[Any]) -> None:
    kind = "actions" if isinstance(handler, Action) else "checks"
    name = handler.name.replace(".", "_")
    assert Path(inspect.getfile(type(handler))) == HOUSE / kind / f"{name}.py"
    path = HOUSE / "tests" / kind / f"test_{name}.py"
    assert path.exists(), f"{handler.name} has no test; write {path.relative_to(HOUSE)}"
    wanted = "assert_lifecycle" if kind == "actions" else "run_check"
    assert wanted in set(_called(ast.parse(path.read_text()))), f"{path.relative_to(HOUSE)} must call {wanted}"


def test_both_kinds_of_handlers_are_found() -> None:
    assert {"release.switch", "service.quiesce"} <= REGISTRY.actions.keys()
    assert {"health.serving"} <= REGISTRY.checks.keys()


async def test_the_example_in_the_documentation_keeps_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (HOUSE / "docs" / "handlers.md").read_text()
    handler, test = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = ModuleType("actions.notice_show")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(handler, vars(module))
    assert [*of_class(module.NoticeShow), *of_source(handler, module.NoticeShow.needs)] == []

    names: dict[str, Any] = {}
    exec(test, names)
    async with Shop("2.4.1") as shop:
        http = HttpClient({"shop": HttpTarget(shop.url)})
        await names["test_lifecycle"](shop, lambda record: ports(http=http.bind(record)))
        await http.close()


# -- the rules -------------------------------------------------------------------------------------------------------


def of_class(cls: type[Handler[Any]]) -> Iterator[str]:
    """What the class itself gets wrong."""
    if not (sys.modules[cls.__module__].__doc__ or "").strip():
        yield "the module says nothing about itself"
    if not (vars(cls).get("__doc__") or "").strip():
        yield f"{cls.__name__} says nothing about itself"
    if not re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", cls.name):
        yield f"{cls.name!r} is not <noun>.<verb>"
    if unknown := sorted(cls.needs - PORT_NAMES):
        yield f"needs names what is no port: {', '.join(unknown)}"
    for flag in ("temporary", "destructive") if issubclass(cls, Action) else ():
        if not isinstance(getattr(cls, flag), bool):
            yield f"{flag} must be True or False"
    for model in (cls.Params, *([cls.Output] if cls.Output else [])):
        yield from _of_model(model)


def _of_model(model: type[BaseModel]) -> Iterator[str]:
    config = model.model_config
    if not config.get("frozen") or config.get("extra") != "forbid":
        yield f"{model.__name__} must stay frozen, with extra fields forbidden"
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        for name, field in part.get("properties", {}).items():
            if not field.get("description", "").strip():
                yield f"{part.get('title', model.__name__)}.{name} has no description"


def of_source(source: str, needs: frozenset[str]) -> Iterator[str]:
    """What the text of a handler's module gets wrong."""
    tree = ast.parse(source)
    for module in _imported(tree):
        first = module.partition(".")[0]
        reaching = {module, first} & REACHING
        ours = module in OURS or module.startswith(("bot.ports.", "bot.released."))
        if reaching or not (ours or first == "pydantic" or first in sys.stdlib_module_names):
            yield f"imports {module}; only bot.contract, bot.ports, pydantic and what reaches nowhere is allowed"
    yield from (f"calls {name}(); {CALLS[name]}" for name in sorted(set(_called(tree)) & CALLS.keys()))
    used = _used(tree)
    if any(module.startswith("bot.released") for module in _imported(tree)):  # what handlers of releases share
        used |= {port for path in RELEASED.glob("*.py") for port in _used(ast.parse(path.read_text()))}
    wholes = sum(_is_ports(n) for n in ast.walk(tree))
    if wholes != sum(isinstance(n, ast.Attribute) and _is_ports(n.value) for n in ast.walk(tree)):
        yield "hands ctx.ports about; spell it ctx.ports.<name>, so that needs can be checked"
    if used - needs:
        yield f"uses {', '.join(sorted(used - needs))}, which needs does not declare"
    if needs - used:
        yield f"declares {', '.join(sorted(needs - used))} in needs and does not use it"


def _used(tree: ast.AST) -> set[str]:
    return {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _is_ports(n.value)}


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or "."
            yield from (f"bot.{a.name}" for a in node.names) if module == "bot" else [module]


def _called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def _is_ports(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "ports"


# -- the rules find what they are for --------------------------------------------------------------------------------

HEAD = "from bot.contract import Action\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import httpx", "imports httpx"),
        ("import socket", "imports socket"),
        ("import urllib.request", "imports urllib.request"),
        ("from os import path", "imports os"),
        ("from bot import engine", "imports bot.engine"),
        ("import bot.adapters.http", "imports bot.adapters.http"),
        ("from actions.release_switch import ReleaseSwitch", "imports actions.release_switch"),
        ("async def f():\n    await asyncio.sleep(1)", "calls sleep(); raise NotYet"),
        ("t = datetime.now(UTC)", "calls now(); the time is ctx.now"),
        ("x = open('f')", "calls open(); the world is reached through ports only"),
        ("async def f(ctx):\n    await ctx.ports.blobs.get(1)", "uses blobs, which needs does not declare"),
        ("def f(ctx):\n    return g(ctx.ports)", "hands ctx.ports about"),
        ("x = 1", "declares http in needs and does not use it"),
    ],
)
def test_a_module_that_breaks_a_rule_is_found(text: str, words: str) -> None:
    assert any(words in fault for fault in of_source(HEAD + text, frozenset({"http"})))


def test_a_plain_module_breaks_none() -> None:
    text = "import asyncio\nimport re\nfrom urllib.parse import quote\nfrom pydantic import Field\n"
    text += "async def f(ctx):\n    return await ctx.ports.http.get('shop', '/')"
    assert list(of_source(HEAD + text, frozenset({"http"}))) == []


class LooseParams(Params, frozen=False, extra="ignore"):
    target: str


class Inner(BaseModel):
    key: str


class NestedOutput(Output):
    inner: Inner = Field(description="What lies within.")


class Loose(Action[LooseParams]):
    name = "loose"
    needs = frozenset({"htpp"})
    Params = LooseParams
    Output = NestedOutput
    temporary = None  # type: ignore[assignment]  # the fault that is to be found


def test_a_class_that_breaks_rules_is_found() -> None:
    assert list(of_class(Loose)) == [
        "Loose says nothing about itself",
        "'loose' is not <noun>.<verb>",
        "needs names what is no port: htpp",
        "temporary must be True or False",
        "LooseParams must stay frozen, with extra fields forbidden",
        "LooseParams.target has no description",
        "Inner.key has no description",
    ]
