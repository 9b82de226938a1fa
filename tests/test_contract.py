"""Every handler there is, held to the rules of the contract; and the rules held to handlers that break them.

What only running shows (a preview writes nothing, a replay is harmless, an undo restores) is `assert_lifecycle`'s;
here it is made sure that each handler has a test which calls it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, Field

import actions
import checks
from bot.adapters.http import HttpClient, HttpEndpoint
from bot.contract import Action, Handler, Output, Params
from bot.handlers.registry import Registry
from bot.handlers.rules import called, of_class, of_source
from bot.testing import Broken, assert_contract, ports
from tests.fixtures.lone_shop import Shop

HOUSE = Path(__file__).parent.parent
REGISTRY = Registry.discover(actions, checks, entry_points=False)
IDLE = {"schema.keep"}
"""Actions that never do anything: what they are for is that people say yes to what they say."""
HANDLERS: list[Handler[Any]] = [*REGISTRY.actions.values(), *REGISTRY.checks.values()]


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
def test_a_handler_keeps_the_rules(handler: Handler[Any]) -> None:
    assert_contract(type(handler))


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda h: h.name)
def test_a_handler_has_a_test_of_its_own_that_runs_it_through_the_contract(handler: Handler[Any]) -> None:
    kind = "actions" if isinstance(handler, Action) else "checks"
    name = handler.name.replace(".", "_")
    assert Path(inspect.getfile(type(handler))) == HOUSE / kind / f"{name}.py"
    path = HOUSE / "tests" / kind / f"test_{name}.py"
    assert path.exists(), f"{handler.name} has no test; write {path.relative_to(HOUSE)}"
    acting = "assert_idle" if handler.name in IDLE else "assert_lifecycle"
    wanted = acting if kind == "actions" else "run_check"
    assert wanted in set(called(ast.parse(path.read_text()))), f"{path.relative_to(HOUSE)} must call {wanted}"


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
        http = HttpClient({"shop": HttpEndpoint(shop.url)})
        await names["test_lifecycle"](shop, lambda record: ports(http=http.bind(record)))
        await http.close()


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
        "LooseParams.target names a target; its type is bot.contract.HttpTarget",
        "LooseParams must stay frozen, with extra fields forbidden",
        "LooseParams.target has no description",
        "Inner.key has no description",
    ]


def test_assert_contract_says_every_rule_that_does_not_hold() -> None:
    with pytest.raises(Broken, match=r"(?s)loose: 'loose' is not <noun>\.<verb>.*in needs and does not use it"):
        assert_contract(Loose)
