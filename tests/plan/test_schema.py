"""The schemas for editors are made from what reads the files."""

from __future__ import annotations

from typing import Any

import pytest

from bot.located.shapes import Shape
from bot.plan.schema import catalogue_schema, plan_schema
from tests.plan.example_handlers import REGISTRY


def schema() -> Any:
    return plan_schema(REGISTRY)


def test_every_handler_is_offered_wherever_one_is_used() -> None:
    defs = schema()["$defs"]
    for model in ("UsesStep", "UsesMember", "OneStep"):
        assert defs[model]["properties"]["uses"]["enum"] == list(REGISTRY.names)
        assert len(defs[model]["allOf"]) == len(REGISTRY.names)


def test_with_has_the_parameters_of_the_handler_or_references() -> None:
    defs = schema()["$defs"]
    by_name = {rule["if"]["properties"]["uses"]["const"]: rule["then"] for rule in defs["UsesStep"]["allOf"]}
    assert by_name["release.deploy"]["required"] == ["with"]
    assert "required" not in by_name["health.serving"]
    assert (by_name["release.deploy"]["properties"]["within"], "within" in by_name["health.serving"]["properties"]) == (
        False, False,
    )  # fmt: skip
    params = defs["with release.deploy"]
    replicas = params["properties"]["replicas"]
    assert replicas["description"] == "how many"
    assert replicas["anyOf"][0]["anyOf"][0] == {"minimum": 1, "type": "integer"}
    assert replicas["anyOf"][1]["pattern"] == r"^\$\{[^{}]+\}$"
    place = params["properties"]["places"]["anyOf"][0]["items"]["anyOf"][0]
    assert place == {"$ref": "#/$defs/with release.deploy Where"}
    assert "anyOf" in defs["with release.deploy Where"]["properties"]["region"]


@pytest.mark.parametrize("made", [plan_schema(REGISTRY), catalogue_schema()], ids=["plan", "catalogue"])
def test_every_definition_that_is_referred_to_exists_and_no_unknown_name_passes(made: Any) -> None:
    ours = {name: d for name, d in made["$defs"].items() if not name.startswith("with ")}
    for node in nodes({**made, "$defs": ours}):
        if "patternProperties" in node or ("properties" in node and "type" in node):
            assert node["additionalProperties"] is False, node
    for node in nodes(made):
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/$defs/") in made["$defs"]


def test_the_catalogue_has_its_targets_by_kind() -> None:
    made = catalogue_schema()
    assert Shape.of(made).keys == {"services", "roles", "people"}
    target = made["$defs"]["HttpTarget"]
    fields = {"http", "timeout", "token", "headers", "health", "errors", "cluster", "entry"}
    assert (target["required"], set(target["properties"])) == (["http"], fields)


def nodes(value: Any) -> Any:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)
