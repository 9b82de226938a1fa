"""Whatever is wrong with a plan is said at once, with its place and a guess, and nothing else is ever raised."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.catalogue import Service
from bot.located import Faults
from bot.plan.compile import compile_plan
from bot.plan.model import Plan
from tests.plan.example_handlers import REGISTRY

SHOP = Service("shop", "Shop", limits={"pods": 3, "mode": "fast"})
ROLES = ("commander", "approver", "dba")
CASES = Path(__file__).with_name("bad_plans.txt").read_text().split("\n=== ")[1:]


def compiled(text: str | bytes) -> Plan:
    return compile_plan(text, source="p.yaml", registry=REGISTRY, service=SHOP, roles=ROLES)


def faults(text: str | bytes) -> str:
    with pytest.raises(Faults) as caught:
        compiled(text)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.split("\n")[0].replace(" ", "-"))
def test_every_mistake_is_said_at_once_with_its_place(case: str) -> None:
    text, _, expected = case.partition("\n")[2].rpartition("\n---\n")
    assert faults(text + "\n") == "\n".join(f"p.yaml:{line}" for line in expected.strip().splitlines())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "1:1: the file is empty"),
        (b"name: p\n# caf\xe9\n", "2:6: not UTF-8: byte 0xe9"),
        ("name: p\x00\n", "1:8: a character that does not belong into a text file: U+0000"),
        ("name: \ud800\n", "1:7: a character that does not belong into a text file: U+D800"),
        (
            "name: p\n" + "#" * 10_000_000,
            "1:1: 10,000,008 bytes is too large; the limit is 262,144 (256 KiB)",
        ),
        (
            "a: &a [" + "x," * 200 + "]\nb: &b [" + "*a," * 200 + "]\nc: [" + "*b," * 200 + "]\n",
            "2:305: more than 20,000 values, every alias counted in full",
        ),
        (
            "name: p\ntracks:\n  t:\n" + "".join(f"  - {{id: s{i}, uses: health.serving}}\n" for i in range(501)),
            "504:5: tracks.t[500]: more than 500 steps; split the plan",
        ),
    ],
    ids=["empty", "not-utf-8", "control", "surrogate", "ten-megabytes", "a-billion-laughs", "too-many-steps"],
)
def test_what_cannot_be_read_is_refused(text: str | bytes, line: str) -> None:
    assert faults(text) == f"p.yaml:{line}"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "{a: " * 60_000,
        "- " * 100_000,
        "? " * 100_000,
        "[" + "*a," * 80_000,
        "k: 1\n" * 50_000,
        "x" * (50 << 20),
    ],
    ids=["lists", "mappings", "items", "keys", "aliases", "twice", "fifty-megabytes"],
)
def test_a_hostile_file_is_refused_fast(text: str) -> None:
    began = time.process_time()
    faults(text)
    assert time.process_time() - began < 2


def test_faults_are_values_in_the_order_of_the_file() -> None:
    with pytest.raises(Faults) as caught:
        compiled("tracks: {t: [{id: a, uses: health.servin}]}\nnmae: p\n")
    first, second, third = caught.value.faults
    assert (first.line, first.column, first.path) == (1, 1, "")
    assert (second.source, second.path, second.guess) == ("p.yaml", "tracks.t[0].uses", "health.serving")
    assert (third.line, third.path, third.guess) == (2, "nmae", "name")


WORDS = [
    "name", "tracks", "id", "uses", "with", "gate", "by", "group", "undo", "repeat", "for", "choose", "options",
    "steps", "advise", "after", "when", "unless", "baseline", "phase", "title", "definitions", "timeout", "$ref",
    "health.serving", "release.deploy", "schema.advise", "workers.pause", "release", "a", "b", "a.b", "dba", "5m",
    "preflight", "verify", "${target.version}", "${steps.a.order}", "${service.limits.pods} == 3", "${", "é", "",
]  # fmt: skip
SCALARS = st.sampled_from(WORDS) | st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=5)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=40,
)


def written(tree: object) -> str:
    """Flow YAML, quoted only where it has to be, so that scalars are read in every way."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{written(k)}: {written(v)}" for k, v in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(written, tree)) + "]"
    text = str(tree)
    return text if re.fullmatch(r"[\w.-]+", text) else "'" + text.replace("'", "''") + "'"


def step(kind: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, object]]:
    ids = st.fixed_dictionaries({"id": st.sampled_from("abc")})
    rest = st.dictionaries(st.sampled_from(WORDS), TREES, max_size=3)
    return st.tuples(ids, kind, rest).map(lambda parts: {**parts[2], **parts[0], **parts[1]})


STEPS = step(
    st.fixed_dictionaries({"uses": st.sampled_from(REGISTRY.names)})
    | st.fixed_dictionaries({"undo": st.sampled_from("abc")})
    | st.fixed_dictionaries({"choose": st.fixed_dictionaries({"options": TREES})})
    | st.fixed_dictionaries({"gate": st.fixed_dictionaries({"by": TREES})})
    | st.just({})
)
TRACKS = st.dictionaries(st.sampled_from("tuv"), st.lists(STEPS | st.lists(STEPS, max_size=3), max_size=4))


@settings(max_examples=150, deadline=2000)
@given(st.text() | st.binary() | st.text("{}[]&*!|>%@`'\"#,:?-~ \t\nabn01.$", max_size=80) | TREES.map(written))
@example("&a [*a]")
@example("a: [1e999, 0x, -, +., 1_0, .5, 5., 99999999999999999999]")
def test_any_text_raises_faults_and_nothing_else(text: str | bytes) -> None:
    with pytest.raises(Faults):
        compiled(text)


@settings(max_examples=150, deadline=2000)
@given(TRACKS)
def test_almost_a_plan_compiles_or_raises_faults(tracks: dict[str, object]) -> None:
    try:
        plan = compiled(written({"name": "p", "tracks": tracks}))
    except Faults as wrong:
        assert all(f.line >= 1 and f.column >= 1 and f.message for f in wrong.faults)
    else:
        seen: set[str] = set()
        for s in plan.steps:
            assert set(s.after) <= seen
            seen.add(s.id)
