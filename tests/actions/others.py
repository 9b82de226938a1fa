"""Other people's policies of tests/cases, as webhooks of the playground's cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bot.playground.cluster import Webhook, mirrored, verified

CASES = Path(__file__).parents[1] / "cases/kubernetes"


def case(name: str) -> list[Any]:
    """The documents of a case."""
    return [*yaml.safe_load_all((CASES / f"{name}.yaml").read_text())]


def mirror() -> Webhook:
    """br11: every image goes through the pull-through cache."""
    (policy,) = case("br11-replace-registry")
    (each,) = policy["spec"]["rules"][0]["mutate"]["foreach"]
    (container,) = each["patchStrategicMerge"]["spec"]["template"]["spec"]["containers"]
    (wanted,) = each["preconditions"]["all"]
    return mirrored(wanted["value"].rstrip("*"), container["image"].partition("{{")[0])


def signatures(known: Callable[[str], bool]) -> Webhook:
    """br12: an image whose signature cannot be found is refused. known: whether an image is signed."""
    (policy,) = case("br12-verify-images")
    (rule,) = policy["spec"]["rules"]
    assert rule["verifyImages"][0]["imageReferences"] == ["*"]
    return verified(known, policy["metadata"]["name"])


def closed_shop(name: str = "no-changes-on-fridays") -> tuple[Any, Any]:
    """A policy of somebody else's, and its binding, that refuses every change of a template, everybody's."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    passes = "object.spec.template == oldObject.spec.template"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": passes, "message": "no changes on Fridays"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return policy, binding
