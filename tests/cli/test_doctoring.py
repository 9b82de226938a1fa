"""`doctor` and `slack manifest`, as an operator types them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import migrations
from bot.cli import root
from bot.cli.examination import _owed
from bot.cli.output import Code
from bot.playground.workspace import App, Workspace
from bot.run.state import new_run
from bot.slack.manifest import manifest
from bot.store.log import Store
from bot.store.signing import new_key
from tests.fixtures.pager import KEY, Incidents, pager
from tests.fixtures.whole_bot import House, Running, upgraded
from tests.slack import scenes

SLACK = """
services:
  shop:
    channels: {incident: ["#inc-4211"], stakeholders: ["#status"]}
    targets: {api: {http: "SHOP"}}
roles:
  commander: {groups: [commanders]}
  approver: {groups: [S0APPROVE1], on_call: {groups: [oncall]}}
"""


def asked(house: House, *words: str, **more: str) -> Result:
    """What the host's shell says."""
    return CliRunner().invoke(root, ["doctor", *words], env=house.env() | more, prog_name="rollback-bot")


def findings(house: House, **more: str) -> dict[str, dict[str, Any]]:
    """Finding by name."""
    found = asked(house, "--json", **more)
    assert found.exit_code in (0, Code.UNWELL), found.output
    told = json.loads(found.stdout)
    assert (found.exit_code == Code.UNWELL) == bool(told["faults"])
    return {f["name"]: f for f in told["findings"]}


@contextmanager
def slack_running() -> Iterator[Workspace]:
    """A workspace with the app of our manifest, on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="slack")
    thread.start()

    async def start() -> Workspace:
        workspace = Workspace(app=App.from_manifest(yaml.safe_load(manifest())))
        await workspace.start()
        return workspace

    workspace = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    try:
        yield workspace
    finally:
        asyncio.run_coroutine_threadsafe(workspace.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


def environment(slack: Workspace) -> dict[str, str]:
    """What the bot is told of it."""
    return {
        "ROLLBACK_SLACK": "socket", "ROLLBACK_SLACK_URL": slack.api_url,
        "ROLLBACK_SLACK_BOT_TOKEN": slack.app.bot_token, "ROLLBACK_SLACK_APP_TOKEN": slack.app.app_token,
    }  # fmt: skip


def test_without_slack_and_without_a_bot_all_is_fine(house: House) -> None:
    house.signing = new_key()[0]
    found = asked(house)
    assert found.exit_code == 0, found.output
    assert "ok     slack: off, as set" in found.stdout
    assert "ok     target shop/api: answers" in found.stdout
    assert "looking without it" in found.stdout
    assert found.stdout.splitlines()[-1].startswith("All ")


def test_with_clusters_it_says_what_a_bot_without_a_key_for_digests_cannot_tell(house: House) -> None:
    assert "secrets" not in findings(house)
    file = house.folder / "rollback.yaml"
    catalogue = yaml.safe_load(file.read_text())
    catalogue["services"]["shop"]["targets"]["eu-1"] = {"kubernetes": "eu-1", "namespace": "shop", "timeout": "1s"}
    file.write_text(yaml.safe_dump(catalogue))
    nowhere = {"ROLLBACK_KUBECONFIG": str(house.folder / "none")}
    found = findings(house, **nowhere)["secrets"]
    assert found["state"] == "look" and "ROLLBACK_DIGEST_KEY" in found["text"] and "rollback-bot key" in found["next"]
    assert "secrets" not in findings(house, ROLLBACK_DIGEST_KEY="k" * 16, **nowhere)


def test_a_running_bot_is_found_and_asked(bot: Running) -> None:
    assert findings(bot.house)["bot"] == {
        "name": "bot", "state": "ok", "text": f"runs at {bot.house.url}", "next": "",
    }  # fmt: skip


def test_each_fault_is_told_with_the_next_thing_to_do(tmp_path: Path) -> None:
    house = House(tmp_path, "http://127.0.0.1:1")
    file = house.folder / "rollback.yaml"
    file.write_text(file.read_text().replace("approver: {people: [", "approver: {on_call: {people: [ana]}, people: ["))
    found = findings(house)
    assert "db upgrade" in found["database"]["next"]
    assert (
        found["target shop/api"]["state"] == "fault" and "services.shop.targets.api" in found["target shop/api"]["next"]
    )
    assert found["role approver"]["state"] == "look"
    shown = asked(house)
    assert shown.exit_code == Code.UNWELL
    assert "FAULT  database: " in shown.stdout
    assert "\n       Next: `rollback-bot db upgrade`" in shown.stdout
    assert " at fault, " in shown.stdout.splitlines()[-1]


def test_a_decision_that_nobody_could_pass_is_a_fault(house: House) -> None:
    plan = house.folder / "plans" / "standard.yaml"
    plan.write_text(plan.read_text().replace("approver: 1", "dba: 2", 1))
    found = findings(house)["decisions of shop"]
    assert found["state"] == "fault" and "found 1 of 2 dba" in found["text"] and "broken glass" in found["next"]


def test_a_plan_that_does_not_compile_and_a_bad_catalogue_are_faults(house: House) -> None:
    plan = house.folder / "plans" / "standard.yaml"
    plan.write_text(plan.read_text().replace("service.quiesce", "service.quiese", 1))
    found = findings(house)["plan of shop"]
    assert found["state"] == "fault" and found["next"] == "`rollback-bot plan lint standard --service shop`"
    (house.folder / "rollback.yaml").write_text("services: {}")
    assert [*findings(house)][-1] == "catalogue"
    (house.folder / "rollback.yaml").unlink()
    assert "ROLLBACK_CATALOGUE" in findings(house)["catalogue"]["text"]


@pytest.mark.parametrize(("name", "value"), [("ROLLBACK_TICK", "-1"), ("ROLLBACK_BLOBS_URL", "nowhere")])
def test_a_setting_that_does_not_fit_is_named(house: House, name: str, value: str) -> None:
    found = findings(house, **{name: value})
    assert [*found] == ["settings"] and found["settings"]["text"].startswith(name)


def test_with_slack_the_people_and_the_cards_are_looked_at_too(house: House) -> None:
    (house.folder / "rollback.yaml").write_text(SLACK.replace("SHOP", house.shop))
    house.signing = new_key()[0]
    with slack_running() as slack:
        found = findings(house, **environment(slack))
        assert {f["state"] for f in found.values()} == {"ok"}, found
        assert found["role approver"]["text"] == "2: @cho, @eli"
        assert found["socket"]["text"] == "opened, and Slack said hello"
        assert "Slack takes all" in found["cards"]["text"] and len(slack.calls("blocks.validate")) > 5
        assert not slack.calls("chat.*")
        assert slack.app.bot_token not in asked(house, **environment(slack)).output


def test_with_slack_a_missing_database_hides_nothing_of_slack(tmp_path: Path, house: House) -> None:
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", house.shop)
    (other.folder / "rollback.yaml").write_text(SLACK.replace("SHOP", house.shop))
    with slack_running() as slack:
        found = findings(other, **environment(slack))
        assert found["database"]["state"] == "fault" and found["people"]["state"] == "look"
        assert found["token"]["state"] == "ok"
        upgraded(other)
        assert findings(other, **environment(slack))["role commander"]["text"] == "2: @ana, @dee"


def test_the_manifest_is_printed_for_either_mode() -> None:
    def said(*words: str) -> Result:
        return CliRunner().invoke(root, ["slack", "manifest", *words])

    assert said().stdout == manifest()
    assert json.loads(said("--json").stdout) == yaml.safe_load(manifest())
    assert said("--http", "https://bot.example.com").stdout == manifest("https://bot.example.com")
    refused = said("--http", "bot")
    assert refused.exit_code == Code.USAGE and "https://bot.example.com" in refused.stderr


def test_a_pager_is_asked_whether_it_takes_the_key_and_nobody_is_called(house: House) -> None:
    off = findings(house)["pager"]
    assert off["state"] == "ok" and "mentioned in the channel" in off["text"]
    with pager_running() as pager:
        there = {"ROLLBACK_PAGE_URL": pager.url, "ROLLBACK_PAGE_KEY": KEY}
        assert findings(house, **there)["pager"]["state"] == "ok" and pager.rang == []
        wrong = findings(house, **{**there, "ROLLBACK_PAGE_KEY": "no-such-key"})["pager"]
        assert wrong["state"] == "fault" and "Invalid routing key" in wrong["text"] and "no-such-key" not in str(wrong)


@contextmanager
def pager_running() -> Iterator[Incidents]:
    """A pager, on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="pager")
    thread.start()
    there = pager()
    found = asyncio.run_coroutine_threadsafe(there.__aenter__(), loop).result(60)
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(there.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


async def test_what_is_promised_is_counted_and_what_is_overdue_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
    await asyncio.to_thread(migrations.upgrade, url)
    store = await Store.open(url)
    assert (await _owed(store)).text == "nothing is to be given back or reviewed"
    tape, run = scenes.handed_over(), new_run("shop-1f")
    for moment in tape.moments:
        run = await store.append(run, [moment.event], tape.now)
    for days, state, told in ((0, "ok", "1, 0 of them overdue: "), (2, "look", "1, 1 of them overdue: ")):
        monkeypatch.setattr("bot.cli.examination.time", SimpleNamespace(time=lambda d=days: tape.now + d * 86_400))
        found = await _owed(store)
        assert found.state == state and found.text.startswith(f"{told}shop: Freeze deployments is in place")
        assert "rollback-bot debts" in found.next
    await store.close()


def test_a_journey_whose_variable_is_not_set_is_told_before_anybody_waits_for_it(house: House) -> None:
    pay = 'steps: [{post: /pay, body: {secret: "${secret}"}}], clean_up: [{delete: "/pay?${mark}"}]'
    journeys = f"journeys: {{pay: {{target: api, variables: {{secret: SHOP_SYNTHETIC}}, {pay}}}}}"
    file = house.folder / "rollback.yaml"
    file.write_text(file.read_text().replace("floor: 2.3.0}", f"floor: 2.3.0, {journeys}}}", 1))
    told = findings(house)["journey shop/pay"]
    assert told["state"] == "fault" and told["text"].startswith("SHOP_SYNTHETIC: not set in the bot's environment")
    assert "services.shop.journeys.pay.variables" in told["next"]
    assert "journey shop/pay" not in findings(house, SHOP_SYNTHETIC="of-the-synthetic-customer")
