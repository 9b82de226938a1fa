"""The smaller plans that come with the bot: each a part of the standard one, step for step."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from bot.catalogue import Service
from bot.catalogued.frontend import EdgeTarget

FRONTEND = {"build", "cdn-notice", "publish", "invalidate", "converged", "caching", "aligned"}
FIRST = {"calls", "publish-first", "invalidate-first", "converged-first"}
"""What brings the frontend back before the backend, where there are both."""


def steps(plan: str) -> dict[str, dict[str, Any]]:
    """Step -> what the file says of it, with its track."""
    text = resources.files("bot").joinpath("plans", f"{plan}.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    for track, items in yaml.safe_load(text)["tracks"].items():
        for item in items:
            for step in item if isinstance(item, list) else [item]:
                found[step["id"]] = {**step, "track": track}
    return found


def test_backend_only_is_the_standard_plan_without_the_frontends_steps() -> None:
    standard, smaller = steps("standard"), steps("backend-only")
    assert standard.keys() - smaller.keys() == FRONTEND | FIRST
    waited = {name: without(step) for name, step in standard.items() if name not in FRONTEND | FIRST}
    assert smaller == waited


def without(step: dict[str, Any]) -> dict[str, Any]:
    """The step, waiting for none of the frontend's."""
    after = [name for name in step.get("after", ()) if name not in FIRST]
    return {**step, **({"after": after} if after else {})}


def test_the_frontend_goes_first_or_last_by_one_order_and_is_the_same_work() -> None:
    standard = steps("standard")
    for name in ("publish", "invalidate"):
        first, last = standard[f"{name}-first"], standard[name]
        assert (first["uses"], first["with"]) == (last["uses"], last["with"])
        assert (first["when"], last["when"]) == tuple(
            f"${{steps.calls.order}} == {order}" for order in ("frontend-first", "backend-first")
        )


def test_frontend_only_asks_and_does_for_the_frontend_what_the_standard_plan_does() -> None:
    standard, smaller = steps("standard"), steps("frontend-only")
    assert smaller.keys() >= FRONTEND
    for name in FRONTEND:
        assert smaller[name]["uses"] == standard[name]["uses"] and smaller[name]["title"] == standard[name]["title"]


def test_caches_before_a_site_that_is_not_catalogued_are_told_to_forget_too() -> None:
    edge = Service("shop", "Shop", targets={"cdn": EdgeTarget("https://www.shop.example")})
    assert steps("standard")["calls"]["when"] == "${service.has.frontend} == true"
    assert "frontend" in edge.kinds and "site" not in edge.kinds
