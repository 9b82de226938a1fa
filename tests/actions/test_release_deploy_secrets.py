"""A value that looks like a secret never stops a rollback: it is left and named, and kept nowhere in clear.

No secret stands here: their values are put together when the tests run.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from actions.settings_restore import SettingsRestore, SettingsRestoreParams
from bot.contract import Change, Outgoing, Status
from bot.redaction.redactor import Redactor
from bot.run import events as ev
from bot.testing import TestCtx, run_check
from bot.workloads.record import conceal, differ
from checks.artifacts_present import ArtifactsPresent, ArtifactsPresentParams
from checks.release_running import ReleaseRunning, ReleaseRunningParams
from tests.fixtures.cluster import config_map
from tests.fixtures.clusters_recorded import BAD, GOOD, Service, deployment, service
from tests.redaction.secret_forms import plain

OLD, NEW = plain(), plain()
ENV = "eu-1/deployment/api/env/api"
MAP = "eu-1/configmap/shop-settings/data"


def api(digest: str, **variables: str) -> dict[str, Any]:
    return deployment("api", digest, env=[{"name": name, "value": value} for name, value in variables.items()])


async def changed(shop: Service) -> None:
    """The bad release comes with another password, one more secret, and settings of its own."""
    await shop.deploy(
        api(BAD, LEVEL="debug", DB_PASSWORD=NEW, SMTP_PASSWORD=NEW),
        config_map("shop-settings", **{"THEME": "light", "api.token": NEW}),
    )
    await shop.record(BAD)


def good() -> tuple[dict[str, Any], ...]:
    return (
        api(GOOD, LEVEL="info", DB_PASSWORD=OLD),
        config_map("shop-settings", **{"THEME": "dark", "api.token": OLD}),
    )


def told(change: Change) -> str:
    return "\n".join([change.summary, *change.warnings])


async def test_keys_with_secrets_are_left_and_named_and_the_rest_comes_back() -> None:
    async with service(*good(), settings=["shop-settings"]) as shop:
        await changed(shop)
        change = await shop.plan()
        assert {e.target for e in change.edits} == {f"{MAP}/THEME", "eu-1/deployment/api/image/api", f"{ENV}/LEVEL"}
        assert change.summary == "api, shop-settings in eu-1 to 1.0, but for 3 with a secret, by hand"
        assert [w for w in change.warnings if "secret" in w] == [
            f"left alone: {MAP}/api.token, changed, holds a secret: by hand, from where ci has it",
            f"left alone: {ENV}/DB_PASSWORD, changed, holds a secret: by hand, from where ci has it",
            f"left alone: {ENV}/SMTP_PASSWORD, new, holds a secret: take it out by hand, where it is kept",
        ]
        assert shop.secrets.event(ev.Planned("s", 1, change, "f")).change.edits == change.edits  # nothing refuses it
        receipt = await shop.apply(change)
        assert "but for 3 with a secret, by hand" in receipt.detail
        assert shop.template()["containers"][0]["env"] == [
            {"name": "LEVEL", "value": "info"},
            {"name": "DB_PASSWORD", "value": NEW},
            {"name": "SMTP_PASSWORD", "value": NEW},
        ]
        again = await shop.plan()
        assert again.is_noop and again.summary.endswith(", but for 3 with a secret, by hand")


async def test_what_differs_is_told_before_anybody_starts_and_no_check_says_that_all_is_as_it_was() -> None:
    async with service(*good(), settings=["shop-settings"]) as shop:
        await changed(shop)
        p = shop.params()
        shop.registry.images |= {image: [image.partition("@")[2]] for image in p.images.values()}
        before = ArtifactsPresentParams(images=p.images, settings=p.settings, outgoing=p.outgoing)
        verdict = await run_check(ArtifactsPresent(), shop.ports_for, before)
        assert verdict.status is Status.WARN and f"left alone: {ENV}/DB_PASSWORD, changed" in verdict.observed
        assert len(verdict.data["by_hand"]) == 3  # type: ignore[arg-type]
        await shop.apply(await shop.plan())
        after = ReleaseRunningParams(images=p.images, outgoing=p.outgoing, settings=p.settings)
        verdict = await run_check(ReleaseRunning(), shop.ports_for, after)
        assert verdict.status is Status.WARN and f"left alone: {ENV}/DB_PASSWORD, changed" in verdict.observed
        await shop.deploy(*good())  # somebody has seen to it
        assert "secret" not in told(await shop.plan())
        assert (await run_check(ReleaseRunning(), shop.ports_for, after)).status is Status.PASS


async def test_no_record_blob_or_view_of_the_targets_holds_a_value_in_clear() -> None:
    large = f"password: {NEW}\n" + "x" * 5000
    async with service(*good(), settings=["shop-settings"]) as shop:
        await changed(shop)
        await shop.deploy(config_map("shop-settings", **{"THEME": large, "api.token": NEW}), by="dee")
        change = await shop.plan()
        seen = await shop.seen({f"{ENV}/DB_PASSWORD", f"{MAP}/THEME"})
        everything = [json.dumps(seen, default=str), told(change), *map(str, change.edits)]
        everything += [data.decode() for data in shop.blobs.data.values()]
        assert not [text for text in everything if OLD in text or NEW in text]


async def test_a_reference_to_a_secret_is_restored_as_a_reference() -> None:
    def reference(digest: str, secret: str) -> dict[str, Any]:
        ref = {"secretKeyRef": {"name": secret, "key": "password"}}
        return deployment("api", digest, env=[{"name": "DB_PASSWORD", "valueFrom": ref}])

    async with service(reference(GOOD, "shop-db-v6")) as shop:
        await shop.deploy(reference(BAD, "shop-db-v7"))
        await shop.record(BAD)
        change = await shop.plan()
        assert f"{ENV}/DB_PASSWORD" in {e.target for e in change.edits} and "secret," not in told(change)


@pytest.mark.parametrize("then_keyed", [True, False])
async def test_without_the_key_of_the_record_nobody_claims_to_know_whether_it_changed(then_keyed: bool) -> None:
    async with service(
        *good(), settings=["shop-settings"], secrets=Redactor(key="k" * 16 if then_keyed else "")
    ) as shop:
        await changed(shop)
        shop.secrets = Redactor(key="another, of later" if then_keyed else "")
        change = await shop.plan()
        why = "whether changed is not known (recorded without ROLLBACK_DIGEST_KEY, or with another)"
        assert f"left alone: 2 values hold secrets, {why}: {MAP}/api.token, {ENV}/DB_PASSWORD" in change.warnings
        assert change.summary.endswith("but for 1 with a secret, by hand and those with secrets, not known")


async def test_a_record_from_before_that_has_a_value_in_clear_or_under_a_plain_digest_stops_nothing() -> None:
    async with service(*good(), settings=["shop-settings"]) as shop:
        await changed(shop)
        kept = json.loads(await shop.blobs.get(shop.records[GOOD]))
        kept |= {f"{ENV}/DB_PASSWORD": OLD, f"{MAP}/api.token": {"sha256": "0" * 64}}
        shop.records[GOOD] = await shop.blobs.put(json.dumps(kept).encode(), "application/json")
        change = await shop.plan()
        assert OLD not in str(change) and not {"DB_PASSWORD", "api.token"} & {e.target[-11:] for e in change.edits}
        assert (
            f"left alone: {ENV}/DB_PASSWORD, changed, holds a secret: by hand, from where ci has it" in change.warnings
        )


async def test_settings_alone_are_restored_but_for_secrets() -> None:
    async with service(*good(), settings=["shop-settings"]) as shop:
        await changed(shop)
        gone = Outgoing(version="1.1", images={}, settings=shop.records[BAD])
        params = SettingsRestoreParams(settings=shop.records[GOOD], outgoing=[gone])
        change = await SettingsRestore().plan(TestCtx(shop.ports_for, SettingsRestore.needs, now=shop.now), params)
        assert [e.target for e in change.edits] == [f"{MAP}/THEME"]
        assert change.summary == "restore THEME in eu-1, but for 1 that may hold secrets, by hand"
        assert f"left alone: {MAP}/api.token, changed, holds a secret: by hand, from where ci has it" in change.warnings


# -- what stands for a value ------------------------------------------------------------------------------------------


def test_a_digest_tells_whether_it_is_another_value_to_whom_has_the_key_only() -> None:
    ours, same, other, none = (Redactor(key=key) for key in ("k" * 16, "k" * 16, "j" * 16, ""))
    one = conceal("env/api/DB_PASSWORD", OLD, ours)
    assert differ(one, conceal("env/api/DB_PASSWORD", OLD, same)) is False
    assert differ(one, conceal("env/api/DB_PASSWORD", NEW, same)) is True
    assert differ(one, conceal("env/api/DB_PASSWORD", OLD, other)) is None
    assert differ(one, conceal("env/api/DB_PASSWORD", OLD, none)) is None
    assert differ(*[conceal("env/api/DB_PASSWORD", OLD, none)] * 2) is None
    assert differ(one, None) is True and differ("plain", one) is True


@pytest.mark.parametrize("field", ["image/api", "order/api", "replicas"])
def test_images_orders_and_numbers_are_never_taken_for_secrets(field: str) -> None:
    assert conceal(field, plain(), Redactor(key="k" * 16)) != {"hidden": ""}


def test_a_checksum_of_a_secret_is_none() -> None:
    value = "0f" * 32
    assert conceal("pod-annotation/checksum/secret", value, Redactor(key="k" * 16)) == value
