"""A guard: an admission policy of ours and its binding, out of rules in plain JSON, and back.

Rules:
    service   str             whose workloads
    selector  str             label selector of the workloads it is about; left out: all of the namespace
    digests   [sha256:...]    images that may come in all the same, beside what a workload ran before; with them it is a
                              freeze
    banned    [sha256:...]    images that may not come in; instead of `digests`, then it is a ban
    groups, users [str]       whom it never refuses (the break-glass group)
    message   str             what the refused are told, one line

Pure. Invariants:
- refused are only a new workload and a changed pod template: scaling, suspending, labels and a controller's own writes
  pass, so an incident can still be handled;
- a freeze does not bind the bot, except with objects that carry the probe's label: it tries its own freeze without
  having to impersonate anybody. A ban binds the bot as well;
- the rules are kept with the policy, word for word; whether it still says what they say is compared, not believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from bot.adapters.kubernetes.connection import Body
from bot.contract import canonical
from bot.ports import Json
from bot.ports.kubernetes import Kind

RULES = "rollback-bot/rules"
"""Annotation of the policy with the rules in canonical JSON."""
PROBE = "rollback-bot/probe"
"""Label of what is only sent to see whether a guard refuses it, always as a dry run."""
OURS = {"app.kubernetes.io/managed-by": "rollback-bot"}
NEVER = f"rollback-bot.invalid/probe@sha256:{'0' * 64}"
"""An image that no freeze lets in."""

_TERM = re.compile(
    r"\s*(?:(!)\s*([^\s,!=()]+)|([^\s,!=()]+)\s*(?:(==|=|!=)\s*([^\s,()=!]*)|\s(in|notin)\s*\(([^)]*)\))?)\s*(?:,|$)"
)
_OPERATORS = {"in": "In", "notin": "NotIn"}


def policy(name: str, rules: Json, bot: str) -> dict[str, Any]:
    """The ValidatingAdmissionPolicy. bot: our own user name. ValueError for rules that are none."""
    given = _checked(rules)
    banned = given.get("banned")
    conditions = [_excluding("break-glass", "groups", given), _excluding("people", "users", given)]
    if banned is None:
        probe = f"has(object.metadata.labels) && {_text(PROBE)} in object.metadata.labels"
        conditions.append({"name": "bot", "expression": f"request.userInfo.username != {_text(bot)} || ({probe})"})
        let_in = f"{_listed(given.get('digests'))}.exists(d, i.endsWith('@' + d))"
        passes = f"(variables.images.exists(i, {let_in}) && variables.images.all(i, {let_in} || i in variables.had))"
    else:
        passes = f"!variables.images.exists(i, {_listed(banned)}.exists(d, i.contains(d)))"
    about: dict[str, Any] = {"resourceRules": [_rule("apps", "deployments", "statefulsets", "daemonsets"),
                                               _rule("batch", "cronjobs")]}  # fmt: skip
    if given.get("selector"):
        about["objectSelector"] = selector(str(given["selector"]))
    verdict = {
        "expression": f"(oldObject != null && variables.template == variables.was) || {passes}",
        "message": " ".join(str(given.get("message") or f"{given['service']} is guarded by {name}").split()),
        "reason": "Forbidden",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": OURS, "annotations": {RULES: canonical(rules)}},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": about,
            "matchConditions": [c for c in conditions if c],
            "variables": [
                {"name": "template", "expression": _template("object")},
                {"name": "was", "expression": f"oldObject == null ? null : ({_template('oldObject')})"},
                {"name": "images", "expression": _images("variables.template")},
                {"name": "had", "expression": f"oldObject == null ? [] : ({_images('variables.was')})"},
            ],
            "validations": [verdict],
        },
    }


def binding(name: str, namespace: str) -> dict[str, Any]:
    """The binding that puts the policy of this name into force in the namespace."""
    there = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": OURS},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": there},
        },
    }


def rules_of(found: Body) -> Json:
    """The rules that a policy was made from; None where it is none of ours."""
    meta = found["metadata"]
    text = (meta.get("annotations") or {}).get(RULES)
    if text is None or not is_ours(found):
        return None
    try:
        return cast(Json, json.loads(text))
    except ValueError:
        return None


def is_ours(found: Body) -> bool:
    """Whether the bot put it there."""
    labels = found["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in OURS.items())


def altered(found: Body, made: Body) -> list[str]:
    """Paths at which an object no longer says what we wrote; what the API server adds by itself is not looked at, and
    what it leaves out because it is empty is as good as there."""
    return list(_differing("spec", made["spec"], found.get("spec")))


def _differing(path: str, made: Any, found: Any) -> Iterator[str]:
    if made in (None, [], {}, "") and found in (None, [], {}, ""):
        return
    if isinstance(made, dict) and isinstance(found, dict):
        for key, value in made.items():
            yield from _differing(f"{path}.{key}", value, found.get(key))
    elif isinstance(made, list) and isinstance(found, list) and len(made) == len(found):
        for i, (one, other) in enumerate(zip(made, found, strict=True)):
            yield from _differing(f"{path}[{i}]", one, other)
    elif made != found:
        yield path


def probe(rules: Json) -> tuple[str, str]:
    """(label selector of the workloads that show whether a guard bites, an image that it refuses)"""
    given = _checked(rules)
    banned = given.get("banned")
    image = NEVER if banned is None else f"rollback-bot.invalid/probe@{banned[0]}"
    return str(given.get("selector") or ""), image


def trial(kind: Kind, body: Body, image: str) -> list[dict[str, Any]]:
    """A JSON patch, for a dry run, that gives a workload's first container the image. What no freeze lets in is marked
    as a probe; a ban is tried unmarked, as the bot, so that a freeze beside it does not answer in its place."""
    spec = "/spec/jobTemplate/spec/template/spec" if kind == "cronjob" else "/spec/template/spec"
    labels = {**(body["metadata"].get("labels") or {}), PROBE: "true"}
    marked = [{"op": "add", "path": "/metadata/labels", "value": labels}] if image == NEVER else []
    return [
        *marked,
        {"op": "replace", "path": f"{spec}/containers/0/image", "value": image},
    ]


def selector(text: str) -> dict[str, Any]:
    """A label selector as people write it (`app=shop,tier in (a, b),!canary`), as the API has it. ValueError."""
    equal: dict[str, str] = {}
    terms: list[dict[str, Any]] = []
    rest = text
    while rest.strip():
        match = _TERM.match(rest)
        if match is None or match.end() == 0:
            raise ValueError(f"{text!r} is no label selector")
        rest = rest[match.end() :]
        absent, missing, key, sign, value, word, values = match.groups()
        if absent:
            terms.append({"key": missing, "operator": "DoesNotExist"})
        elif word:
            terms.append({"key": key, "operator": _OPERATORS[word], "values": [v.strip() for v in values.split(",")]})
        elif sign == "!=":
            terms.append({"key": key, "operator": "NotIn", "values": [value]})
        elif sign:
            equal[key] = value
        else:
            terms.append({"key": key, "operator": "Exists"})
    return {**({"matchLabels": equal} if equal else {}), **({"matchExpressions": terms} if terms else {})}


def _checked(rules: Json) -> dict[str, Any]:
    known = {"service", "selector", "digests", "banned", "groups", "users", "message"}
    if not isinstance(rules, dict) or "service" not in rules or not rules.keys() <= known:
        raise ValueError(f"rules of a guard hold a service and of {', '.join(sorted(known))}; not {canonical(rules)}")
    if "banned" in rules and (not rules["banned"] or "digests" in rules):
        raise ValueError("a guard bans digests, or admits them; `banned` is not empty and stands alone")
    return dict(rules)


def _rule(group: str, *resources: str) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": list(resources),
    }


def _excluding(name: str, whom: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    listed = given.get(whom)
    if not listed:
        return None
    if whom == "users":
        return {"name": name, "expression": f"!(request.userInfo.username in {_listed(listed)})"}
    mine = "has(request.userInfo.groups) && request.userInfo.groups"
    return {"name": name, "expression": f"!({mine}.exists(g, g in {_listed(listed)}))"}


def _template(of: str) -> str:
    return f"has({of}.spec.jobTemplate) ? {of}.spec.jobTemplate.spec.template : {of}.spec.template"


def _images(template: str) -> str:
    spec = f"{template}.spec"
    containers = f"({spec}.containers + (has({spec}.initContainers) ? {spec}.initContainers : []))"
    return f"{containers}.map(c, has(c.image) ? c.image : '')"


def _listed(values: Any) -> str:
    return "[" + ", ".join(_text(str(value)) for value in values or ()) + "]"


def _text(value: str) -> str:
    """A string as CEL writes it; JSON's is one of its forms."""
    return json.dumps(value)
