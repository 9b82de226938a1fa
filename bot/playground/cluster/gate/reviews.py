"""Access reviews: the API's answer to "may I?", out of the same rules that refuse."""

from __future__ import annotations

from bot.playground.cluster import failures
from bot.playground.cluster.gate.access import Access, Attempt, User
from bot.playground.cluster.objects import Json, dig
from bot.playground.cluster.resources import Resource


def review(access: Access, user: User, resource: Resource, body: Json) -> Json:
    """The review with its status. ApiError 422 where it asks nothing."""
    answer = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}} | body
    match resource.kind:
        case "SelfSubjectAccessReview":
            answer["status"] = _may(access, user, resource, body)
        case "SubjectAccessReview":
            spec = body.get("spec") or {}
            groups = tuple(spec.get("groups") or ())
            answer["status"] = _may(access, User(spec.get("user") or "", groups), resource, body)
        case "SelfSubjectRulesReview":
            answer["status"] = _rules(access, user, dig(body, "spec", "namespace") or "")
        case _:
            answer["status"] = {"userInfo": {"username": user.name, "groups": list(user.groups)}}
    return answer


def _may(access: Access, user: User, resource: Resource, body: Json) -> Json:
    spec = body.get("spec") or {}
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (asked is None) == (path is None):
        why = failures.invalid(
            "spec.resourceAttributes",
            "",
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )
        raise failures.unprocessable(resource, "", [why])
    if path is not None:
        attempt = Attempt(path.get("verb", ""), path=path.get("path", ""))
    else:
        asked = asked or {}
        attempt = Attempt(
            asked.get("verb", ""),
            asked.get("group", ""),
            asked.get("resource", ""),
            asked.get("subresource", ""),
            asked.get("namespace", ""),
            asked.get("name", ""),
        )
    why_allowed = access.allowed(user, attempt)
    return {"allowed": why_allowed is not None} | ({"reason": why_allowed} if why_allowed else {})


def _rules(access: Access, user: User, namespace: str) -> Json:
    rules = access.rules(user, namespace)
    return {
        "resourceRules": [r for r in rules if "nonResourceURLs" not in r],
        "nonResourceRules": [r for r in rules if "nonResourceURLs" in r],
        "incomplete": False,
    }
