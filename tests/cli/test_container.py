"""Dockerfile, docker-compose.yml, deploy/ and docs/install.md say nothing that the program would not understand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import click
import pytest
import yaml

from bot.cli import root
from bot.settings import Settings, read_settings
from bot.store.database import parse_url
from tests.fixtures.whole_bot import Running

HOUSE = Path(__file__).parent.parent.parent
PREFIX = "ROLLBACK_"


def instructions() -> Mapping[str, list[str]]:
    """Of the Dockerfile: word -> what is said with it, in order."""
    text = re.sub(r"\\\n\s*", " ", (HOUSE / "Dockerfile").read_text())
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word.isupper():
            found.setdefault(word, []).append(rest.strip())
    return found


def image_env() -> Mapping[str, str]:
    """What the image sets."""
    return dict(pair.split("=", 1) for line in instructions()["ENV"] for pair in line.split())


def compose() -> Mapping[str, Any]:
    """docker-compose.yml."""
    read: Mapping[str, Any] = yaml.safe_load((HOUSE / "docker-compose.yml").read_text())
    return read


def bots() -> Mapping[str, Mapping[str, Any]]:
    """The services that run our image."""
    return {n: s for n, s in compose()["services"].items() if s.get("build") == "."}


def environment(service: Mapping[str, Any], given: Mapping[str, str]) -> Mapping[str, str]:
    """What compose gives a container: `${NAME:?text}` from what is given, no value means passed on."""
    found = dict(image_env())
    for name, value in service["environment"].items():
        if value is not None:
            found[name] = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda m: given[m[1]], str(value))
        elif name in given:
            found[name] = given[name]
    return found


def understood(words: Sequence[str]) -> click.Command:
    """The command that these words are, with its options parsed; click.UsageError."""
    command: click.Command = root
    context, left = click.Context(root, info_name="rollback-bot"), list(words)
    while isinstance(command, click.Group):
        name, found, left = command.resolve_command(context, left)
        assert found is not None
        command = found
        if not isinstance(command, click.Group):
            command.make_context(name, left, parent=context)
    return command


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where it stands -> the words of each command."""
    assert json.loads(instructions()["ENTRYPOINT"][-1]) == ["rollback-bot"]
    yield "Dockerfile", json.loads(instructions()["CMD"][-1])
    for name, service in bots().items():
        yield name, service["command"]


@pytest.mark.parametrize(("where", "words"), list(commands()), ids=lambda x: x if isinstance(x, str) else "")
def test_each_command_is_one_of_the_programs(where: str, words: list[str]) -> None:
    assert understood(words).name in ("serve", "upgrade")


def test_the_parser_used_here_refuses_what_the_program_refuses() -> None:
    for words in (["serve", "--host", "0.0.0.0"], ["srve"], ["db", "upgrad"], ["db", "upgrade", "head", "more"]):
        with pytest.raises(click.UsageError):
            understood(words)


@pytest.mark.parametrize("name", list(bots()))
def test_each_variable_is_a_setting_and_together_they_make_good_settings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"POSTGRES_PASSWORD": "p@ss/word", "ROLLBACK_SLACK": "", "ROLLBACK_SLACK_APP_TOKEN": ""}
    env = environment(bots()[name], given)
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert {v for v in env if v.startswith(PREFIX)} <= known
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    settings = read_settings()
    assert settings.slack == "off" and settings.slack_app_token is None
    database, postgres = parse_url(settings.database_url), compose()["services"]["postgres"]
    assert (database.host, database.username) == ("postgres", postgres["environment"]["POSTGRES_USER"])
    assert database.database == postgres["environment"]["POSTGRES_DB"]
    assert env["PGPASSWORD"] == "p@ss/word" and "PGPASSWORD" in settings.redact.split(",")


def test_every_secret_reaches_the_bot_by_its_own_name() -> None:
    secret = {PREFIX + n.upper() for n, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)}
    for service in bots().values():
        assert secret - {"ROLLBACK_TOKEN"} <= set(service["environment"])  # that one is a person's


def test_the_database_is_upgraded_before_the_bot_starts() -> None:
    before = bots()["bot-2"]["depends_on"]
    assert before["upgrade"] == {"condition": "service_completed_successfully"}
    assert understood(bots()["upgrade"]["command"]).name == "upgrade"


def test_the_catalogue_lies_where_the_bot_reads_it_and_is_never_made_up() -> None:
    for service in bots().values():
        (mount,) = [v for v in service["volumes"] if isinstance(v, dict)]
        assert Path(image_env()["ROLLBACK_CATALOGUE"]).parent == Path(mount["target"])
        assert mount["bind"] == {"create_host_path": False} and mount["read_only"]


def test_files_lie_on_a_volume_that_the_bots_user_owns() -> None:
    home = re.search(r"--home-dir (\S+) --create-home", "".join(instructions()["RUN"]))
    assert home is not None
    for service in bots().values():
        assert f"files:{home[1]}" in service["volumes"]
        assert service["environment"]["ROLLBACK_BLOBS_URL"].startswith(f"file:{home[1]}/")


def test_the_port_is_the_one_that_the_bot_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in image_env().items():
        monkeypatch.setenv(variable, value)
    settings = read_settings()
    assert settings.host == "0.0.0.0"
    assert instructions()["EXPOSE"] == [str(settings.port)]
    assert urlsplit(settings.url).port == settings.port
    assert [bots()[n]["ports"] for n in ("bot", "bot-2")] == [
        [f"127.0.0.1:{host}:{settings.port}"] for host in (settings.port, settings.port + 1)
    ]


def test_two_bots_work_on_one_log_and_neither_can_write_its_image() -> None:
    one, two = bots()["bot"], bots()["bot-2"]
    assert {**one, "ports": []} == {**two, "ports": []} and one["command"] == ["serve"]
    for service in bots().values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["tmpfs"] == ["/tmp"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_health_check_is_passed_by_a_bot_that_runs_and_by_no_other(bot: Running) -> None:
    words = json.loads(instructions()["HEALTHCHECK"][-1].partition("CMD ")[2])
    code = words[-1].replace("127.0.0.1:8090", f"127.0.0.1:{bot.house.port}")
    assert words[:2] == ["python", "-c"] and code != words[-1]

    def asked() -> int:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30).returncode

    assert asked() == 0
    bot.stop()
    assert asked() == 1


# -- docs/install.md ---------------------------------------------------------------------------------------------------

INSTALL = (HOUSE / "docs" / "install.md").read_text(encoding="utf-8")
DOCS = [INSTALL, (HOUSE / "docs" / "backup.md").read_text(encoding="utf-8")]


def fenced(text: str, kind: str) -> list[str]:
    """The blocks of one kind."""
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_each_command_that_a_page_names_is_one_of_the_programs() -> None:
    lines = [line for text in DOCS for block in fenced(text, "(?:sh|ini)") for line in block.splitlines()]
    typed = [re.search(r"(?:bin/| )rollback-bot((?: [a-z]+)+)\s*$", line.partition("  #")[0]) for line in lines]
    found = [m[1].split() for m in typed if m and not m[1].startswith(" rollback-bot")]
    assert len(found) >= 6
    for words in found:
        assert understood(words).name == words[-1] or understood(words).name in words


def test_each_variable_that_a_page_names_is_a_setting() -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    for text in DOCS:
        named = {n.rstrip("_") for n in re.findall(r"ROLLBACK_[A-Z_]+", text)}
        assert named - {"ROLLBACK_SLACK"} <= known


def test_the_manifests_mount_what_the_image_reads_and_probe_what_the_bot_answers(
    monkeypatch: pytest.MonkeyPatch, bot: Running
) -> None:
    files = (HOUSE / "deploy" / "kubernetes" / "bot").glob("*.yaml")
    by_kind = {m["kind"]: m for file in files for m in yaml.safe_load_all(file.read_text(encoding="utf-8"))}
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [understood(c["args"]).name for c in (*pod["initContainers"], container)] == ["upgrade", "serve"]
    env = {**image_env(), "ROLLBACK_DATABASE_URL": "postgresql://db/rollback"}
    for name, value in {**env, **{e["name"]: e["value"] for e in container["env"]}}.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    mounted = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert str(settings.catalogue.parent) == mounted["config"] and settings.blobs_url == f"file:{mounted['files']}"
    assert {v["name"] for v in pod["volumes"]} == set(mounted)
    assert container["ports"] == [{"name": "http", "containerPort": settings.port}]
    assert by_kind["Service"]["spec"]["ports"] == [{"name": "http", "port": settings.port, "targetPort": "http"}]
    (policy,) = by_kind["NetworkPolicy"]["spec"]["ingress"]
    assert policy["ports"] == [{"protocol": "TCP", "port": settings.port}]
    for probe in (container["startupProbe"], container["livenessProbe"], container["readinessProbe"]):
        assert probe["httpGet"]["port"] == "http"
        with urlopen(bot.house.url + probe["httpGet"]["path"], timeout=30) as answer:
            assert answer.status == 200
