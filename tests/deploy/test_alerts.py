"""deploy/prometheus and deploy/grafana: what they ask for is what `/metrics` has, in PromQL that Prometheus takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "rollback-bot.json").read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    return [p for p in DASHBOARD["panels"] if p["type"] != "row"]


def promtool(folder: Path, *words: str) -> None:
    if (tool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run([tool, *words], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    promtool(DEPLOY / "prometheus", "check", "rules", "rules.yaml")


def test_each_alert_comes_of_what_it_is_about_and_not_before() -> None:
    promtool(DEPLOY / "prometheus", "test", "rules", "rules_test.yaml")


def test_prometheus_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [t["expr"] for p in panels() for t in p["targets"]]
    known = {"$__rate_interval": "5m", "$__range": "6h", "$service": ".*"}
    for name, value in known.items():
        asked = [expr.replace(name, value) for expr in asked]
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool(tmp_path, "check", "rules", "rules.yaml")


def test_no_two_panels_of_the_dashboard_lie_on_one_another_and_each_shows_something() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    assert len({p["id"] for p in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(p["targets"] and all(re.search("rollback_", t["expr"]) for t in p["targets"]) for p in panels())
