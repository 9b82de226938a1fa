"""JSON Schemas of the files that people write, for editors: made from the models that read them.

Invariant: nothing here is written by hand about a handler; its `Params` say what `with` may hold. A reference is
allowed wherever a value is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.catalogue import CatalogueFile
from bot.contract import AnyAction, AnyCheck
from bot.handlers.registry import Registry
from bot.plan.compile import CHECK_ONLY
from bot.plan.file import PlanFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_REFERENCE: Schema = {"type": "string", "pattern": r"^\$\{[^{}]+\}$", "title": "Reference"}


def plan_schema(registry: Registry) -> Schema:
    """Schema of a plan file: every handler by name, with its own parameters."""
    schema = _closed(PlanFile.model_json_schema())
    defs: Schema = schema["$defs"]
    for name in registry.names:
        handler = registry.get(name)
        if handler is not None:
            defs |= _params(name, handler)
    for model in [d for d in defs.values() if "uses" in d.get("properties", {})]:
        model["properties"]["uses"] = {"enum": list(registry.names), "description": "An action or a check."}
        model["allOf"] = [_of(registry, name, defs) for name in registry.names]
    return {"$schema": DIALECT, **schema}


def catalogue_schema() -> Schema:
    """Schema of the catalogue file."""
    return {"$schema": DIALECT, **_closed(CatalogueFile.model_json_schema())}


def _of(registry: Registry, name: str, defs: Mapping[str, Schema]) -> Schema:
    """What follows for a step that uses this handler."""
    then: Schema = {"properties": {"with": {"$ref": f"#/$defs/with {name}"}}}
    if name in registry.actions:
        then["properties"] |= {key: False for key in CHECK_ONLY}
    if defs[f"with {name}"].get("required"):
        then["required"] = ["with"]
    return {"if": {"properties": {"uses": {"const": name}}, "required": ["uses"]}, "then": then}


def _params(name: str, handler: AnyAction | AnyCheck) -> Schema:
    """The handler's parameters and what they refer to, under names of their own."""
    schema = _renamed(handler.Params.model_json_schema(), name)
    inner = schema.pop("$defs", {})
    return {f"with {name}": _referable(schema)} | {f"with {name} {k}": _referable(v) for k, v in inner.items()}


def _renamed(node: Any, name: str) -> Any:
    if isinstance(node, dict):
        return {
            k: f"#/$defs/with {name} {v.rsplit('/', 1)[-1]}" if k == "$ref" else _renamed(v, name)
            for k, v in node.items()
        }
    return [_renamed(v, name) for v in node] if isinstance(node, list) else node


def _referable(schema: Schema) -> Schema:
    """The same schema with a reference allowed in place of every value inside."""
    out = dict(schema)
    for key in ("properties", "patternProperties"):
        if key in out:
            out[key] = {k: _or_reference(v) for k, v in out[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = _or_reference(out[key])
    if "prefixItems" in out:
        out["prefixItems"] = [_or_reference(v) for v in out["prefixItems"]]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in out:
            out[key] = [_referable(v) for v in out[key]]
    return out


def _or_reference(schema: Schema) -> Schema:
    about = {k: v for k, v in schema.items() if k in ("title", "description", "default")}
    return {**about, "anyOf": [_referable(schema), _REFERENCE]}


def _closed(node: Any) -> Any:
    """Names that fit no pattern are mistakes, which pydantic leaves open."""
    if isinstance(node, list):
        return [_closed(v) for v in node]
    if not isinstance(node, dict):
        return node
    closed = {k: _closed(v) for k, v in node.items()}
    return {**closed, "additionalProperties": False} if "patternProperties" in closed else closed
