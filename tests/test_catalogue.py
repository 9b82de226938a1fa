"""The catalogue names everything there is; what it does not know is a fault with a place and a guess."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.catalogue import Catalogue, Channels, Crew, Role, Service, StatusHook, load_catalogue
from bot.catalogued.backups import BackupsTarget
from bot.catalogued.http import HttpTarget
from bot.catalogued.kubernetes import KubernetesTarget
from bot.catalogued.prometheus import PrometheusTarget, Series
from bot.located import Faults

GOOD = """
services:
  shop:
    title: The shop
    plan: careful
    channels: {incident: ["#incidents", C0123], stakeholders: ["#status"], cdn: ["#edge"], support: ["#support"]}
    status_page: {target: edge, path: /hooks/1}
    targets:
      api: {http: "https://api.internal:8080/v1/", timeout: 2s}
      edge: {http: "http://127.0.0.1:9000"}
    depends_on: [billing-api]
    floor: "2.30"
    stable_after: 6h
    limits: {rows_lost: 500, backup_age: 30.5, strict: true, mode: fast}
  billing-api: {}
roles:
  commander: {people: [ana, ben]}
  approver: {groups: [S012AB], on_call: {people: [cho], groups: [S034CD]}, break_glass: true}
people: {ana: Ana Ruiz, ben: Ben, cho: Cho Lee}
"""


def test_a_catalogue_is_frozen_values_by_name() -> None:
    catalogue = load_catalogue(GOOD, "rollback.yaml")
    assert catalogue.services["shop"] == Service(
        name="shop",
        title="The shop",
        plan="careful",
        channels=Channels(("#incidents", "C0123"), ("#status",), ("#edge",), ("#support",)),
        status_page=StatusHook("edge", "/hooks/1"),
        targets={"api": HttpTarget("https://api.internal:8080/v1", 2.0), "edge": HttpTarget("http://127.0.0.1:9000")},
        depends_on=("billing-api",),
        floor="2.30",
        stable_after=6 * 3600.0,
        limits={"rows_lost": 500, "backup_age": 30.5, "strict": True, "mode": "fast"},
    )
    assert catalogue.services["billing-api"] == Service("billing-api", "Billing api")
    assert catalogue.roles["approver"] == Role("approver", (), ("S012AB",), Crew(("cho",), ("S034CD",)), True)
    assert catalogue.people == {"ana": "Ana Ruiz", "ben": "Ben", "cho": "Cho Lee"}
    with pytest.raises(FrozenInstanceError):
        catalogue.services = {}  # type: ignore[misc]


def test_the_digest_is_of_the_meaning_not_of_the_text() -> None:
    first = load_catalogue(GOOD, "a.yaml")
    assert load_catalogue(b"# moved\n" + GOOD.replace("2s", "2000ms").encode(), "b.yaml").digest == first.digest
    assert load_catalogue(GOOD.replace("2s", "3s"), "a.yaml").digest != first.digest
    assert first.digest.startswith("sha256:")


def said(text: str) -> list[str]:
    with pytest.raises(Faults) as caught:
        load_catalogue(text, "r.yaml")
    return [str(f).removeprefix("r.yaml:") for f in caught.value.faults]


def test_every_mistake_is_said_at_once_with_its_place() -> None:
    assert said("""\
services:
  shop:
    tilte: Shop
    channels: {incident: #incidents
      , cnd: ["#edge"]}
    targets: {api: {http: "ftp://x", timeout: 5x}, b: {htp: "http://x"}, c: {http: "https://me:pw@x"}, d: {http: "http://[x"}}
    depends_on: [biling, shop]
    floor: 2.30
    limits: {Rows: 500, l: [1]}
  billing: {targets: 5}
  Pay Ments: {}
roles:
  aprover: {people: [choo], on_call: {people: [chp]}}
  dba: {}
people: {cho: 5, ana: Ana}
polcy: 1
""") == [
        "3:5: services.shop.tilte: unknown key 'tilte'; did you mean 'title'?",
        "5:7: services.shop.channels.incident: must be a list, but nothing is given",
        "5:9: services.shop.channels.cnd: unknown key 'cnd'; did you mean 'cdn'?",
        "6:27: services.shop.targets.api.http: must be an address like https://api.internal:8080/base",
        "6:47: services.shop.targets.api.timeout: must be a duration up to 30d, like 30s, 5m or 1h, not '5x'",
        "6:56: services.shop.targets.b.htp: unknown key 'htp'; did you mean 'http'?",
        "6:84: services.shop.targets.c.http: no credentials in an address; they come from the environment",
        "6:114: services.shop.targets.d.http: Invalid IPv6 URL",
        "7:18: services.shop.depends_on[0]: no service is named 'biling'; did you mean 'billing'?",
        "7:26: services.shop.depends_on[1]: a service does not depend on itself",
        "8:12: services.shop.floor: must be text; quote it: \"2.30\"",
        "9:14: services.shop.limits.Rows: 'Rows': use a-z, 0-9 and '_', beginning with a letter",
        "9:28: services.shop.limits.l: must be one number, text, true or false",
        "10:22: services.billing.targets: must be a mapping, not 5",
        "11:3: services.Pay Ments: 'Pay Ments': use a-z, 0-9 and '-', beginning with a letter",
        "13:3: roles: there must be a role 'approver'; did you mean 'aprover'?",
        "13:3: roles: there must be a role 'commander'",
        "13:22: roles.aprover.people[0]: no person has the id 'choo'; did you mean 'cho'?",
        "13:48: roles.aprover.on_call.people[0]: no person has the id 'chp'; did you mean 'cho'?",
        "14:8: roles.dba: nobody holds role 'dba'; name people or groups",
        "15:15: people.cho: must be text; quote it: \"5\"",
        "16:1: polcy: unknown key 'polcy'",
    ]  # fmt: skip


ROLES = "roles: {commander: {people: [UANA]}, approver: {people: [UBEN]}}\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "1:1: the file is empty"),
        ("[]", "1:1: must be a mapping"),
        (f"{ROLES}services: {{}}", "2:11: services: must not be empty"),
        (f"{ROLES}services: {{a: 1}}", "2:15: services.a: must be a mapping, not 1"),
        (
            f"{ROLES}services: {{a: {{targets: {{t: {{http: 'http://a?x=1'}}}}}}}}",
            "2:36: services.a.targets.t.http: an address has no ? or # part; paths are put behind it",
        ),
        (
            f"{ROLES}services: {{a: {{targets: {{api: {{http: 'http://a'}}}}, status_page: {{target: apy}}}}}}",
            "2:74: services.a.status_page.target: there is no HTTP target 'apy'; did you mean 'api'?",
        ),
        ("x" * 300_000, "1:1: 300,000 bytes is too large; the limit is 262,144 (256 KiB)"),
    ],
)
def test_one_mistake_is_one_line(text: str, line: str) -> None:
    assert said(text) == [line]


def test_people_of_the_workspace_need_not_be_listed() -> None:
    catalogue = load_catalogue(f"{ROLES}services: {{a: {{}}}}", "r.yaml")
    assert (catalogue.roles["commander"].people, catalogue.people) == (("UANA",), {})


def test_services_may_call_their_targets_alike_so_that_one_plan_fits_all() -> None:
    two = "services: {a: {targets: {api: {http: 'http://a'}}}, b: {targets: {api: {http: 'http://b'}}}}"
    services = load_catalogue(ROLES + two, "r").services
    assert [s.targets["api"] for s in services.values()] == [HttpTarget("http://a"), HttpTarget("http://b")]


@settings(max_examples=100, deadline=2000)
@given(st.text() | st.binary(), st.sampled_from(GOOD.splitlines()))
def test_any_text_raises_faults_or_is_a_catalogue(junk: str | bytes, line: str) -> None:
    broken = GOOD.replace(line, junk) if isinstance(junk, str) else GOOD.encode().replace(line.encode(), junk)
    try:
        assert isinstance(load_catalogue(broken, "r.yaml"), Catalogue)
    except Faults as wrong:
        assert wrong.faults


def test_backups_are_a_target_with_what_is_wanted_of_them() -> None:
    text = "services: {a: {targets: {b: {backups: /backups/shop/, names: 's-%Y%m%d.dump', max_age: 30m}}}}"
    assert load_catalogue(ROLES + text, "r").services["a"].targets == {
        "b": BackupsTarget("/backups/shop", "s-%Y%m%d.dump", None, 1800.0)
    }


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("{backups: /b, of: main}", "of: a has no database 'main'"),
        ("{backups: shop}", "backups: must be a whole path, like /var/backups/shop: the bot may be started anywhere"),
        (
            "{backups: 'http://x'}",
            "backups: must be a folder, like /var/backups/shop, or one of a bucket, like s3://shop-backups/main",
        ),
        ("{backups: /b, names: 'a/b'}", "names: must be the name of a file, like shop-%Y-%m-%dT%H%MZ.dump or *.dump"),
        ("{backups: /b, names: '%H'}", "names: a moment needs year, month and day: %Y, %m and %d"),
    ],
)
def test_backups_that_cannot_be_are_refused(target: str, line: str) -> None:
    assert [
        words.partition("targets.t.")[2] for words in said(f"{ROLES}services: {{a: {{targets: {{t: {target}}}}}}}")
    ] == [line]


CLUSTERS = """\
services:
  shop:
    targets:
      api: {http: "https://api.internal"}
      eu-1: {kubernetes: prod-eu, namespace: shop, workers: [deployment/shop-worker, cronjob/settle],
             settings: [shop-settings], applications: argocd/shop, selector: "app in (a, b)", break_glass: sre}
      us-1: {kubernetes: prod-us, namespace: shop, wave: 2, timeout: 3s}
"""


def test_a_cluster_is_a_target_beside_others() -> None:
    targets = load_catalogue(ROLES + CLUSTERS, "r").services["shop"].targets
    assert targets == {
        "api": HttpTarget("https://api.internal"),
        "eu-1": KubernetesTarget(
            "prod-eu", "shop", 1, ("deployment/shop-worker", "cronjob/settle"), ("shop-settings",), ("argocd/shop",),
            "app in (a, b)", ("sre",),
        ),
        "us-1": KubernetesTarget("prod-us", "shop", 2, timeout=3.0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{kubernetes: eu}", "'namespace' is missing"),
        ("{kubernetes: eu, namespace: shop, wave: 0}", "must be at least 1"),
        (
            "{kubernetes: eu, namespace: shop, workers: [pod/x]}",
            "cronjob, deployment, rollout, scaledjob or statefulset/name",
        ),
        (
            "{kubernetes: eu, namespace: shop, workers: [shop-worker]}",
            "cronjob, deployment, rollout, scaledjob or statefulset/name",
        ),
        ("{kubernetes: eu, namespace: shop, applications: [shop]}", "must be namespace/name, like argocd/shop"),
        ("{kubernetes: eu, namespaces: shop}", "unknown key 'namespaces'; did you mean 'namespace'?"),
        ("{kubernetes: eu, http: 'http://x', namespace: shop}", "must say what it is: "),
        ("{namespace: shop}", "must say what it is: "),
    ],
)
def test_a_cluster_that_does_not_fit_is_told(target: str, said: str) -> None:
    with pytest.raises(Faults) as wrong:
        load_catalogue(f"{ROLES}services: {{shop: {{targets: {{eu-1: {target}}}}}}}", "r")
    assert said in str(wrong.value)


PROMETHEUS = """
services:
  shop:
    targets:
      prom:
        prometheus: https://prom.internal/
        alertmanager: https://prom.internal:9093
        token: PROM_TOKEN
        headers: {X-Scope-OrgID: PROM_TENANT}
        labels: {service: shop}
        groups: shop
        jobs: {shop-api: 2}
        always: [Watchdog]
        series:
          errors:
            query: |
              100 * sum(rate(errors_total[1m]))
                / sum(rate(requests_total[1m]))
            unit: "%"
            limit: 1
            samples: sum(increase(requests_total[2m]))
"""


def test_a_monitor_says_what_it_measures_and_who_it_tells() -> None:
    query = "100 * sum(rate(errors_total[1m])) / sum(rate(requests_total[1m]))"
    target = load_catalogue(ROLES + PROMETHEUS, "r").services["shop"].targets["prom"]
    assert target == PrometheusTarget(
        "https://prom.internal", "https://prom.internal:9093", token="PROM_TOKEN",
        headers={"X-Scope-OrgID": "PROM_TENANT"}, labels={"service": "shop"}, groups=("shop",), jobs={"shop-api": 2},
        always=("Watchdog",),
        series={"errors": Series(query, "%", limit=1.0, samples="sum(increase(requests_total[2m]))")},
    )  # fmt: skip
    assert target.variables == {"PROM_TOKEN", "PROM_TENANT"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{prometheus: prom.internal}", "must be an address like"),
        ("{prometheus: 'http://p', alertmanager: x}", "must be an address like"),
        ("{prometheus: 'http://p', cluster: eu-2}", "shop has no cluster 'eu-2'"),
        ("{prometheus: 'http://p', series: {e: {}}}", "'query' is missing"),
        ("{prometheus: 'http://p', series: {e: {query: ' '}}}", "must be a query of Prometheus"),
        ("{prometheus: 'http://p', series: {e: {query: x, good: up}}}", "must be 'low', 'high' or 'near'"),
        ("{prometheus: 'http://p', series: {e: {query: x, tolerance: 1}}}", "must be more than 1.0, not 1"),
    ],
)
def test_a_monitor_that_does_not_fit_is_told(target: str, said: str) -> None:
    with pytest.raises(Faults) as wrong:
        load_catalogue(f"{ROLES}services: {{shop: {{targets: {{prom: {target}}}}}}}", "r")
    assert said in str(wrong.value)
