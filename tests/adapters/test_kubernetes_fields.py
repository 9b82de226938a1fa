"""Fields, patches and selectors by themselves: a patch makes of an object what was asked for, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.kubernetes.admission_policy import selector
from bot.adapters.kubernetes.fields import patch, pointer, read
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.patches import json_patch
from bot.ports import Json
from bot.ports.kubernetes import Kind, Place

API = Place("eu", "deployment", "api")
VARIABLES = ("A", "B", "C", "D")
NAMES = ["replicas", "paused", "image/app", "image/side", "annotation/x.io/y", "annotation/z", "label/l",
         *(f"env/{c}/{v}" for c in ("app", "side") for v in VARIABLES)]  # fmt: skip
SOURCES: tuple[Json, ...] = (
    {"secret": "s", "key": "k"},
    {"configmap": "m", "key": "k", "optional": True},
    {"field": "f"},
)


def value(name: str) -> st.SearchStrategy[Json]:
    if name == "replicas":
        return st.integers(0, 9)
    if name == "paused":
        return st.sampled_from([True, None])
    if name.startswith("image/"):
        return st.text("ab", min_size=1, max_size=3)
    word: st.SearchStrategy[Json] = st.none() | st.text("a/~", max_size=3)
    return word | st.sampled_from(SOURCES) if name.startswith("env/") else word


FIELDS = st.fixed_dictionaries({}, optional={name: value(name) for name in NAMES})


def body(env: list[str] | None, **metadata: Any) -> dict[str, Any]:
    app: dict[str, Any] = {"name": "app", "image": "i"}
    if env is not None:
        app["env"] = [{"name": name, "value": "was"} for name in env]
    template = {"spec": {"containers": [{"name": "side", "image": "s"}, app]}}
    return {"metadata": {"name": "api", **metadata}, "spec": {"replicas": 3, "template": template}}


@given(st.none() | st.lists(st.sampled_from(VARIABLES), unique=True), st.booleans(), FIELDS)
def test_a_patch_sets_what_was_asked_and_undoes_it(
    env: list[str] | None, annotated: bool, wanted: dict[str, Json]
) -> None:
    first = body(env, **({"annotations": {"z": "1"}} if annotated else {}))
    seen = read(API, first)
    after = read(API, json_patch(first, patch(seen, wanted)))
    told = {n: v for n, v in after.fields.items() if n in NAMES}
    assert {n: v for n, v in {**seen.fields, **wanted}.items() if v is not None and n in NAMES} == told
    back = {name: seen.fields.get(name) for name in wanted}
    again = read(API, json_patch(dict(after.body), patch(after, back)))
    assert dict(again.fields) == dict(seen.fields)


@given(st.lists(st.sampled_from(VARIABLES), unique=True), FIELDS, FIELDS)
def test_a_patch_over_something_else_is_refused_or_touches_other_fields(
    env: list[str], theirs: dict[str, Json], ours: dict[str, Json]
) -> None:
    first = body(env, annotations={"z": "1"}, labels={"l": "1"})
    seen = read(API, first)
    moved = json_patch(copy.deepcopy(first), patch(seen, theirs))
    try:
        made = json_patch(moved, patch(seen, ours))
    except ApiError:
        return
    lost = {n for n in ours if seen.fields.get(n) != read(API, moved).fields.get(n) and seen.fields.get(n) != ours[n]}
    assert not lost
    assert {n: read(API, made).fields.get(n) for n in ours if ours[n] != seen.fields.get(n)} == {
        n: v for n, v in ours.items() if v != seen.fields.get(n)
    }


CONTAINER = {
    "args": ["serve"],
    "resources": {"limits": {"memory": "512Mi"}},
    "envFrom": [{"configMapRef": {"name": "a-1"}}],
}


def rich(**container: Any) -> dict[str, Any]:
    found = body(["A", "B"])
    found["spec"]["template"]["metadata"] = {"labels": {"app": "api"}, "annotations": {"checksum/config": "1"}}
    found["spec"]["template"]["spec"]["containers"][1] |= container
    return found


def test_the_whole_pod_template_is_fields_and_what_is_empty_is_absent() -> None:
    found = read(API, rich(**CONTAINER, volumeMounts=[])).fields
    assert {n: v for n, v in found.items() if n.startswith("container/app/")} == {
        f"container/app/{key}": value for key, value in CONTAINER.items()
    }
    assert (found["order/app"], found["pod-label/app"], found["pod-annotation/checksum/config"]) == (
        ["A", "B"],
        "api",
        "1",
    )
    assert found["container/app"] == {"in": "containers", "image": "i", **CONTAINER, "env": [
        {"name": "A", "value": "was"}, {"name": "B", "value": "was"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("container/app/args", ["serve", "--pool=20"]),
        ("container/app/resources", None),
        ("container/app/livenessProbe", {"httpGet": {"path": "/livez", "port": 8080}}),
        ("container/side", None),
        ("container/new", {"in": "initContainers", "image": "n", "command": ["true"]}),
        ("order/app", ["B", "A"]),
        ("pod/volumes", [{"name": "tmp", "emptyDir": {}}]),
        ("pod-label/version", "1.0"),
        ("pod-annotation/checksum/config", "2"),
    ],
)
def test_each_part_of_a_pod_template_can_be_set_and_set_back(name: str, value: Any) -> None:
    first = rich(**CONTAINER)
    seen = read(API, first)
    after = read(API, json_patch(copy.deepcopy(first), patch(seen, {name: value})))
    assert after.fields.get(name) == value
    again = json_patch(copy.deepcopy(dict(after.body)), patch(after, {name: seen.fields.get(name)}))
    assert {n: v for n, v in read(API, again).fields.items()} == dict(seen.fields)


def test_variables_are_written_in_the_order_that_is_asked_for() -> None:
    """`$(VAR)` needs its variable earlier in the list."""
    first = body(["URL"])
    wanted: dict[str, Json] = {"env/app/HOST": "db", "env/app/URL": "$(HOST)", "order/app": ["HOST", "URL"]}
    after = read(API, json_patch(first, patch(read(API, first), wanted)))
    assert after.fields["order/app"] == ["HOST", "URL"]


def test_a_container_that_goes_takes_no_other_change_with_it() -> None:
    first = rich(**CONTAINER)
    after = read(
        API, json_patch(copy.deepcopy(first), patch(read(API, first), {"container/side": None, "image/app": "j"}))
    )
    assert (after.fields["image/app"], "image/side" in after.fields) == ("j", False)


def test_who_set_a_part_of_the_template_is_known() -> None:
    spec: dict[str, Any] = {"f:containers": {'k:{"name":"app"}': {"f:args": {}, "f:env": {}}}}
    entry = {"manager": "ci", "time": "2027-01-15T12:00:00Z", "fieldsV1": {"f:spec": {"f:template": {"f:spec": spec}}}}
    first = rich(**CONTAINER)
    first["metadata"]["managedFields"] = [entry]
    by = read(API, first).by
    assert [by[name].manager for name in ("container/app/args", "order/app")] == ["ci", "ci"]
    assert "image/app" not in by


def test_pointers_are_quoted() -> None:
    assert pointer(("metadata", "annotations", "a/b~c", 0)) == "/metadata/annotations/a~1b~0c/0"


def test_the_last_of_two_variables_of_one_name_counts_as_for_the_kubelet() -> None:
    twice = body(["A", "A"])
    twice["spec"]["template"]["spec"]["containers"][1]["env"][1]["value"] = "last"
    seen = read(API, twice)
    assert seen.fields["env/app/A"] == "last"
    assert read(API, json_patch(twice, patch(seen, {"env/app/A": "new"}))).fields["env/app/A"] == "new"


@pytest.mark.parametrize(
    ("kind", "spec", "status", "numbers"),
    [
        ("statefulset", {"replicas": 3}, {"replicas": 3, "updatedReplicas": 1, "readyReplicas": 3}, (3, 1, 3, 2, "")),
        ("statefulset", {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
         {"replicas": 3, "updatedReplicas": 1, "readyReplicas": 3}, (1, 1, 3, 0, "")),
        ("statefulset", {"replicas": 2, "updateStrategy": {"type": "OnDelete"}},
         {"replicas": 2, "updatedReplicas": 0, "readyReplicas": 2}, (2, 0, 2, 2, "OnDelete")),
        ("daemonset", {}, {"desiredNumberScheduled": 4, "updatedNumberScheduled": 3, "currentNumberScheduled": 4,
                           "numberAvailable": 3}, (4, 3, 3, 1, "")),
        ("deployment", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1, "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}]},
         (2, 2, 1, 0, "ProgressDeadlineExceeded")),
    ],
)  # fmt: skip
def test_how_far_a_rollout_is(kind: Kind, spec: Any, status: Any, numbers: Any) -> None:
    found = read(Place("eu", kind, "x"), {"metadata": {"name": "x"}, "spec": spec, "status": status}).rollout
    assert found is not None
    assert (found.wanted, found.updated, found.ready, found.old, found.failed.partition(":")[0]) == numbers


def test_what_the_controller_has_not_seen_counts_nothing() -> None:
    late = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    found = read(API, {"metadata": {"name": "x", "generation": 2}, "spec": {"replicas": 2}, "status": late}).rollout
    assert found is not None
    assert (found.seen, found.fresh, found.complete) == (False, 0, False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("app=shop", {"matchLabels": {"app": "shop"}}),
        ("example.com/part-of==shop, tier=web", {"matchLabels": {"example.com/part-of": "shop", "tier": "web"}}),
        ("a in (x, y),b notin (z)", {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]},
                                                          {"key": "b", "operator": "NotIn", "values": ["z"]}]}),
        ("a,!b,c!=d", {"matchExpressions": [{"key": "a", "operator": "Exists"},
                                            {"key": "b", "operator": "DoesNotExist"},
                                            {"key": "c", "operator": "NotIn", "values": ["d"]}]}),
    ],
)  # fmt: skip
def test_label_selectors_are_read_as_kubectl_reads_them(text: str, wanted: Any) -> None:
    assert selector(text) == wanted


@pytest.mark.parametrize("text", ["=x", "a in x", "a b", "a=b=c", "(a)", ",", "a,,b"])
def test_what_is_no_label_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no label selector"):
        selector(text)
