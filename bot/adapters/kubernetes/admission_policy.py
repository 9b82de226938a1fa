"""A guard: an admission policy of ours and its binding, out of its rules (`bot.ports.guards`), and back.

Pure. Invariants:
- refused are only a new workload and a changed pod template: scaling, suspending, labels and a controller's own writes
  pass, so an incident can still be handled;
- a freeze does not bind the bot, except with objects that carry the probe's label: it tries its own freeze without
  having to impersonate anybody. A ban binds the bot as well;
- a ban is also about what is made by hand: Pods, Jobs and ReplicaSets that no controller has made. A controller's own
  always pass, or a cluster that still runs the release could replace no pod;
- the rules are kept with the policy, word for word, and so is what was made of them, as a later version of the bot may
  make something else of the same rules: whether it still says that is compared, not believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from bot.adapters.kubernetes.connection import Body
from bot.contract import canonical
from bot.ports import Json
from bot.ports.guards import GuardRules
from bot.ports.kubernetes import Kind

RULES = "rollback-bot/rules"
"""Annotation of the policy with the rules in canonical JSON."""
MADE = "rollback-bot/made"
"""Annotation with the spec in canonical JSON, as it was put there."""
PROBE = "rollback-bot/probe"
"""Label of what is only sent to see whether a guard refuses it, always as a dry run."""
OURS = {"app.kubernetes.io/managed-by": "rollback-bot"}
NEVER = f"sha256:{'0' * 64}"
"""A digest that no freeze lets in, and no image has."""

_TERM = re.compile(
    r"\s*(?:(!)\s*([^\s,!=()]+)|([^\s,!=()]+)\s*(?:(==|=|!=)\s*([^\s,()=!]*)|\s(in|notin)\s*\(([^)]*)\))?)\s*(?:,|$)"
)
_OPERATORS = {"in": "In", "notin": "NotIn"}


def policy(name: str, rules: Json, bot: str) -> dict[str, Any]:
    """The ValidatingAdmissionPolicy. bot: our own user name. ValueError for rules that are none."""
    given = GuardRules.of(rules)
    conditions = [*_excluding(given)]
    about: dict[str, Any] = {"resourceRules": [_rule("apps", "deployments", "statefulsets", "daemonsets"),
                                               _rule("batch", "cronjobs"), _ROLLOUTS]}  # fmt: skip
    if not given.banned:
        probe = f"has(object.metadata.labels) && {_text(PROBE)} in object.metadata.labels"
        conditions.append({"name": "bot", "expression": f"request.userInfo.username != {_text(bot)} || ({probe})"})
        let_in = f"{_listed(given.admitted)}.exists(d, i.endsWith('@' + d))"
        passes = f"(variables.images.exists(i, {let_in}) && variables.images.all(i, {let_in} || i in variables.had))"
    else:
        about["resourceRules"] += [_rule("apps", "replicasets"), _rule("batch", "jobs"), _rule("", "pods")]
        conditions.append({"name": "by-hand", "expression": f"{_LASTING} || !({_OWNED}) || ({_MANUAL})"})
        # looked up in the list once an image, so that many digests stay below the cost that a server allows
        passes = f"!variables.images.exists(i, i.substring(i.lastIndexOf('@') + 1) in {_listed(given.banned)})"
    if given.selector:
        about["objectSelector"] = selector(given.selector)
    verdict = {
        "expression": f"(oldObject != null && {_UNCHANGED}) || {passes}",
        "message": " ".join((given.message or f"{given.service} is guarded by {name}").split()),
        "reason": "Forbidden",
    }
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": about,
        "matchConditions": conditions,
        "variables": [
            {"name": "template", "expression": _template("object")},
            {"name": "was", "expression": f"oldObject == null ? null : ({_template('oldObject')})"},
            {"name": "images", "expression": _images("variables.template")},
            {"name": "had", "expression": f"oldObject == null ? [] : ({_images('variables.was')})"},
        ],
        "validations": [verdict],
    }
    kept = {RULES: canonical(rules), MADE: canonical(spec)}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": OURS, "annotations": kept},
        "spec": spec,
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


def made_of(found: Body) -> Body | None:
    """The policy as it was put there; None where that was not kept (older versions of the bot did not)."""
    text = (found["metadata"].get("annotations") or {}).get(MADE)
    try:
        return {"spec": json.loads(text)} if text is not None else None
    except ValueError:
        return None


def same(found: Body, made: Body) -> bool:
    """Whether what is there is what would be put there."""
    kept = (found["metadata"].get("annotations") or {}).get(RULES)
    return not altered(found, made) and kept == (made["metadata"].get("annotations") or {}).get(RULES)


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


def about(rules: Json) -> str:
    """The label selector of the workloads that it can be tried on."""
    return GuardRules.of(rules).selector


def trials(kind: Kind, body: Body, rules: Json) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(digest that comes in with it, JSON patch) of a workload, for dry runs, that the guard refuses; first what shows
    it best.

    A workload keeps its own repository, so that policies about where images come from do not answer. A freeze is tried
    with a digest that cannot be, then with a note in the template alone, for those who verify that images exist; both
    are marked as a probe. A ban is tried unmarked, as the bot, so that a freeze beside it does not answer.
    """
    given = GuardRules.of(rules)
    template = "/spec/jobTemplate/spec/template" if kind == "cronjob" else "/spec/template"
    pod: Any = body
    for step in template.split("/")[1:]:
        pod = pod.get(step) or {}
    images = [str(c.get("image") or "") for c in (pod.get("spec") or {}).get("containers") or ()]
    if not images:
        return
    at = f"{template}/spec/containers"
    meta = pod.get("metadata") or {}
    noted = {**meta, "annotations": {**(meta.get("annotations") or {}), PROBE: "true"}}
    note = {"op": "add", "path": f"{template}/metadata", "value": noted}
    if given.banned:
        for banned in given.banned:
            for i, image in enumerate(images):
                named = {"op": "replace", "path": f"{at}/{i}/image", "value": f"{_repository(image)}@{banned}"}
                yield banned, [named, note]  # a note too: it may run this image already
        return
    labels = {**(body["metadata"].get("labels") or {}), PROBE: "true"}
    marked = {"op": "add", "path": "/metadata/labels", "value": labels}
    yield NEVER, [marked, {"op": "replace", "path": f"{at}/0/image", "value": f"{_repository(images[0])}@{NEVER}"}]
    if not any(image.endswith(f"@{d}") for image in images for d in given.admitted):
        yield "", [marked, note]


def _repository(image: str) -> str:
    """`registry:5000/shop/api` of an image by tag, digest or both."""
    named = image.partition("@")[0]
    head, slash, last = named.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


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


_ROLLOUTS = {
    "apiGroups": ["argoproj.io"],
    "apiVersions": ["v1alpha1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["rollouts"],
}
_LASTING = "!(request.kind.kind in ['Pod', 'Job', 'ReplicaSet'])"
_REFERENCES = "object.metadata.ownerReferences"
_OWNED = f"has({_REFERENCES}) && {_REFERENCES}.exists(r, has(r.controller) && r.controller)"
_MANUAL = "has(object.metadata.annotations) && 'cronjob.kubernetes.io/instantiate' in object.metadata.annotations"
_UNCHANGED = (
    "(has(object.spec.template) || has(object.spec.jobTemplate)"
    " ? variables.template == variables.was : variables.images == variables.had)"
)
"""What has no template, a Pod, changes by itself; its images do not."""


def _rule(group: str, *resources: str) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": list(resources),
    }


def _excluding(given: GuardRules) -> Iterator[dict[str, Any]]:
    """Whom it never refuses."""
    if given.groups:
        mine = "has(request.userInfo.groups) && request.userInfo.groups"
        yield {"name": "break-glass", "expression": f"!({mine}.exists(g, g in {_listed(given.groups)}))"}
    if given.users:
        yield {"name": "people", "expression": f"!(request.userInfo.username in {_listed(given.users)})"}


def _template(of: str) -> str:
    """What runs: a workload's pod template, a Pod itself; of a Rollout that only refers to one there are no images."""
    cron = f"has({of}.spec.jobTemplate) ? {of}.spec.jobTemplate.spec.template : "
    return f"{cron}(has({of}.spec.template) ? {of}.spec.template : {of})"


def _images(template: str) -> str:
    spec = f"{template}.spec"
    parts = [f"(has({spec}.{kind}) ? {spec}.{kind} : [])" for kind in ("containers", "initContainers")]
    return f"({' + '.join(parts)}).map(c, has(c.image) ? c.image : '')"


def _listed(values: Any) -> str:
    return "[" + ", ".join(_text(str(value)) for value in values or ()) + "]"


def _text(value: str) -> str:
    """A string as CEL writes it; JSON's is one of its forms."""
    return json.dumps(value)
