"""Edits as lines: few, and none left out."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from bot.contract import Edit, Value
from bot.telling.diff import diff, show


def lines(*edits: Edit) -> list[str]:
    return [str(line) for line in diff(edits)]


def test_the_same_edit_in_two_clusters_is_one_line() -> None:
    both = [Edit(f"{c}/deployment/shop-worker/replicas", 1, 0) for c in ("eu-1", "us-1")]
    assert lines(*both) == ["{eu-1,us-1}/deployment/shop-worker/replicas: 1 → 0"]


def test_workloads_of_one_image_share_a_line_over_all_clusters() -> None:
    names = product(("eu-1", "us-1"), ("shop-api", "shop-api-canary"))
    edits = [Edit(f"{c}/deployment/{n}/image/app", "a@sha256:" + "1" * 64, "a@sha256:" + "2" * 64) for c, n in names]
    told = "{eu-1,us-1}/deployment/{shop-api,shop-api-canary}/image/app"
    assert lines(*edits) == [f"{told}: a@sha256:{'1' * 12}… → a@sha256:{'2' * 12}…"]


def test_what_differs_in_a_value_or_in_two_parts_stays_apart() -> None:
    assert lines(Edit("a/x", 1, 0), Edit("b/x", 2, 0), Edit("c/y", 1, 0)) == ["a/x: 1 → 0", "b/x: 2 → 0", "c/y: 1 → 0"]
    assert lines(Edit("a/x", True, 0), Edit("b/x", 1, 0)) == ["a/x: true → 0", "b/x: 1 → 0"]


def test_values_are_told_as_people_say_them() -> None:
    assert show(None) == "absent" and show(True) == "true"
    assert show(["eu-1", "us-1"]) == "eu-1, us-1" and show([]) == "none"
    assert show({"paused": True, "was": None}) == '{"paused":true,"was":null}'
    guard: Value = {"service": "shop", "digests": [], "message": "shop is frozen while run shop-1 rolls it back"}
    assert lines(Edit("eu-1/guard/freeze/rules", None, guard)) == [
        'eu-1/guard/freeze/rules: absent → "shop is frozen while run shop-1 rolls it back"'
    ]


parts = st.sampled_from(["eu", "us", "api", "worker", "image"])
targets = st.lists(st.lists(parts, min_size=1, max_size=4).map("/".join), unique=True, max_size=12)


@given(targets, st.data())
def test_a_line_names_exactly_the_targets_that_it_stands_for(found: list[str], data: st.DataObject) -> None:
    values = st.sampled_from([0, 1, None])
    edits = [Edit(t, data.draw(values), data.draw(values)) for t in found]
    told = sorted((t, show(line.before), show(line.after)) for line in diff(edits) for t in expanded(line.target))
    assert told == sorted((e.target, show(e.before), show(e.after)) for e in edits)
    assert sum(line.count for line in diff(edits)) == len(edits)


def expanded(target: str) -> list[str]:
    """What a shell makes of the braces."""
    choices = [part.strip("{}").split(",") for part in re.split("/", target)]
    return ["/".join(one) for one in product(*choices)]
