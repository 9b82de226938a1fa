"""What the demo counts as done of a rollback, from its record."""

from __future__ import annotations

import json
from importlib import resources

import actions
import checks
from bot.handlers.registry import Registry
from bot.plan.compile import compile_plan
from bot.playground.demo import duties

STEPS = [step for _, steps in duties.DUTIES.values() for step in steps]
CREATED = {
    "plan": {"steps": [{"id": s, "phase": "preflight" if s in ("access", "artifacts") else "act"} for s in STEPS]}
}


def record(*events: tuple[str, dict[str, object]]) -> str:
    return "".join(json.dumps({"kind": kind, "body": body}) + "\n" for kind, body in [("created", CREATED), *events])


def checked(step: str, status: str) -> tuple[str, dict[str, object]]:
    return "checked", {"step": step, "verdict": {"status": status}}


def unneeded(step: str) -> tuple[str, dict[str, object]]:
    return "not needed", {"step": step, "why": "order"}


def test_each_duty_is_a_step_of_the_standard_plan() -> None:
    text = resources.files("bot").joinpath("plans", "standard.yaml").read_text(encoding="utf-8")
    plan = compile_plan(text, source="standard", registry=Registry.discover(actions, checks), service=None, roles=None)
    known = {s.id for s in plan.steps} | {c.id for c in plan.choices}
    assert {*STEPS} - known == set()


def test_a_run_that_only_began_misses_every_duty() -> None:
    assert set(duties.read(record()).missed) == set(duties.DUTIES)


def test_what_is_not_needed_has_no_target_here() -> None:
    found = duties.read(record(unneeded("publish"), unneeded("publish-first")))
    assert found.absent == ("F2",)


def test_a_build_that_is_published_before_the_backend_counts_as_the_one_after_it() -> None:
    assert "F2" in duties.read(record(unneeded("publish"))).missed
    assert "F2" in duties.read(record(unneeded("publish"), ("applied", {"step": "publish-first"}))).done


def test_a_check_at_the_end_counts_by_its_last_look_alone() -> None:
    found = duties.read(record(checked("partners", "pass"), checked("partners", "fail"), checked("caching", "warn")))
    assert "V7" in found.missed and "V6" in found.done


def test_a_check_before_the_start_counts_when_it_has_looked() -> None:
    assert "P1" in duties.read(record(checked("access", "fail"), checked("artifacts", "unknown"))).done


def test_a_duty_of_several_steps_names_those_that_are_missing() -> None:
    done: list[tuple[str, dict[str, object]]] = [("applied", {"step": s}) for s in ("announce", "git", "ban")]
    assert duties.read(record(*done)).missed["B1"] == ("freeze",)
