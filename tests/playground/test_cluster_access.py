"""Who may do what: RBAC as it is enforced, reviewed and refused, and admission policies with their expressions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio.client.exceptions import ApiException

from bot.playground.cluster import ApiError, Cluster
from bot.playground.workspace.clock import Clock
from tests.fixtures.cluster import client, config_map, connected, deployment, namespace
from tests.playground.test_cluster_facts import freeze

RBAC = "rbac.authorization.k8s.io"


@pytest.fixture
async def shop() -> AsyncIterator[Cluster]:
    async with Cluster(kubelet=False, clock=Clock(1_800_000_000, frozen=True)) as cluster:
        cluster.apply(namespace(), namespace("other"))
        yield cluster


async def may(cluster: Cluster, user: str, verb: str, resource: str, space: str = "shop", **more: str) -> bool:
    group = "apps" if resource in ("deployments", "replicasets") else ""
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": space, **more}
    async with connected(cluster, user) as api:
        review = await client.AuthorizationV1Api(api).create_self_subject_access_review(
            {"spec": {"resourceAttributes": attributes}}
        )
    return bool(review.status.allowed)


# -- RBAC ----------------------------------------------------------------------------------------------------------


async def test_a_role_holds_in_its_namespace_and_for_its_names(shop: Cluster) -> None:
    role = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": "one-map", "namespace": "shop"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get"]}],
    }
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "one-map", "namespace": "shop"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "one-map"},
        "subjects": [{"kind": "User", "name": "mallory@example.com"}],
    }
    shop.apply(role, binding, config_map("a"), config_map("b"))
    assert await may(shop, "nobody", "get", "configmaps", name="a")
    assert not await may(shop, "nobody", "get", "configmaps", name="b")
    assert not await may(shop, "nobody", "get", "configmaps", "other", name="a")
    async with connected(shop, "nobody") as api:
        core = client.CoreV1Api(api)
        await core.read_namespaced_config_map("a", "shop")
        with pytest.raises(ApiException) as refused:
            await core.read_namespaced_config_map("b", "shop")
    assert refused.value.status == 403


async def test_a_subresource_needs_its_own_rule(shop: Cluster) -> None:
    assert await may(shop, "ci", "patch", "deployments", subresource="scale")
    assert not await may(shop, "bot", "patch", "deployments", subresource="scale")
    assert await may(shop, "bot", "get", "pods", subresource="log")
    assert not await may(shop, "bot", "update", "deployments", subresource="status")
    assert not await may(shop, "bot", "delete", "configmaps")
    assert not await may(shop, "bot", "get", "secrets")


async def test_taking_a_role_away_shows_at_once(shop: Cluster) -> None:
    async with connected(shop) as api:
        await client.RbacAuthorizationV1Api(api).delete_cluster_role_binding("rollback-bot")
    assert not await may(shop, "bot", "get", "deployments")


async def test_the_rules_review_lists_what_is_allowed(shop: Cluster) -> None:
    async with connected(shop, "bot") as api:
        review = await client.AuthorizationV1Api(api).create_self_subject_rules_review({"spec": {"namespace": "shop"}})
    rules = [(r.resources, r.verbs) for r in review.status.resource_rules]
    assert any("deployments" in resources and "patch" in verbs for resources, verbs in rules)
    assert not review.status.incomplete


async def test_the_admin_can_ask_for_others_and_speak_as_them(shop: Cluster) -> None:
    async with connected(shop) as api:
        spec = {"user": "x", "groups": ["break-glass"], "resourceAttributes": {"verb": "delete", "resource": "pods"}}
        review = await client.AuthorizationV1Api(api).create_subject_access_review({"spec": spec})
        assert review.status.allowed
        api.set_default_header("Impersonate-User", "mallory@example.com")
        with pytest.raises(ApiException, match=r"mallory@example\.com"):
            await client.CoreV1Api(api).list_namespaced_pod("shop")
    async with connected(shop, "bot") as api:
        api.set_default_header("Impersonate-User", "kubernetes-admin")
        with pytest.raises(ApiException, match="cannot impersonate"):
            await client.CoreV1Api(api).list_namespaced_pod("shop")


# -- admission -----------------------------------------------------------------------------------------------------


def ban(expression: str, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy for deployments with this one validation, for everybody."""
    policy, binding = freeze(expression)
    policy["spec"] |= {"matchConditions": [], **spec}
    return policy, binding


async def refused(cluster: Cluster, body: dict[str, Any]) -> str:
    """What a creation is refused with, "" where it is not."""
    async with connected(cluster, "ci") as api:
        try:
            await client.AppsV1Api(api).create_namespaced_deployment("shop", body, dry_run="All")
        except ApiException as error:
            return str(error.body)
    return ""


IMAGES = "object.spec.template.spec.containers"


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        (f'!{IMAGES}.exists(c, c.image == "web:bad")', True),
        (f'!{IMAGES}.exists(c, c.image.endsWith("web:v1"))', False),
        (f'{IMAGES}.all(c, c.image.contains("@sha256:") || c.image.startsWith("web:"))', True),
        (f'{IMAGES}.all(c, !(c.image in ["web:v1", "web:v2"]))', False),
        (f'{IMAGES}.filter(c, c.name == "web").size() == 1', True),
        (f'{IMAGES}.map(c, c.image).join(",").matches("^web:v[0-9]+$")', True),
        ("has(object.spec.strategy) && !has(object.spec.paused)", True),
        ("has(object.metadata.labels) ? object.metadata.labels.team == 'shop' : true", True),
        ("oldObject == null", True),
        ("request.operation == 'CREATE' && request.namespace == 'shop' && request.resource.group == 'apps'", True),
        ("request.userInfo.username.startsWith('system:serviceaccount:ci:')", True),
        ('"system:serviceaccounts:ci" in request.userInfo.groups', True),
        ("object.spec.replicas <= 1", False),
        ("namespaceObject.metadata.name == 'shop'", True),
        ("object.?spec.?nothing.orValue('x') == 'x'", True),
        ("'app' in object.spec.selector.matchLabels", True),
    ],
)
async def test_an_expression_is_true_or_refuses(shop: Cluster, expression: str, passes: bool) -> None:
    shop.apply(*ban(expression))
    shop.clock.advance(2)
    assert (await refused(shop, deployment("web:v1")) == "") is passes


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("object.spec.replicas +", "Syntax error"),
        ("objekt.spec.replicas == 1", "undeclared reference to 'objekt"),
        ("object.spec.replicas.isAwesome()", "undeclared reference to 'isAwesome'"),
        ("request.user.name == 'x'", "undefined field 'user'"),
        ("request.userInfo.name == 'x'", "undefined field 'name'"),
        ("variables.nothing == 1", "undefined field 'nothing'"),
        ("authorizer.group('apps').resource('deployments').check('get').allowed()", "undeclared reference"),
        ("1 + 'a' == 'b'", "no matching overload"),
        ("'not a condition'", "must evaluate to bool"),
    ],
)
async def test_an_expression_that_cannot_be_is_refused_when_it_is_written(
    shop: Cluster, expression: str, told: str
) -> None:
    async with connected(shop, "bot") as api:
        with pytest.raises(ApiException) as error:
            await client.AdmissionregistrationV1Api(api).create_validating_admission_policy(ban(expression)[0])
    assert error.value.status == 422
    assert "spec.validations[0].expression" in str(error.value.body)
    assert told in str(error.value.body)


async def test_variables_and_message_expressions_are_used(shop: Cluster) -> None:
    policy, binding = ban(
        "!variables.images.exists(i, i in variables.banned)",
        variables=[
            {"name": "banned", "expression": "['web:bad']"},
            {"name": "images", "expression": f"{IMAGES}.map(c, c.image)"},
        ],
    )
    policy["spec"]["validations"][0]["messageExpression"] = "'banned: ' + variables.images.join(' ')"
    shop.apply(policy, binding)
    shop.clock.advance(2)
    assert await refused(shop, deployment("web:good")) == ""
    assert "denied request: banned: web:bad" in await refused(shop, deployment("web:bad"))


@pytest.mark.parametrize(("policy", "passes"), [("Fail", False), ("Ignore", True)])
async def test_the_failure_policy_decides_over_an_expression_in_error(shop: Cluster, policy: str, passes: bool) -> None:
    shop.apply(*ban("object.spec.nothing == 1", failurePolicy=policy))
    shop.clock.advance(2)
    told = await refused(shop, deployment())
    assert (told == "") is passes
    assert passes or "resulted in error: no such key: nothing" in told


async def test_a_binding_that_only_warns_refuses_nothing(shop: Cluster) -> None:
    policy, binding = ban("false")
    binding["spec"]["validationActions"] = ["Warn"]
    shop.apply(policy, binding)
    shop.clock.advance(2)
    async with connected(shop, "ci") as api:
        answer = await client.AppsV1Api(api).create_namespaced_deployment_with_http_info("shop", deployment())
    assert "Validation failed for ValidatingAdmissionPolicy 'freeze-shop'" in answer.headers["Warning"]


async def test_a_binding_can_be_for_some_namespaces_and_objects(shop: Cluster) -> None:
    policy, binding = ban("false")
    named = {"matchLabels": {"kubernetes.io/metadata.name": "other"}}
    binding["spec"]["matchResources"] = {"namespaceSelector": named}
    shop.apply(policy, binding)
    shop.clock.advance(2)
    assert await refused(shop, deployment()) == ""
    policy["spec"]["matchConstraints"]["objectSelector"] = {"matchLabels": {"tier": "web"}}
    del binding["spec"]["matchResources"]
    shop.apply(policy, binding)
    shop.clock.advance(2)
    assert await refused(shop, deployment()) == ""
    body = deployment()
    body["metadata"]["labels"] = {"tier": "web"}
    assert await refused(shop, body) != ""


async def test_a_policy_goes_on_refusing_for_a_while_after_it_was_deleted(shop: Cluster) -> None:
    shop.apply(*ban("false"))
    shop.clock.advance(2)
    async with connected(shop, "bot") as api:
        rules = client.AdmissionregistrationV1Api(api)
        await rules.delete_validating_admission_policy_binding("freeze-shop")
        await rules.delete_validating_admission_policy("freeze-shop")
    shop.clock.advance(0.55)
    assert await refused(shop, deployment()) != ""
    shop.clock.advance(1.2)
    assert await refused(shop, deployment()) == ""


async def test_a_policy_alone_does_nothing(shop: Cluster) -> None:
    shop.apply(ban("false")[0])
    shop.clock.advance(2)
    assert await refused(shop, deployment()) == ""


async def test_a_policy_binds_controllers_too(shop: Cluster) -> None:
    policy, binding = ban("false")
    policy["spec"]["matchConstraints"]["resourceRules"][0] |= {"apiGroups": [""], "resources": ["pods"]}
    shop.apply(policy, binding)
    shop.clock.advance(2)
    shop.apply(deployment())
    await shop.until(lambda: any(e["reason"] == "FailedCreate" for e in shop.all("Event", "shop")))
    assert shop.all("Pod") == []


async def test_deletions_are_asked_with_the_old_object(shop: Cluster) -> None:
    policy, binding = ban("object == null && oldObject.metadata.name != 'web'")
    policy["spec"]["matchConstraints"]["resourceRules"][0]["operations"] = ["DELETE"]
    shop.apply(deployment(), deployment(name="other"), policy, binding)
    shop.clock.advance(2)
    async with connected(shop, "ci") as api:
        apps = client.AppsV1Api(api)
        await apps.delete_namespaced_deployment("other", "shop")
        with pytest.raises(ApiException, match="frozen"):
            await apps.delete_namespaced_deployment("web", "shop")


async def test_what_the_playground_has_not_is_refused_in_a_policy(shop: Cluster) -> None:
    for unknown in ({"paramKind": {"kind": "ConfigMap", "apiVersion": "v1"}}, {"auditAnnotations": [{"key": "a"}]}):
        with pytest.raises(ApiError, match="the playground has no such thing"):
            shop.apply(ban("true", **unknown)[0])
