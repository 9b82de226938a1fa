"""The smaller plans that come with the bot: each a part of the standard one, step for step."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

FRONTEND = {"build", "cdn-notice", "publish", "invalidate", "converged", "caching", "aligned"}


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
    assert standard.keys() - smaller.keys() == FRONTEND
    assert smaller == {name: step for name, step in standard.items() if name not in FRONTEND}


def test_frontend_only_asks_and_does_for_the_frontend_what_the_standard_plan_does() -> None:
    standard, smaller = steps("standard"), steps("frontend-only")
    assert smaller.keys() >= FRONTEND
    for name in FRONTEND:
        assert smaller[name]["uses"] == standard[name]["uses"] and smaller[name]["title"] == standard[name]["title"]
