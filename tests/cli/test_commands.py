"""The commands as such: that every one there is can be typed, answers, and explains itself."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner

from bot.cli import root
from bot.cli.output import Code
from bot.cli.root import SECTIONS, URL, Remote
from bot.cli.steering import SAID, body
from bot.run import commands
from bot.run.answering import COMMANDS
from bot.run.declared import FIELDS, Declared
from bot.settings import Settings
from bot.words import Unclear
from tests.fixtures.whole_bot import Running, catalogue

KINDS: dict[Any, type[Any]] = {f.default: c for c in get_args(commands.Command) for f in fields(c) if f.name == "do"}
WITH_A_CARD = {"approve", "break-glass"}


def every(group: click.Group, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    """Each command with the words that lead to it."""
    found = []
    for name, c in group.commands.items():
        found += every(c, *path, name) if isinstance(c, click.Group) else [((*path, name), c)]
    return found


def test_every_command_of_a_run_can_be_typed_with_all_its_fields_and_its_own_help() -> None:
    assert {c.do for c in SAID} | WITH_A_CARD == KINDS.keys()
    for c in SAID:
        typed = root.commands[c.do]
        assert typed.help == c.help and c.help, c.do
        text = [] if c.text is None else [c.text.name]
        assert [*c.placed, *c.options, *text] == [f.name for f in c.fields], f"{c.do}: a field cannot be typed"
        usage = typed.collect_usage_pieces(click.Context(typed))[-1]
        assert all(FIELDS[name].word in usage for name in c.placed), usage
        assert ("because" in usage, "[because" in usage) == (bool(text), bool(text) and not c.text.needed)  # type: ignore[union-attr]


@pytest.mark.parametrize("c", SAID, ids=lambda c: c.do)
def test_what_is_typed_is_what_the_bot_reads(c: Declared) -> None:
    given = ["2.3.9" if w == "release" else "x" for w in c.placed]
    made = body(c, given, "because of it" if c.text else "", {o: "2h" if o == "until" else "@ben" for o in c.options})
    read = COMMANDS.validate_json(json.dumps(made), strict=True, extra="forbid")
    assert type(read) is KINDS[c.do]


def test_every_command_is_under_a_heading_of_the_help() -> None:
    assert sorted(" ".join(names for _, names in SECTIONS).split()) == sorted(root.commands)


@pytest.mark.parametrize(("words", "c"), every(root), ids=lambda x: " ".join(x) if isinstance(x, tuple) else "")
def test_every_command_explains_itself_and_takes_json(words: tuple[str, ...], c: click.Command) -> None:
    assert c.help
    assert all(p.help for p in c.params if isinstance(p, click.Option))
    assert {"json", "debug"} <= {p.name for p in c.params}
    by_option = CliRunner().invoke(root, [*words, "--help"], prog_name="rollback-bot")
    by_word = CliRunner().invoke(root, ["help", *words], prog_name="rollback-bot")
    assert by_option.exit_code == by_word.exit_code == 0
    assert by_option.stdout == by_word.stdout


def test_what_speaks_to_the_bot_says_how_to_reach_it_and_what_if_it_is_dead() -> None:
    assert Settings.model_fields["url"].default == URL
    remote = [c for _, c in every(root) if isinstance(c, Remote)]
    assert len(remote) > 30
    assert all({"url", "direct"} <= {p.name for p in c.params} for c in remote)


@pytest.mark.parametrize(
    ("typed", "guess"),
    [("aprove", "approve"), ("handover", "hand-over"), ("rollbak", "rollback"), ("breakglass", "break-glass")],
)
def test_a_mistyped_command_gets_a_guess(typed: str, guess: str) -> None:
    found = CliRunner().invoke(root, [typed, "x"], prog_name="rollback-bot")
    assert found.exit_code == Code.USAGE
    assert f"There is no command {typed!r}; did you mean {guess!r}?" in found.stderr
    nested = CliRunner().invoke(root, ["release", "serv"], prog_name="rollback-bot")
    assert "did you mean 'serving'?" in nested.stderr
    assert "`rollback-bot help` lists them" in CliRunner().invoke(root, ["qqq"], prog_name="rollback-bot").stderr


def test_the_help_lists_the_exit_codes() -> None:
    found = CliRunner().invoke(root, ["--help"]).stdout
    for code in Code:
        assert f"\n    {int(code):>3}  " in found


def test_help_is_there_at_once_and_loads_nothing_heavy() -> None:
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "bot.cli", "--help"], capture_output=True, text=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)  # it waits for nothing else
        loaded = {line.rsplit("|", 1)[-1].strip().partition(".")[0] for line in found.stderr.splitlines()}
        heavy = {"sqlalchemy", "dbos", "kubernetes", "pydantic", "aiohttp", "asyncio", "alembic", "boto3", "yaml"}
        assert not loaded & heavy
        assert "rollback-bot rollback shop" in found.stdout
    assert min(took) < 0.4


def test_plans_are_linted_without_loading_a_database_or_the_engine(tmp_path: Path) -> None:
    (tmp_path / "rollback.yaml").write_text(catalogue("http://127.0.0.1:1"))
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bot.cli", "plan", "lint"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    loaded = {line.rsplit("|", 1)[-1].strip().partition(".")[0] for line in found.stderr.splitlines()}
    assert not loaded & {"sqlalchemy", "dbos", "kubernetes", "aiohttp", "alembic", "boto3", "psycopg"}
    assert found.stdout == "No mistakes.\n"


def test_every_command_reaches_the_bot_and_is_answered_in_words_and_in_json(bot: Running) -> None:
    house = bot.house
    run = str(house.json("ana", "rollback", "shop", "because", "checkout", "fails")["run"])
    words: dict[str, tuple[str, ...]] = {
        "decision": ("start",), "step": ("quiesce",), "release": ("2.3.9",), "proposal": ("abc123",), "to": ("dee",),
        "part": ("us-1",),
    }  # fmt: skip
    for c in SAID:
        given = [w for f in c.placed for w in words[f]]
        said = {"to": "ben", "until": "2h", "impact": "paying fails", "workaround": "carts are kept"}
        options = [x for o in c.options for x in (f"--{o}", said[o])]
        typed = [c.do, run, *given, *options, *(["--reason", "as a test"] if c.text is not None else [])]
        if c.do in ("abort", "close"):
            continue
        plain = house.say("dee", *typed)
        assert plain.exit_code in (Code.DONE, Code.REFUSED), (typed, plain.output)
        assert plain.output.strip().endswith((".", "`).")), (typed, plain.output)
        found = house.say("dee", *typed, "--json")
        read = json.loads(found.stdout)
        assert read["text"] if found.exit_code == 0 else read["error"]["why"] and read["error"]["text"] in found.stderr
    for typed in (["show", run], ["status"], ["status", run], ["history"], ["whoami"], ["audit", "verify"],
                  ["audit", run, "verify"], ["release", "list", "shop"], ["preview", "shop"]):  # fmt: skip
        plain = house.say("eve", *typed)
        assert plain.exit_code == 0 and plain.stdout.strip(), (typed, plain.output)
        assert isinstance(house.json("eve", *typed), dict)
    for last in ("abort", "close"):
        assert house.say("dee", last, run, "--reason", "as a test").exit_code == Code.REFUSED
    assert house.say("ana", "abort", run, "--reason", "as a test").exit_code == Code.DONE


@pytest.mark.parametrize(
    "words",
    [
        ("retry",), ("offer", "a", "b", "c"), ("skip", "x"), ("approve", "a", "b", "c"), ("resume", "because", "of it"),
        ("rollback",), ("rollback", "shop"), ("rollback", "shop", "2.4.0", "because", "x"), ("forward", "because", "x"),
        ("rollback", "shop", "to", "2.4.0", "--to", "2.3.9", "because", "it fails"), ("audit",),
        ("audit", "a", "b", "verify"),
        ("hand-over", "x", "--to", "ben", "because", "of it"), ("show", "--nothing"), ("abort",), ("break-glass", "x"),
        ("hand-over", "x", "--to", "ben", "--until", "soon", "because", "of it"), ("release", "record", "shop"),
        ("release", "ban", "shop", "2.4.0", "it fails"), ("release", "record", "shop", "2.4.2", "--image", "x"),
    ],
)  # fmt: skip
def test_words_that_do_not_fit_are_told_so_before_anything_is_asked(words: tuple[str, ...]) -> None:
    found = CliRunner().invoke(root, [*words, "--url", "http://127.0.0.1:1"], prog_name="rollback-bot")
    assert found.exit_code == Code.USAGE, found.output
    assert found.stderr and not found.stdout


def test_a_step_may_be_called_by_several_words_with_or_without_a_run() -> None:
    from bot.cli.link import ONLY, split

    for words, meant in (
        (["deploy", "because", "x"], (ONLY, ["deploy"], "x")),
        (["shop", "deploy", "because", "x"], ("shop", ["deploy"], "x")),
        (["Pause workers", "because", "x"], (ONLY, ["Pause workers"], "x")),
        (["shop", "Pause workers"], ("shop", ["Pause workers"], "")),
        (["shop-1a2b3c", "Pause", "workers", "because", "x y"], ("shop-1a2b3c", ["Pause workers"], "x y")),
        (["Serves", "the", "target"], (ONLY, ["Serves the target"], "")),
        (["shop deploy because x"], ("shop", ["deploy"], "x")),
    ):
        assert split(words, ["STEP"]) == meant


def test_a_reason_is_one_word_or_many() -> None:
    skip = next(c for c in SAID if c.do == "skip")
    assert body(skip, ["x"], "it serves", {}) == {"do": "skip", "step": "x", "reason": "it serves"}
    with pytest.raises(Unclear, match=r"\[RUN\] VERSION; 3 words"):
        from bot.cli.link import split

        split(["a", "b", "c", "because", "x"], ["VERSION"])
