"""The plans that pages of docs/ show compile, and lint finds nothing in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import actions
import checks
from bot.catalogue import load_catalogue
from bot.handlers.narrow import PORT_NAMES
from bot.handlers.registry import Registry
from bot.plan.compile import compile_file
from bot.plan.lint import lint

PAGE = (Path(__file__).parent.parent.parent / "docs" / "plans.md").read_text(encoding="utf-8")
SHOWN = "\n".join([PAGE, (Path(__file__).parent.parent.parent / "docs" / "evidence.md").read_text(encoding="utf-8")])
PLANS = [text for text in re.findall(r"```yaml\n(.*?)```", SHOWN, re.DOTALL) if text.startswith("name:")]
CATALOGUE = load_catalogue(
    """
services: {shop: {targets: {api: {http: "http://shop.example"}}}}
roles: {commander: {people: [ana]}, approver: {people: [ben, cho]}}
""",
    "rollback.yaml",
)


@pytest.mark.parametrize("text", PLANS, ids=lambda text: text.split()[1])
def test_a_plan_of_the_page_is_good(text: str) -> None:
    found = compile_file(
        text, source="docs", registry=Registry.discover(actions, checks), service=CATALOGUE.services["shop"],
        roles=CATALOGUE.roles, services=CATALOGUE.services,
    )  # fmt: skip
    assert lint(found, ports=PORT_NAMES, people=None) == []


def test_the_page_shows_a_choice() -> None:
    assert any("choose:" in text for text in PLANS)
