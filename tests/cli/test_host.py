"""What is done on the bot's host: the database, tokens, plans, serving."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import migrations
from bot import wiring
from bot.cli import root
from bot.cli.output import Code
from bot.run import events as ev
from bot.settings import strange
from bot.store.lease import RowLease
from bot.store.rows import Token
from bot.store.tokens import Bearer
from tests.fixtures.whole_bot import OS_USER, PLAN, House, Running, shop_running, stocked, upgraded


def test_a_token_is_shown_once_kept_as_a_hash_and_says_who_issued_it(house: House) -> None:
    found = house.say("", "token", "@cho", "--hours", "2")
    token = found.stdout.strip()
    assert found.exit_code == 0 and token.startswith("rbt_")
    assert token not in found.stderr and f"os:{OS_USER}" in found.stderr
    with contextlib.closing(sqlite3.connect(house.folder / "bot.db")) as db:
        rows = db.execute(
            "SELECT hash, person, issued_by, expires - issued_at FROM token ORDER BY issued_at"
        ).fetchall()
    assert rows[-1][1:] == ("cho", f"os:{OS_USER}", 2 * 3600 * 10**6)
    assert all(token not in str(r) for r in rows)
    assert set(json.loads(house.say("", "token", "ben", "--json").stdout)) == {"token", "person", "hours"}


def test_a_token_works_until_it_is_revoked(bot: Running) -> None:
    house = bot.house
    house.tokens["cho"] = house.say("", "token", "cho").stdout.strip()
    assert house.say("cho", "whoami").stdout == "cho (@cho): approver\n"
    assert house.say("", "tokens", "revoke", "@cho").stdout == "2 token(s) of @cho are no longer good.\n"
    found = house.say("cho", "whoami")
    assert found.exit_code == Code.REFUSED and "stands for nobody" in found.stderr


def test_tokens_are_listed_ended_by_id_and_forgotten_and_the_record_keeps_all_of_it(bot: Running) -> None:
    house = bot.house
    made = house.say("", "token", "cho").stdout.strip()
    id = hashlib.sha256(made.encode()).hexdigest()[:12]
    assert f"{id}  cho  good for 12 h; issued 0 s ago by os:{OS_USER}" in house.say("", "tokens", "list").stdout
    assert made not in house.say("", "tokens", "list", "--json").stdout
    house.tokens["cho"] = made
    assert house.say("cho", "whoami").exit_code == 0
    assert house.say("", "tokens", "revoke", id).stdout == f"1 token(s) of {id} are no longer good.\n"
    assert house.say("cho", "whoami").exit_code == Code.REFUSED
    assert house.say("", "tokens", "revoke", id).exit_code == Code.REFUSED, "it is over already"
    assert id not in house.say("", "tokens", "list").stdout
    assert f"{id}  cho  revoked" in house.say("", "tokens", "list", "--all").stdout
    bot.call(bot.bot.tokens.record())
    assert bot.call(bot.bot.store.prune_tokens(bot.bot.clock() + 1)) == 1
    assert "0 token(s) forgotten" in house.say("", "tokens", "prune").stdout
    told = [ev.decode(e.kind, e.body) for e in bot.call(bot.bot.store.events("tokens"))]
    mine = [e for e in told if isinstance(e, ev.TokenIssued | ev.TokenRevoked) and e.token == id]
    assert [e.kind for e in mine] == ["token issued", "token revoked"]
    assert isinstance(mine[0], ev.TokenIssued) and (mine[0].person, mine[0].issuer) == ("cho", f"os:{OS_USER}")
    assert house.json("ben", "audit", "verify")["ok"]
    told_people = house.say("ben", "audit", "tokens", "export", "--format", "markdown").stdout
    assert f"os:{OS_USER} issued token {id} for cho" in told_people and f"token {id} of cho was ended" in told_people


def test_a_token_that_somebody_put_into_the_database_is_in_the_record_before_it_is_good_for_anything(
    bot: Running,
) -> None:
    house, now = bot.house, bot.bot.clock()
    hash = hashlib.sha256(b"rbt_by-hand").hexdigest()
    bot.call(bot.bot.store.put_token(Token(hash, "cho", now + 60, now, "nobody")))
    house.tokens["cho"] = "rbt_by-hand"
    assert house.say("cho", "whoami").exit_code == 0
    told = [ev.decode(e.kind, e.body) for e in bot.call(bot.bot.store.events("tokens"))]
    assert ev.TokenIssued(hash[:12], "cho", "nobody", now + 60) in [
        replace(e, until=now + 60) for e in told if isinstance(e, ev.TokenIssued)
    ]


def test_who_issued_the_token_is_part_of_who_acted(bot: Running) -> None:
    house = bot.house
    house.tokens["ana"] = house.say("", "token", "ana").stdout.strip()
    run = house.json("ana", "rollback", "shop", "to", "2.4.0", "because", "checkout fails")["run"]
    by = bot.call(bot.bot.store.load(run)).created.by  # type: ignore[union-attr]
    assert by.via == f"cli, by a token that os:{OS_USER} issued"
    assert Bearer("U1", "slack:U1").via("cli") == "cli" and Bearer("U1").via("cli") == "cli"


def test_nobody_outside_the_catalogue_gets_a_token(house: House) -> None:
    found = house.say("", "token", "mallory")
    assert found.exit_code == Code.REFUSED and "ana, ben, cho" in found.stderr
    assert house.say("", "token", "cho", "--hours", "9999").exit_code == Code.USAGE


def test_the_database_is_made_upgraded_and_taken_back(tmp_path: Path) -> None:
    house = House(tmp_path, "http://127.0.0.1:1")
    assert "run `rollback-bot db upgrade`" in house.say("", "db", "current").stdout
    missing = house.say("", "serve")
    assert missing.exit_code == Code.UNREACHABLE and "db upgrade" in missing.stderr
    head = migrations.head()
    assert house.say("", "db", "upgrade").stdout == f"The database is at revision {head}.\n"
    assert json.loads(house.say("", "db", "current", "--json").stdout) == {"revision": head, "needed": head}
    refused = house.say("", "db", "downgrade", "base")
    assert refused.exit_code == Code.REFUSED and "--yes" in refused.stderr
    assert house.say("", "db", "downgrade", "base", "--yes").exit_code == 0
    assert house.say("", "token", "ana").exit_code == Code.UNREACHABLE


@pytest.mark.parametrize("word", ["upgrade", "downgrade"])
def test_a_revision_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path, word: str) -> None:
    house = upgraded(House(tmp_path, "http://127.0.0.1:1"))
    found = house.say("", "db", word, "9999", *(["--yes"] if word == "downgrade" else []))
    assert found.exit_code == Code.USAGE
    assert (
        f"no revision '9999'; it has 0001, 0002, 0003, 0004, 0005, or {'head' if word == 'upgrade' else 'base'}"
        in found.stderr
    )
    assert house.json("", "db", "current")["revision"] == migrations.head()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_an_address_as_providers_of_postgresql_hand_it_out_is_taken(
    tmp_path: Path, pg_database: str, scheme: str
) -> None:
    with shop_running() as shop:
        house = House(tmp_path, shop.url, database=pg_database.replace("postgresql+psycopg", scheme, 1))
        assert house.database.startswith(f"{scheme}://")
        assert house.say("", "db", "upgrade").exit_code == 0
        running = Running(stocked(house))
        try:
            assert house.say("ana", "rollback", "shop", "because", "checkout fails").exit_code == 0
        finally:
            running.stop()


def test_an_address_of_no_database_that_could_be_used_is_bad_usage(house: House) -> None:
    for word in ("serve", "doctor", "db"):
        env = house.env() | {"ROLLBACK_DATABASE_URL": "mysql://h/d"}
        found = CliRunner().invoke(root, [word, *(["current"] if word == "db" else [])], env=env)
        assert found.exit_code == (Code.UNWELL if word == "doctor" else Code.USAGE), found.output
        assert "ROLLBACK_DATABASE_URL begins with mysql://; use" in found.output


@pytest.mark.parametrize("words", ["serve", "token ana", "plan lint", "plan preview standard --service shop", "doctor"])
def test_a_catalogue_that_cannot_be_read_is_told_with_its_name_and_the_next_thing_to_do(
    house: House, words: str
) -> None:
    def told(file: Path) -> str:
        found = CliRunner().invoke(root, words.split(), env=house.env() | {"ROLLBACK_CATALOGUE": str(file)})
        assert found.exit_code == (Code.UNWELL if words == "doctor" else Code.USAGE), found.output
        return found.output

    missing, folder, odd = house.folder / "missing.yaml", house.folder / "plans", house.folder / "odd.yaml"
    odd.write_bytes(b"people: {ana: An\xe1}")
    assert f"{missing}:1:1: there is no catalogue here; ROLLBACK_CATALOGUE says where it is" in told(missing)
    assert f"{folder}:1:1: is a folder; a file is wanted" in told(folder)
    assert f"{odd}:1:17: not UTF-8: byte 0xe1" in told(odd)


def test_a_misspelt_setting_is_told_with_a_guess_by_serve_and_doctor(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    env = house.env() | {"ROLLBACK_CATALOG": "x", "ROLLBACK_PORT": str(house.port)}
    told = "ROLLBACK_CATALOG is no setting; did you mean ROLLBACK_CATALOGUE?"
    assert f"look   settings: {told}" in CliRunner().invoke(root, ["doctor"], env=env).stdout
    with socket.create_server(("127.0.0.1", house.port)):
        assert told in CliRunner().invoke(root, ["serve"], env=env).stderr


def test_what_kubernetes_sets_for_services_is_no_misspelt_setting() -> None:
    links = {
        "ROLLBACK_BOT_SERVICE_HOST": "10.0.0.1", "ROLLBACK_BOT_SERVICE_PORT_HTTP": "8090",
        "ROLLBACK_BOT_PORT": "tcp://10.0.0.1:8090", "ROLLBACK_BOT_PORT_8090_TCP_ADDR": "10.0.0.1",
        "ROLLBACK_OWN": "s", "ROLLBACK_REDACT": "ROLLBACK_OWN", "rollback_tick": "1", "OTHER": "",
    }  # fmt: skip
    assert strange(links) == []
    assert strange(links | {"ROLLBACK_ZZZ": ""}) == ["ROLLBACK_ZZZ is no setting"]


def test_the_port_that_kubernetes_sets_for_a_service_named_rollback_is_told_as_such(house: House) -> None:
    env = house.env() | {"ROLLBACK_PORT": "tcp://10.0.0.1:8090"}
    assert "enableServiceLinks: false" in CliRunner().invoke(root, ["serve"], env=env).stderr


def test_an_empty_variable_counts_as_left_out(house: House) -> None:
    env = house.env() | {"ROLLBACK_PLANS": "", "ROLLBACK_SLACK": "", "ROLLBACK_TICK": "", "ROLLBACK_PAGE_KEY": ""}
    found = CliRunner().invoke(root, ["doctor"], env=env).stdout
    assert "Slack off" in found and "pager: off" in found


def test_serving_where_somebody_listens_already_says_which_settings_change_that(house: House) -> None:
    with socket.create_server(("127.0.0.1", house.port)):
        found = house.say("", "serve")
    assert found.exit_code == Code.USAGE
    assert f"Cannot listen on 127.0.0.1:{house.port}" in found.stderr and "ROLLBACK_PORT" in found.stderr


def test_a_second_bot_on_one_sqlite_file_is_refused(bot: Running) -> None:
    found = bot.house.say("", "serve")
    assert found.exit_code == Code.REFUSED
    assert "another bot works on this database" in found.stderr


def test_lint_names_every_mistake_with_its_place_and_guess(house: House) -> None:
    assert house.say("", "plan", "lint").stdout == "No mistakes.\n"
    bad = house.folder / "bad.yaml"
    bad.write_text(PLAN.replace("service.quiesce", "service.quiese").replace("approver: 1", "aprover: 1"))
    found = house.say("", "plan", "lint", str(bad), "standard")
    assert found.exit_code == Code.USAGE
    assert f"{bad}:8:" in found.stderr and "did you mean 'service.quiesce'?" in found.stderr
    assert "did you mean 'approver'?" in found.stderr
    read = json.loads(house.say("", "plan", "lint", str(bad), "--json").stdout)
    assert len(read["error"]["faults"]) == 2
    nothing = house.say("", "plan", "lint", "standrad")
    assert nothing.exit_code == Code.USAGE and "standard" in nothing.stderr


def test_lint_refuses_a_gate_that_nobody_could_pass_whoever_asks(house: House) -> None:
    two = house.folder / "two.yaml"
    two.write_text(PLAN.replace("approver: 1", "dba: 2"))
    assert "found 1 of 2 dba" in house.say("", "plan", "lint", str(two)).stderr


@pytest.mark.parametrize("words", [["lint"], ["lint", "standard"], ["preview", "standard"]])
def test_without_a_catalogue_no_plan_is_called_good(house: House, words: list[str]) -> None:
    (house.folder / "rollback.yaml").rename(house.folder / "elsewhere.yaml")
    found = house.say("", "plan", *words)
    assert found.exit_code == Code.USAGE
    assert "rollback.yaml:1:1: there is no catalogue here; ROLLBACK_CATALOGUE says where it is" in found.stderr


def test_a_folder_of_plans_that_is_not_there_is_told_by_all_who_read_plans(house: House) -> None:
    for words in (["plan", "lint"], ["serve"], ["doctor"]):
        found = CliRunner().invoke(root, words, env=house.env() | {"ROLLBACK_PLANS": "nowhere"})
        assert found.exit_code == (Code.UNWELL if words == ["doctor"] else Code.USAGE)
        assert "nowhere:1:1: is no folder of plans; ROLLBACK_PLANS names it" in found.output


def test_a_plan_that_the_catalogue_names_and_is_not_there_is_told_with_its_place_and_a_guess(house: House) -> None:
    file = house.folder / "rollback.yaml"
    file.write_text(file.read_text().replace("floor: 2.3.0", "plan: standrad"))
    for words in (["plan", "lint"], ["serve"], ["doctor"]):
        found = house.say("", *words)
        assert found.exit_code == (Code.UNWELL if words == ["doctor"] else Code.USAGE)
        assert "services.shop.plan: no plan is named 'standrad'; did you mean 'standard'?" in found.output


def test_a_target_that_is_not_there_is_told_by_lint_doctor_serve_and_preview(house: House) -> None:
    plan = house.folder / "plans" / "standard.yaml"
    plan.write_text(plan.read_text().replace("{target: api, release", "{target: apo, release", 1))
    told = (
        f"{plan}:16:22: tracks.backend[1].with.target: 'apo' is not in the catalogue as http target of service 'shop'"
    )
    for words in (["plan", "lint"], ["plan", "preview", "standard"]):
        found = house.say("", *words)
        assert found.exit_code == Code.USAGE and f"{told}, which has api; did you mean 'api'?" in found.stderr
    assert told in house.say("", "doctor").stdout
    with socket.create_server(("127.0.0.1", house.port)):
        assert told in house.say("", "serve").stderr
    running = Running(house)
    try:
        assert told in house.say("ana", "preview", "shop").stderr
        assert told in house.say("ana", "rollback", "shop", "because", "checkout fails").stderr
    finally:
        running.stop()


def test_a_plan_is_held_to_the_targets_of_each_service_that_follows_it_and_of_no_other(house: House) -> None:
    file, own = house.folder / "rollback.yaml", house.folder / "plans" / "own.yaml"
    own.write_text(PLAN.replace("target: api", "target: site").replace("name: standard", "name: own"))
    assert "'site' is not in the catalogue" in house.say("", "plan", "lint", "own").stderr
    file.write_text(file.read_text().replace("other: {targets: {api:", "other: {plan: own, targets: {site:"))
    assert house.say("", "plan", "lint").stdout == "No mistakes.\n"
    file.write_text(file.read_text().replace("plan: own, ", ""))
    assert "http target of service 'other', which has site" in house.say("", "plan", "lint").stderr


def test_a_plan_is_shown_in_its_order_with_who_is_asked(house: House) -> None:
    found = house.say("", "plan", "preview", "standard", "--service", "shop").stdout.splitlines()
    assert found[0].startswith("Plan standard (sha256:")
    assert "  2. Go read-only (quiesce): service.quiesce; backend; after start; temporary" in found
    assert "Decision backend: an approver; frees quiesce, switch" in found
    steps = json.loads(house.say("", "plan", "preview", "standard", "--json").stdout)["steps"]
    assert [s["step"] for s in steps] == ["start", "quiesce", "switch", "resume", "serves"]
    assert house.say("", "plan", "preview", "standard", "--service", "shp").exit_code == Code.USAGE


def test_schemas_are_printed_for_editors() -> None:
    for words in (["plan", "schema"], ["plan", "schema", "--catalogue"]):
        for more in ([], ["--json"]):
            found = json.loads(CliRunner().invoke(root, [*words, *more]).stdout)
            assert found["$schema"].startswith("https://json-schema.org/")


def test_releases_are_registered_judged_and_listed(bot: Running) -> None:
    house = bot.house
    image = "shop-api=registry.example/shop-api@sha256:" + "a" * 64
    record = ("release", "record", "other", "1.0.0", "--commit", "abc", "--image", image, "--serving-since", "2h")
    assert house.say("eve", *record).exit_code == Code.REFUSED
    assert house.say("ana", *record).stdout == "other 1.0.0 is registered.\n"
    assert "registered before" in house.say("ana", *record).stdout
    other = house.say("ana", "release", "record", "other", "1.0.0", "--commit", "def")
    assert other.exit_code == Code.REFUSED and "commit: registered abc, sent def" in other.stderr
    unpinned = house.say("ana", "release", "record", "other", "1.1.0", "--image", "api=repo:tag")
    assert unpinned.exit_code == Code.USAGE and "not pinned" in unpinned.stderr

    assert house.say("ana", "release", "ban", "shop", "2.4.0").exit_code == Code.USAGE
    assert "banned (INC-4188)" in house.say("ana", "release", "ban", "shop", "2.4.0", "because", "INC-4188").stdout
    listed = house.json("eve", "release", "list", "shop")
    assert listed["best"] == "2.3.9"
    assert [r["version"] for r in listed["releases"] if r["serving"]] == ["2.4.1"]
    nope = house.say("ana", "rollback", "shop", "to", "2.4.0", "because", "checkout fails")
    assert nope.exit_code == Code.REFUSED and "INC-4188" in nope.stderr
    assert house.say("ana", "release", "lift", "shop", "2.4.0", "because", "fixed").exit_code == 0
    assert house.say("ana", "release", "stable", "shop", "2.4.0").exit_code == 0
    assert house.say("ana", "release", "bad", "shop", "2.4.1", "--reason", "leaks").exit_code == 0
    assert house.say("ana", "release", "serving", "shop", "2.4.0", "--at", "5min").exit_code == 0
    assert house.say("ana", "release", "serving", "shop", "9.9.9").exit_code == Code.REFUSED
    assert "2.4.0            stable, served" in house.say("eve", "release", "list", "shop").stdout


def test_a_release_can_be_registered_from_a_file(bot: Running) -> None:
    file = bot.house.folder / "release.json"
    file.write_text(json.dumps({"service": "other", "version": "3.0", "schema": "0042"}))
    assert bot.house.json("ana", "release", "record", "--file", str(file))["release"]["schema"] == "0042"
    file.write_text("[]")
    assert bot.house.say("ana", "release", "record", "--file", str(file)).exit_code == Code.USAGE


def test_another_release_is_taken_on_by_version_only_and_from_the_ledger(bot: Running) -> None:
    house = bot.house
    run = str(house.json("ana", "rollback", "shop", "because", "checkout", "fails")["run"])
    assert house.say("ana", "retarget", run, "9.9.9", "because", "try it").exit_code == Code.REFUSED
    assert "the one to be removed" in house.say("ana", "retarget", run, "2.4.1", "because", "try it").stderr
    proposed = house.say("ana", "retarget", run, "2.3.9", "because", "2.4.0 is bad too").stdout
    proposal = proposed.split("`agree ")[1].split("`")[0]
    assert house.say("cho", "agree", run, proposal).exit_code == 0
    assert "2.4.1 → 2.3.9" in house.say("eve", "show").stdout
    assert asyncio.run(target(house, run)) == "2.3.9"


async def target(house: House, run: str) -> str:
    """Version and content that the record names."""
    async with wiring.offline(house.settings) as bot:
        found = (await bot.store.load(run)).target
        assert found is not None and found.images["shop-api"].endswith("0" * 61)
        return found.version


def test_no_tables_are_taken_from_under_a_bot(bot: Running) -> None:
    refused = bot.house.say("", "db", "downgrade", "base", "--yes")
    assert refused.exit_code == Code.REFUSED and "another bot works on this database" in refused.stderr
    assert bot.house.say("ana", "whoami").exit_code == 0


def test_nor_on_postgresql(tmp_path: Path, pg_database: str) -> None:
    house = House(tmp_path, "http://127.0.0.1:1", database=pg_database)
    assert house.say("", "db", "downgrade", "base", "--yes").exit_code == 0  # nothing there, nobody on it
    assert house.say("", "db", "upgrade").exit_code == 0
    lease = RowLease(pg_database)
    try:
        refused = house.say("", "db", "downgrade", "base", "--yes")
        assert refused.exit_code == Code.REFUSED and "1 bot(s) are alive" in refused.stderr
    finally:
        lease.close()
    assert house.say("", "db", "downgrade", "base", "--yes").exit_code == 0


def test_the_files_of_a_database_are_the_bots_alone(bot: Running) -> None:
    found = {p.name: stat.S_IMODE(p.stat().st_mode) for p in bot.house.folder.glob("bot.*")}
    assert {"bot.db", "bot.db-wal", "bot.db.lock", "bot.dbos.db"} <= found.keys()
    assert set(found.values()) == {0o600}, found
