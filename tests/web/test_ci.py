"""What pipelines ask of the bot: over real sockets, and by the very steps that docs/ci.md gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from pydantic import SecretStr, TypeAdapter

from bot.catalogue import Release
from bot.opening.rollbacks import Wanted
from bot.policy import Actor
from bot.releases.register import ReleasePayload
from bot.run import events as ev
from bot.run.state import Run
from bot.settings import Settings
from bot.web.incoming import Malformed, read_json
from tests.fixtures.whole_bot import SECRET, House, Running, stocked

TOKEN = "token-of-all-pipelines"
PLAN = """\
name: frozen
tracks:
  prepare:
    - {id: freeze, uses: deploys.freeze, with: {service: "${service.name}", admitted: "${run.admitted}"}}
    - {id: thaw, title: Lift the freeze, gate: {by: {commander: 1}, self_approval: true}}
    - {id: lift, undo: freeze}
"""
DOCS = Path(__file__).parents[2] / "docs" / "ci.md"


def digest(version: str) -> str:
    """As the house registers its releases."""
    return "sha256:" + version.replace(".", "").ljust(64, "0")


@dataclass
class Works(House):
    """A house with pipelines."""

    @property
    def settings(self) -> Settings:
        return super().settings.model_copy(update={"ci_token": SecretStr(TOKEN)})


@dataclass
class Ci:
    """A bot, and pipelines that ask it."""

    running: Running

    def ask(self, method: str, path: str, token: str = TOKEN, body: Any = None) -> tuple[int, Any]:
        async def asked() -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {token}"}
            url = self.running.house.url + path
            async with (
                aiohttp.ClientSession() as session,
                session.request(method, url, json=body, headers=headers) as a,
            ):
                return a.status, await a.json()

        return self.running.call(asked())

    def get(self, path: str) -> Any:
        status, found = self.ask("GET", path)
        assert status == 200, found
        return found

    def freeze(self) -> Run:
        """A run that has frozen the shop."""
        bot = self.running.bot

        async def opened() -> Run:
            person = await bot.people.person("ana")
            run = await bot.rollbacks.open(Wanted("shop", "checkout fails", plan="frozen"), person, "test")
            assert isinstance(run, Run), run
            return run

        run = self.running.call(opened())
        self.until(lambda: self.get("/v1/freezes/shop")["state"] == "locked" and self.run(run.id).steps["freeze"].end)
        return run

    def run(self, id: str) -> Run:
        return self.running.call(self.running.bot.store.load(id))

    def until(self, holds: Any) -> None:
        end = time.monotonic() + 15
        while not holds():
            assert time.monotonic() < end, "it never holds"
            time.sleep(0.02)

    def ban(self, version: str, by: str = "ana") -> None:
        self.running.call(self.running.bot.releases.ban("shop", version, "payments fail", by))

    def register(self, version: str) -> None:
        self.running.call(
            self.running.bot.releases.record(
                "shop", Release(version, images={"api": f"registry.example/shop-api@{digest(version)}"}), by="ci"
            )
        )


@pytest.fixture
def ci(tmp_path: Path) -> Iterator[Ci]:
    house = Works(tmp_path, "http://127.0.0.1:9")
    (tmp_path / "plans" / "frozen.yaml").write_text(PLAN)
    running = Running(stocked(house))
    try:
        yield Ci(running)
    finally:
        running.stop()


def script(name: str) -> str:
    """The shell of one of the documented steps."""
    blocks = [yaml.safe_load(b.partition("```")[0]) for b in DOCS.read_text().split("```yaml\n")[1:]]
    github, gitlab = blocks
    return str(github[0]["run"] if name == "github" else gitlab["may-deploy"]["script"][0])


def step(ci: Ci, name: str, version: str, **env: str) -> tuple[bool, str]:
    """Whether the step lets the pipeline go on, and what its log says."""
    given = {
        "PATH": os.environ["PATH"], "ROLLBACK_URL": ci.running.house.url, "ROLLBACK_CI_TOKEN": TOKEN, "SERVICE": "shop",
        "DIGEST": f"registry.example/shop-api@{digest(version)}", "WHO": "octocat", **env,
    }  # fmt: skip
    shell = ["bash", "-e"] if name == "github" else ["sh", "-e"]
    done = subprocess.run([*shell, "-c", script(name)], env=given, capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stdout + done.stderr


STEPS = pytest.mark.parametrize("name", ["github", "gitlab"])


# -- the documented steps ----------------------------------------------------------------------------------------------


@STEPS
def test_the_step_passes_while_the_service_is_open_and_stops_what_is_banned(ci: Ci, name: str) -> None:
    assert step(ci, name, "2.4.2")[0]
    ci.ban("2.4.1")
    went_on, said = step(ci, name, "2.4.1")
    assert not went_on and "shop 2.4.1 is banned: payments fail" in said
    assert step(ci, name, "2.4.2")[0]


@STEPS
def test_the_step_stops_while_the_service_is_frozen_unless_a_reason_is_given_and_recorded(ci: Ci, name: str) -> None:
    run = ci.freeze()
    went_on, said = step(ci, name, "2.4.2")
    assert not went_on and f"shop is frozen by {run.id} (@ana): checkout fails" in said
    went_on, said = step(ci, name, "2.4.2", OVERRIDE='the "certificate"\nexpires\\ today')
    assert went_on and f"Recorded in {run.id}" in said
    rows = ci.running.call(ci.running.bot.store.events(run.id))
    (event,) = [e for r in rows if isinstance(e := ev.decode(r.kind, r.body), ev.FreezeOverridden)]
    assert (event.by.name, event.reason) == ("octocat", "the 'certificate' expires' today")
    assert event.deployed == digest("2.4.2")


@STEPS
def test_the_step_fails_closed_where_nobody_answers_or_knows_it(ci: Ci, name: str) -> None:
    assert not step(ci, name, "2.4.2", SERVICE="shopp")[0]
    assert not step(ci, name, "2.4.2", ROLLBACK_CI_TOKEN="wrong")[0]
    assert not step(ci, name, "2.4.2", DIGEST="latest")[0]
    ci.running.stop()
    went_on, said = step(ci, name, "2.4.2")
    assert not went_on and "The rollback bot gave no answer." in said
    went_on, said = step(ci, name, "2.4.2", OVERRIDE="bot is down")
    assert went_on and "The bot was not told of it: octocat deploys because bot is down" in said


def test_both_steps_are_one() -> None:
    assert script("github") == script("gitlab")


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_a_commander_freezes_and_thaws_by_hand_and_nobody_else_does(ci: Ci) -> None:
    house = ci.running.house
    no = house.say("eve", "freeze", "shop", "because", "we move house")
    assert no.exit_code == 1 and "this needs a commander" in no.output
    assert "Which service, and why?" in house.say("ana", "freeze", "shop").output
    run = house.json("ana", "freeze", "shop", "because", "we move house")["run"]
    ci.until(lambda: ci.get("/v1/freezes/shop")["state"] == "locked" and ci.run(run).steps["freeze"].end)
    assert ci.get("/v1/freezes/shop?version=2.4.2")["reason"] == f"shop is frozen by {run} (@ana): we move house"
    assert f"frozen already, by {run}" in house.say("dee", "freeze", "shop", "because", "me too").output
    assert house.json("dee", "thaw", "shop", "because", "we have moved")["run"] == run
    ci.until(lambda: ci.run(run).closed)
    assert ci.get("/v1/freezes/shop")["state"] == "open"
    assert "shop is not frozen" in house.say("ana", "thaw", "shop", "because", "again").output
    assert (closed := ci.run(run).closed) is not None and closed.outcome == "closed"


def test_a_rollback_lifts_its_own_freeze(ci: Ci) -> None:
    run = ci.freeze()
    said = ci.running.house.say("ana", "thaw", "shop", "because", "I want to deploy").output
    assert f"{run.id} is open and lifts its freeze itself" in said


def test_the_token_of_pipelines_neither_freezes_nor_thaws(ci: Ci) -> None:
    for what in ("freeze", "thaw"):
        assert ci.ask("POST", f"/v1/freezes/shop/{what}", body={"reason": "as CI"})[0] == 401


# -- the endpoint ------------------------------------------------------------------------------------------------------


def test_it_says_who_froze_it_why_and_since_when_and_what_is_banned(ci: Ci) -> None:
    ci.ban("2.4.1")
    opened = ci.get("/v1/freezes/shop")
    assert (opened["state"], opened["run"], "allowed" in opened) == ("open", "", False)
    run = ci.freeze()
    found = ci.get("/v1/freezes/shop")
    assert {k: found[k] for k in ("service", "state", "run", "who", "why", "admitted")} == {
        "service": "shop", "state": "locked", "run": run.id, "who": "ana", "why": "checkout fails", "admitted": [],
    }  # fmt: skip
    assert found["banned"] == [
        {"version": "2.4.1", "digests": [digest("2.4.1")], "reason": "payments fail", "by": "ana"}
    ]
    assert 0 <= ci.running.bot.clock() - found["since"] < 60
    assert ci.get("/v1/freezes/other")["state"] == "open"


def test_an_admitted_fix_passes_and_nothing_else_does(ci: Ci) -> None:
    run = ci.freeze()
    ci.register("2.4.2")
    release = ci.running.call(ci.running.bot.releases.get("shop", "2.4.2"))
    assert release is not None
    admitted = ev.FixAdmitted(release.release, "has the fix", Actor("ana", "ana", ("commander",)))
    assert ci.running.call(ci.running.bot.engine.submit(run.id, admitted)) is None
    assert ci.get(f"/v1/freezes/shop?digest={digest('2.4.2')}")["allowed"] is True
    assert ci.get("/v1/freezes/shop?version=2.4.2")["allowed"] is True
    assert ci.get(f"/v1/freezes/shop?digest={digest('2.4.2')}&digest={digest('2.4.3')}")["allowed"] is False


@pytest.mark.parametrize(
    ("query", "says"), [("digest=latest", "sha256:<64 hex digits>"), ("version=", None), ("digets=x", "not known here")]
)
def test_a_question_that_cannot_be_read_is_no_yes(ci: Ci, query: str, says: str | None) -> None:
    status, found = ci.ask("GET", f"/v1/freezes/shop?{query}")
    assert "allowed" not in found
    assert says is None or (status == 400 and says in found["text"])


def test_the_token_of_pipelines_opens_nothing_else(ci: Ci) -> None:
    for method, path in (("GET", "/v1/runs"), ("GET", "/v1/me"), ("POST", "/v1/releases"), ("POST", "/v1/rollbacks")):
        assert ci.ask(method, path, body={} if method == "POST" else None)[0] == 401
    assert ci.ask("GET", "/v1/freezes/shop", token="")[0] == 401
    assert ci.ask("GET", "/v1/freezes/shop", token=ci.running.house.tokens["eve"])[0] == 200


def test_an_override_without_a_reason_is_refused_and_one_without_a_freeze_goes_to_the_log(ci: Ci) -> None:
    path = "/v1/freezes/shop/overrides"
    assert ci.ask("POST", path, body={"reason": " "})[0] == 400
    status, found = ci.ask("POST", path, body={"reason": "banned, but needed", "version": "2.4.1"})
    assert (status, found["recorded"]) == (201, "the bot's log")


def test_overrides_are_limited_by_the_hour(ci: Ci, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.web.freezes.OVERRIDES", 2)
    answers = [ci.ask("POST", "/v1/freezes/shop/overrides", body={"reason": "needed"})[0] for _ in range(3)]
    assert answers == [201, 201, 429]
    assert ci.ask("POST", "/v1/freezes/other/overrides", body={"reason": "needed"})[0] == 201


# -- registering, as docs/releases.md says it --------------------------------------------------------------------------

RELEASES = DOCS.with_name("releases.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    """The first block of a kind."""
    return RELEASES.split(f"```{kind}\n")[1].split("```")[0]


@pytest.mark.parametrize("kind", ["sh", "python"])
def test_the_documented_signing_registers_the_documented_release(ci: Ci, tmp_path: Path, kind: str) -> None:
    (tmp_path / "release.json").write_text(block("json"))
    command = ["sh", "-e", "-c", block("sh")] if kind == "sh" else [sys.executable, "-c", block("python")]

    def sent(secret: str) -> tuple[int, str]:
        env = {"PATH": os.environ["PATH"], "ROLLBACK_URL": ci.running.house.url, "ROLLBACK_WEBHOOK_SECRET": secret}
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    code, said = sent(SECRET)
    assert code == 0 and json.loads(said)["new"] is True, said
    assert json.loads(sent(SECRET)[1])["new"] is False
    code, said = sent("another secret")
    assert code != 0 and "401" in said


def test_the_schema_takes_the_documented_release_and_refuses_what_the_bot_refuses() -> None:
    schema = json.loads(DOCS.with_name("release.schema.json").read_text())
    body = json.loads(block("json"))
    assert set(body) <= set(schema["properties"]) and set(schema["required"]) <= set(body)
    assert schema["additionalProperties"] is False and "schema" in schema["properties"]
    read_json(TypeAdapter(ReleasePayload), block("json").encode())
    with pytest.raises(Malformed, match="imagse: is not known here; did you mean 'images'"):
        read_json(TypeAdapter(ReleasePayload), json.dumps({**body, "imagse": {}}).encode())
