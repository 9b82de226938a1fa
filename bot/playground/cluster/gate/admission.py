"""ValidatingAdmissionPolicies: which of them a request must satisfy, and how it is refused.

The API server's own view of the policies lags behind what is stored, by another while each time: a policy bites 0.2
to 1.25 s after it was written, and goes on refusing for 0.6 to 1.7 s after it was deleted (measured on 1.36).

Invariants: an expression in error is a denial under failurePolicy Fail and nothing under Ignore; all policies are
asked, and whose denial is told is a matter of chance, drawn anew whenever that view moves; one object's changes are
seen in their order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.playground.cluster import resources
from bot.playground.cluster.failures import ApiError, Cause, forbidden, invalid, required
from bot.playground.cluster.gate import cel
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import Json, dig, labels_of, name_of
from bot.playground.cluster.resources import Resource
from bot.playground.cluster.selectors import selects
from bot.playground.cluster.store import Change

_CODES = {"Invalid": 422, "Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}


@dataclass(frozen=True)
class Asked:
    """A request before it is stored. old, new: None where there is none (on CREATE, on DELETE)."""

    user: User
    operation: str
    resource: Resource
    namespace: str
    name: str
    new: Json | None
    old: Json | None
    subresource: str = ""
    dry_run: bool = False

    def request(self) -> Json:
        """The variable `request`."""
        kind = {"group": self.resource.group, "version": self.resource.version, "kind": self.resource.kind}
        resource = {"group": self.resource.group, "version": self.resource.version, "resource": self.resource.plural}
        return {
            "kind": kind,
            "resource": resource,
            "subResource": self.subresource,
            "requestKind": kind,
            "requestResource": resource,
            "requestSubResource": self.subresource,
            "name": self.name,
            "namespace": self.namespace,
            "operation": self.operation,
            "userInfo": {"username": self.user.name, "groups": list(self.user.groups), "uid": "", "extra": {}},
            "dryRun": self.dry_run,
            "options": {},
        }


@dataclass(frozen=True)
class _Policy:
    """A policy with its expressions compiled."""

    name: str
    spec: Json
    conditions: list[tuple[str, cel.Expression]]
    variables: list[tuple[str, cel.Expression]]
    validations: list[tuple[Json, cel.Expression, cel.Expression | None]]

    @property
    def fails_closed(self) -> bool:
        return bool(self.spec.get("failurePolicy", "Fail") == "Fail")


def compile_policy(policy: Json) -> tuple[_Policy, list[Cause]]:
    """The policy ready to be asked, and what is wrong with its expressions."""
    spec, causes = policy["spec"], list[Cause]()
    names: set[str] = set()

    def ready(make: Callable[[str, frozenset[str]], cel.Expression], text: str, path: str) -> cel.Expression | None:
        try:
            return make(text, frozenset(names))
        except cel.CompileError as error:
            causes.append(invalid(path, text, str(error)))
            return None

    conditions = []
    for i, item in enumerate(spec.get("matchConditions") or ()):
        if made := ready(cel.condition, item.get("expression", ""), f"spec.matchConditions[{i}].expression"):
            conditions.append((item.get("name", ""), made))
    variables = []
    for i, item in enumerate(spec.get("variables") or ()):
        if made := ready(cel.anything, item.get("expression", ""), f"spec.variables[{i}].expression"):
            variables.append((item["name"], made))
            names.add(item["name"])
    validations = []
    for i, item in enumerate(spec.get("validations") or ()):
        at = f"spec.validations[{i}]"
        told = item.get("messageExpression")
        worded = ready(cel.message, told, f"{at}.messageExpression") if told else None
        if made := ready(cel.condition, item.get("expression", ""), f"{at}.expression"):
            validations.append((item, made, worded))
    return _Policy(name_of(policy), spec, conditions, variables, validations), causes


def check_policy(policy: Json) -> list[Cause]:
    """What the server refuses in a policy."""
    spec = policy.get("spec") or {}
    causes = [] if spec.get("validations") else [required("spec.validations", "must specify at least one validation")]
    rules = dig(spec, "matchConstraints", "resourceRules")
    if not rules:
        causes.append(required("spec.matchConstraints.resourceRules"))
    for i, rule in enumerate(rules or ()):
        for name in ("apiGroups", "apiVersions", "operations", "resources"):
            if not rule.get(name):
                causes.append(required(f"spec.matchConstraints.resourceRules[{i}].{name}"))
    for unknown in ("paramKind", "auditAnnotations"):
        if spec.get(unknown):
            causes.append(invalid(f"spec.{unknown}", unknown, "the playground has no such thing"))
    if spec.get("failurePolicy", "Fail") not in ("Fail", "Ignore"):
        causes.append(invalid("spec.failurePolicy", spec["failurePolicy"], 'supported values: "Fail", "Ignore"'))
    return causes or compile_policy(policy)[1]


def check_binding(binding: Json) -> list[Cause]:
    """What the server refuses in a binding."""
    spec = binding.get("spec") or {}
    causes = [] if spec.get("policyName") else [required("spec.policyName")]
    actions = spec.get("validationActions") or []
    if not actions:
        causes.append(required("spec.validationActions"))
    for action in actions:
        if action not in ("Deny", "Warn", "Audit"):
            causes.append(invalid("spec.validationActions", action, 'supported values: "Audit", "Deny", "Warn"'))
    if spec.get("paramRef"):
        causes.append(invalid("spec.paramRef", "paramRef", "the playground has no such thing"))
    return causes


@dataclass
class Admission:
    """The policies as the API server sees them. now: Unix seconds; delay: seconds, None to draw them from `chance`;
    on: whether the plugin is switched on at all."""

    now: Callable[[], float]
    namespace: Callable[[str], Json | None]
    delay: float | None = None
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - to be repeatable
    on: bool = True
    _policies: dict[str, _Policy] = field(default_factory=dict)
    _bindings: dict[str, Json] = field(default_factory=dict)
    _coming: list[tuple[float, Change]] = field(default_factory=list)

    def heard(self, change: Change) -> None:
        """Something was stored."""
        if change.store in (resources.POLICIES.store, resources.BINDINGS.store):
            about = change.store, name_of(change.new)
            before = max((at for at, c in self._coming if (c.store, name_of(c.new)) == about), default=0.0)
            self._coming.append((max(before, self.now() + self._lag(change)), change))

    def _lag(self, change: Change) -> float:
        if self.delay is not None:
            return self.delay
        if change.kind == "DELETED":
            return self.chance.triangular(0.6, 1.7, 0.8)
        return self.chance.triangular(0.2, 1.25, 1.1)

    def check(self, asked: Asked) -> list[str]:
        """Let it pass, with warnings, or refuse it. ApiError."""
        self._catch_up()
        if not self.on or asked.resource in (resources.POLICIES, resources.BINDINGS):
            return []  # policies cannot guard policies, or nobody could lift them
        warnings = []
        for name, binding in self._bindings.items():
            policy = self._policies.get(binding["spec"]["policyName"])
            if policy is None or not self._concerns(asked, policy, binding):
                continue
            for item, told in self._denials(asked, policy):
                actions = binding["spec"]["validationActions"]
                if "Deny" in actions:
                    raise _denied(asked, policy.name, name, item, told)
                if "Warn" in actions:
                    warnings.append(
                        f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding '{name}': {told}"
                    )
        return warnings

    def _catch_up(self) -> None:
        now = self.now()
        due = [change for at, change in self._coming if at <= now]
        self._coming = [(at, change) for at, change in self._coming if at > now]
        for change in due:
            name, gone = name_of(change.new), change.kind == "DELETED"
            if change.store == resources.BINDINGS.store:
                self._bindings.pop(name, None) if gone else self._bindings.update({name: change.new})
            elif gone:
                self._policies.pop(name, None)
            else:
                self._policies[name] = compile_policy(change.new)[0]
        if due:
            names = sorted(self._bindings)
            self.chance.shuffle(names)
            self._bindings = {name: self._bindings[name] for name in names}

    def _concerns(self, asked: Asked, policy: _Policy, binding: Json) -> bool:
        for match in (policy.spec.get("matchConstraints"), binding["spec"].get("matchResources")):
            if match is not None and not self._matches(asked, match):
                return False
        return True

    def _matches(self, asked: Asked, match: Json) -> bool:
        rules = match.get("resourceRules")
        if rules and not any(_rule_matches(asked, rule) for rule in rules):
            return False
        if any(_rule_matches(asked, rule) for rule in match.get("excludeResourceRules") or ()):
            return False
        where = match.get("namespaceSelector")
        if where and (asked.namespace or asked.resource is resources.NAMESPACES):
            space = self.namespace(asked.namespace) if asked.namespace else asked.new or asked.old
            if not selects(where, labels_of(space or {})):
                return False
        what = match.get("objectSelector")
        return not what or any(selects(what, labels_of(o)) for o in (asked.new, asked.old) if o is not None)

    def _denials(self, asked: Asked, policy: _Policy) -> Iterable[tuple[Json, str]]:
        data: dict[str, Any] = {
            "object": asked.new,
            "oldObject": asked.old,
            "request": asked.request(),
            "params": None,
            "namespaceObject": self.namespace(asked.namespace) if asked.namespace else None,
            "variables": {},
        }
        try:
            if not all(condition.value(data) for _, condition in policy.conditions):
                return
        except cel.EvaluationError as error:
            if policy.fails_closed:
                yield {}, str(error)
            return
        broken = _fill(data, policy)
        for item, expression, worded in policy.validations:
            try:
                if set(broken) & {name for name in broken if f"variables.{name}" in expression.text}:
                    raise cel.EvaluationError(next(iter(broken.values())))
                if not expression.value(data):
                    yield item, _told(item, expression, worded, data)
            except cel.EvaluationError as error:
                if policy.fails_closed:
                    yield {}, f"expression '{expression.text}' resulted in error: {error}"


def _fill(data: dict[str, Any], policy: _Policy) -> dict[str, str]:
    """Work the variables out, lazily as upstream: one in error hurts only whoever reads it."""
    broken = {}
    for name, expression in policy.variables:
        try:
            data["variables"] = data["variables"] | {name: expression.value(data)}
        except cel.EvaluationError as error:
            broken[name] = f'composited variable "{name}" fails to evaluate: {error}'
    return broken


def _told(item: Json, expression: cel.Expression, worded: cel.Expression | None, data: Mapping[str, Any]) -> str:
    if worded is not None:
        try:
            return str(worded.value(data))
        except cel.EvaluationError:
            pass
    return str(item.get("message") or f"failed expression: {expression.text}")


def _denied(asked: Asked, policy: str, binding: str, item: Json, told: str) -> ApiError:
    message = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {told}"
    error = forbidden(asked.resource, asked.name, message)
    reason = item.get("reason") or "Invalid"
    return ApiError(_CODES.get(reason, 422), reason, error.message, error.details | {"causes": [{"message": message}]})


def _rule_matches(asked: Asked, rule: Json) -> bool:
    wanted = f"{asked.resource.plural}/{asked.subresource}" if asked.subresource else asked.resource.plural
    names = rule.get("resourceNames")
    return (
        _has(rule.get("apiGroups"), asked.resource.group)
        and _has(rule.get("apiVersions"), asked.resource.version)
        and _has(rule.get("operations"), asked.operation)
        and any(_resource_matches(r, wanted) for r in rule.get("resources") or ())
        and (not names or asked.name in names)
    )


def _resource_matches(pattern: str, wanted: str) -> bool:
    if pattern == "*/*" or pattern == wanted:
        return True
    plural, _, sub = wanted.partition("/")
    return (pattern == "*" and not sub) or pattern == f"*/{sub}" or (pattern == f"{plural}/*")


def _has(values: Any, wanted: str) -> bool:
    return "*" in (values or ()) or wanted in (values or ())
