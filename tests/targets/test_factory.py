"""Wiring: what of the catalogue becomes which adapter."""

from __future__ import annotations

import pytest

from bot.catalogue import load_catalogue
from bot.ports.kubernetes import Cluster
from bot.redaction.redactor import Redactor
from bot.settings import Settings
from bot.targets.factory import adapters_of

CATALOGUE = """\
services:
  shop:
    targets:
      api: {http: "http://127.0.0.1:1"}
      us-1: {kubernetes: us, namespace: shop, wave: 2, workers: deployment/worker, break_glass: sre}
      eu-1: {kubernetes: eu, namespace: shop, selector: app=shop}
    journeys:
      pay:
        target: api
        variables: {password: SHOP_PASSWORD, user: SHOP_USER}
        steps: [{post: /pay, body: {password: "${password}", user: "${user}"}}]
        clean_up: [{delete: "/pay?mark=${mark}"}]
    partners: {mail: {probe: {target: api}}}
  other: {}
roles: {commander: {people: [ana]}, approver: {people: [cho]}}
people: {ana: Ana, cho: Cho}
"""


async def test_every_target_is_reached_by_the_adapter_of_its_kind() -> None:
    adapters = adapters_of(Settings(kubeconfig="/nowhere"), load_catalogue(CATALOGUE, "r"))
    shop = adapters["shop"]
    assert shop.kubernetes.clusters == [
        Cluster("eu-1", "shop", selector="app=shop"),
        Cluster("us-1", "shop", 2, workers=("deployment/worker",), break_glass=("sre",)),
    ]
    assert hash(shop) != hash(adapters["other"]), "what is known of their places is kept by them"
    wrong = await shop.ping()
    assert wrong["us-1"] == "us-1: there is no kubeconfig at /nowhere"
    assert set(wrong) == {"api", "eu-1", "us-1"}
    assert await adapters["other"].ping() == {}
    await shop.close()


async def test_a_journey_gets_its_variables_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "of-a-journey-1")
    redactor = Redactor()
    catalogue = load_catalogue(CATALOGUE, "r")
    shop = adapters_of(Settings(kubeconfig="/nowhere"), catalogue, redactor)["shop"]
    assert (await shop.journeys.walk("pay", "api")).away == "SHOP_USER: not set in the bot's environment"
    assert redactor.text("it said of-a-journey-1") == "it said [redacted:secret]"
    assert shop.partners.catalogued.keys() == {"mail"}
    assert catalogue.services["shop"].kinds == ("http", "journeys", "kubernetes", "partners")
    assert catalogue.services["other"].kinds == ()
    await shop.close()
