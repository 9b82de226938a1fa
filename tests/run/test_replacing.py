"""A changed copy is what `dataclasses.replace` makes of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bot.run.replacing import replace
from bot.run.state import Halt, Run, Step
from tests.run.played import Play, act, plan


@pytest.fixture
def run() -> Run:
    return Play(plan(act("one"), act("two"))).run


def test_a_copy_is_the_same_but_for_what_was_changed(run: Run) -> None:
    step = run.steps["one"]
    assert replace(step, note="now", n=7) == dataclasses.replace(step, note="now", n=7)
    assert replace(run, seq=99) == dataclasses.replace(run, seq=99)
    assert run.seq != 99 and step.note == ""


def test_what_was_computed_is_forgotten(run: Run) -> None:
    assert not run.halted and "halted" in vars(run)
    halt = Halt("undone", "why", 0.0, "next")
    halted: dict[str, Step] = {i: replace(s, halt=halt) for i, s in run.steps.items()}
    assert len(replace(run, steps=halted).halted) == 2


def test_a_field_that_there_is_not_is_refused(run: Run) -> None:
    unknown: dict[str, Any] = {"stpes": {}}
    with pytest.raises(TypeError, match="has no field stpes"):
        replace(run, **unknown)
    halt = Halt("undone", "why", 0.0, "next")
    with pytest.raises(TypeError):
        replace(halt, **unknown)
    assert replace(halt, error="now").error == "now"
