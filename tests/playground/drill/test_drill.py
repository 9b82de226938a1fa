"""A drill: the team's catalogue over the shop's world, people who are acted, and what it says at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from bot.catalogue import load_catalogue
from bot.cli import root
from bot.cli.drilling import members
from bot.playground.drill.actors import _barred, _one_a_choice, _roles
from bot.playground.drill.play import shortened, times
from bot.playground.drill.world import Member, Team, cast, catalogue, holders, unplayed
from bot.playground.workspace import App
from bot.policy import Person

PAY: dict[str, Any] = {
    "title": "Payments",
    "channels": {"incident": ["#inc-pay"], "stakeholders": ["#status"]},
    "limits": {"rows": 500},
    "targets": {
        "door": {"http": "https://pay.example", "health": "/health"},
        "eu": {"kubernetes": "prod-eu", "namespace": "pay"},
        "us": {"kubernetes": "prod-us", "namespace": "pay", "wave": 2},
        "main": {"postgres": "db.example:5432/pay", "login": "PAY_DB"},
        "other": {"postgres": "db.example:5432/other", "login": "PAY_DB"},
        "dumps": {"backups": "/backups", "of": "main"},
    },
}
SHOP: dict[str, Any] = {
    "targets": {
        "api": {"http": "http://127.0.0.1:1"},
        "api-eu": {"http": "http://127.0.0.1:1", "health": "/healthz", "cluster": "eu"},
        "eu": {"kubernetes": "eu", "namespace": "shop"},
        "us": {"kubernetes": "us", "namespace": "shop"},
        "db": {"postgres": "127.0.0.1:2/shop", "login": "SHOP_DB_LOGIN"},
        "cache": {"redis": "127.0.0.1:3/0", "database": "db"},
        "backups": {"backups": "/shop", "of": "db"},
    },
    "journeys": {"shelf": {"target": "api", "steps": [{"get": "/"}]}},
}


def team(told: dict[str, Any] = PAY, *people: Member) -> Team:
    found = people or (Member("ana", frozenset({"commander"})), Member("cho", frozenset({"approver"})))
    return Team("pay", told, "standard", {}, {"commander": False, "approver": True, "dba": False}, found)


def test_kinds_of_targets_that_the_team_has_are_played_under_its_names_and_no_others() -> None:
    service = catalogue(team(), SHOP, {"www": {"site": "s3://b/www"}})["services"]["pay"]
    assert {*service["targets"]} == {"api", "api-eu", "eu", "us", "main", "dumps", "door"}
    assert service["targets"]["main"]["postgres"] == "127.0.0.1:2/shop"
    assert service["targets"]["dumps"]["of"] == "main"
    assert service["targets"]["door"] == {"http": "http://127.0.0.1:1"}
    assert service["limits"] == {"rows": 500} and service["channels"]["incident"] == ["#inc-pay"]
    assert "journeys" not in service


def test_what_it_makes_is_a_catalogue_that_the_bot_reads() -> None:
    told = {**PAY, "targets": {**PAY["targets"], "cache": {"redis": "r:1/0"}}, "journeys": {}}
    del told["targets"]["main"], told["targets"]["other"], told["targets"]["dumps"]
    found = catalogue(team(told), {k: v for k, v in SHOP.items() if k != "journeys"} | {"journeys": {}}, {})
    read = load_catalogue(yaml.safe_dump(found), "rollback.yaml").services["pay"]
    assert {"redis", "kubernetes", "http"} <= {*read.kinds} and "postgres" not in read.kinds


def test_what_has_no_double_is_named() -> None:
    assert unplayed(team(), watched=False) == ["other: one postgres is played"]
    more = {**PAY["targets"], **{f"c{n}": {"kubernetes": f"c{n}"} for n in range(4)}, "m": {"prometheus": "http://p"}}
    assert unplayed(team({**PAY, "targets": more}), watched=False) == [
        "clusters beyond 4: c2, c3", "other: one postgres is played",
        "numbers and alerts: apt-get install prometheus prometheus-alertmanager",
    ]  # fmt: skip


def test_people_hold_their_roles_in_groups_and_stand_ins_hold_those_of_which_nobody_is_known() -> None:
    text = (
        "services: {pay: {}}\nroles: {commander: {people: [U1]}, approver: {groups: ['@a']}, dba: {people: [U2]}}\n"
        "people: {U1: Ana Álves, U2: x}"
    )
    read = load_catalogue(text, "rollback.yaml")
    known = [Person("U1", "Ana Álves", frozenset({"commander"})), Person("U2", "x", frozenset({"dba"}), kind="guest")]
    found = members(read, known)
    assert [(m.name, [*m.roles], m.stand_in) for m in found] == [
        ("ana-lves", ["commander"], False), ("approver-1", ["approver"], True), ("approver-2", ["approver"], True),
    ]  # fmt: skip
    played = team(PAY, *found)
    groups = {g.handle: len(g.users) for g in cast(played, App()).groups}
    assert (groups["commander"], groups["approver"], groups["dba"]) == (1, 2, 0)
    assert holders(played, "approver", ["approver-1"])[0].name == "approver-2"


def test_who_is_asked_and_who_is_barred_is_read_from_what_the_bot_shows() -> None:
    assert _roles(team(), "a dba and 2 approvers, not @commander-1") == ["approver", "dba"]
    assert _barred("an approver, not @ana or @ben") == ["@ana", "@ben"]
    ways = [
        {"name": "way.keep", "number": 2, "state": "open", "impossible": "never", "refused": ""},
        {"name": "way.down", "number": 2, "state": "open", "impossible": "", "refused": ""},
        {"name": "way.restore", "number": 2, "state": "open", "impossible": "", "refused": ""},
        {"name": "start", "number": 1, "state": "decided", "impossible": "", "refused": ""},
    ]
    assert [d["name"] for d in _one_a_choice(ways)] == ["way.down"]


def test_looking_ahead_of_its_turn_is_no_work_of_a_step() -> None:
    rows = [
        ("started", 0, 1), ("started", 50_000_000, 2), ("apply started", 51_000_000, 2), ("applied", 54_500_000, 2),
    ]  # fmt: skip
    record = [{"kind": kind, "at": at, "body": {"step": "deploy", "n": n}} for kind, at, n in rows]
    assert times(record) == {"deploy": 3.5}


def test_a_plan_of_the_teams_own_is_watched_for_seconds_only() -> None:
    assert "15m" not in shortened("watch: {for: 15m, every: 30s, passes: 20}")
    assert shortened("timeout: 10m") == "timeout: 10m"


def drilled(folder: Path, *words: str) -> Result:
    (folder / "rollback.yaml").write_text(
        yaml.safe_dump(
            {
                "services": {"pay": {**PAY, "targets": {k: PAY["targets"][k] for k in ("door", "eu")}}},
                "roles": {
                    "commander": {"people": ["U1", "U2"]}, "approver": {"people": ["U1", "U3"]},
                },
                "people": {"U1": "ana", "U2": "dee", "U3": "cho"},
            }
        )
    )  # fmt: skip
    env = {"ROLLBACK_CATALOGUE": str(folder / "rollback.yaml"), "ROLLBACK_SLACK": "off"}
    return CliRunner().invoke(root, ["drill", "--pace", "0", *words], env=env)


def test_who_is_away_must_be_somebody(tmp_path: Path) -> None:
    found = drilled(tmp_path, "--absent", "zoe")
    assert found.exit_code == 2 and "Nobody of the catalogue is called 'zoe'; there are ana, dee, cho." in found.output
    found = drilled(tmp_path, "no-such-plan")
    assert found.exit_code == 2 and "There is no plan 'no-such-plan', nor such a file;" in found.output


def test_a_drill_ends_with_what_was_slow_who_was_missing_and_the_gate_that_nobody_could_pass(tmp_path: Path) -> None:
    found = drilled(tmp_path, "--absent", "cho")
    said = found.output
    assert found.exit_code == 1 and "\nverified after " in said, said
    assert "breaks the glass of 'Bring the backend back'" in said
    assert "== What was slow ==" in said and " s  waiting for people: Start rollback" in said
    assert "== Who was missing ==\napprover: ana alone\n" in said
    gates = said.partition("== Gates that nobody could pass ==\n")[2]
    assert gates.startswith("Bring the backend back: no other approver: @ana asked for it, @cho does not answer\n"), (
        said
    )
