"""How the command line ends when something is wrong: exit codes, words, no traceback, nothing lost."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import root
from bot.cli.output import Code
from tests.cli.test_path import card, is_open, opened, until
from tests.fixtures.whole_bot import House, Running

CLI = (sys.executable, "-m", "bot.cli")


def shell(house: House, person: str) -> dict[str, str]:
    """A person's environment for a process of its own."""
    own = house.env(person)
    return {**{k: v for k, v in os.environ.items() if k not in own}, **{k: v for k, v in own.items() if v is not None}}


def test_a_bot_that_does_not_answer_is_told_with_what_to_do(house: House) -> None:
    found = house.say("ana", "show")
    assert found.exit_code == Code.UNREACHABLE
    for part in (house.url, "rollback-bot serve", f"{house.folder}/files/outside/by-hand/RUN.md", "--direct"):
        assert part in found.stderr
    assert "Traceback" not in found.output
    read = json.loads(house.say("ana", "show", "--json").stdout)
    assert read["error"]["why"] == "unreachable"


@contextlib.contextmanager
def answering(reply: bytes, times: int = 99) -> Iterator[int]:
    """A server that reads something and sends this, whoever asks. Its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                for _ in range(times):
                    c, _ = server.accept()
                    with c:
                        c.settimeout(5)
                        c.recv(65536)
                        c.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(60)


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nproxy",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
    ],
)  # fmt: skip
def test_whatever_else_answers_there_is_not_taken_for_the_bot(reply: bytes) -> None:
    with answering(reply) as port:
        for words in (["status"], ["stop"]):
            found = CliRunner().invoke(root, [*words, "--url", f"http://127.0.0.1:{port}"])
            assert found.exit_code == Code.UNREACHABLE, found.output
            assert "Traceback" not in found.output


def test_when_the_answer_is_lost_the_same_click_is_sent_again_and_then_said_to_be_uncertain() -> None:
    with answering(b"") as port:
        found = CliRunner().invoke(root, ["stop", "--url", f"http://127.0.0.1:{port}"])
    assert found.exit_code == Code.UNREACHABLE
    assert "Whether it was received is not known: look before you ask again." in found.stderr


@pytest.mark.parametrize("url", ["ftp://x", "bot", "http://", "http://[x", "http://x:99999", "http://x:y"])
def test_an_address_that_is_none_is_bad_usage(url: str) -> None:
    found = CliRunner().invoke(root, ["status", "--url", url])
    assert found.exit_code == Code.USAGE and "is no address" in found.stderr


def test_without_a_good_token_nobody_is_let_in_and_told_how_to_get_one(bot: Running) -> None:
    for token in (None, "rbt_unknown", "Bearer", "\N{SNOWMAN}"):
        env = bot.house.env("ana") | {"ROLLBACK_TOKEN": token}
        found = CliRunner().invoke(root, ["status"], env=env)
        assert found.exit_code in (Code.REFUSED, Code.USAGE), found.output
        assert "ROLLBACK_TOKEN" in found.stderr


def test_a_changed_record_ends_with_4_and_names_the_row(bot: Running) -> None:
    house = bot.house
    run = opened(house)
    with contextlib.closing(sqlite3.connect(house.folder / "bot.db")) as db:
        db.execute("DROP TRIGGER event_no_update")
        db.execute("UPDATE event SET body = replace(body, 'checkout', 'nothing') WHERE seq = 1")
        db.commit()
    for words in (("audit", "verify"), ("audit", run, "verify"), ("audit", "verify", "--database")):
        found = house.say("eve", *words)
        assert found.exit_code == Code.BAD_RECORD, found.output
        assert f"Row 1 of run {run} is not as it was written" in found.stderr
        assert json.loads(house.say("eve", *words, "--json").stdout)["error"]["faults"][0]["seq"] == 1


def test_a_record_that_makes_no_sense_any_more_is_told_as_such_and_hides_no_other_run(house: House) -> None:
    running = Running(house)
    try:
        run = opened(house)
    finally:
        running.stop()
    with contextlib.closing(sqlite3.connect(house.folder / "bot.db")) as db:
        db.execute("DROP TRIGGER event_no_update")
        db.execute("UPDATE event SET body = '{}' WHERE seq = 2")
        db.commit()
    direct = ("--direct", "to look at the record")
    found = house.say("", "show", run, *direct)
    assert found.exit_code == 0 and f"rollback-bot audit {run} verify" in found.stdout
    assert "its record is not believed, and nothing is done in it: row 2 (" in found.stdout
    assert "its record is not believed" in house.say("", "history", *direct).stdout
    assert f"Row 2 of run {run}" in house.say("", "audit", "verify", *direct).stderr


def test_the_record_can_be_verified_and_exported_past_the_bot(bot: Running, tmp_path: Path) -> None:
    house = bot.house
    run = opened(house)
    assert ": verified" in house.say("", "audit", "verify", "--database").stdout
    for form in ("jsonl", "html", "markdown"):
        out = tmp_path / f"record.{form}"
        assert house.say("", "audit", run, "export", "--database", "--format", form, "-o", str(out)).exit_code == 0
        assert house.say("eve", "audit", run, "export", "--format", form).stdout == out.read_text()


def heeding() -> None:
    """In a child before it begins: Ctrl-C reaches it, also where the tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_a_watcher_quietly_and_leaves_the_run_alone(bot: Running) -> None:
    house = bot.house
    run = opened(house)
    with subprocess.Popen(
        [*CLI, "show", "--live"], env=shell(house, "eve"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=heeding,
    ) as p:  # fmt: skip
        assert p.stdout is not None
        assert run.encode() in p.stdout.readline()
        p.send_signal(signal.SIGINT)
        try:
            _, err = p.communicate(timeout=90)
        finally:
            p.kill()
    assert p.returncode == Code.INTERRUPTED
    assert b"Interrupted" in err and b"Traceback" not in err
    assert is_open("backend")(house.json("eve", "show"))


@contextlib.contextmanager
def serving(house: House) -> Iterator[subprocess.Popen[str]]:
    """`rollback-bot serve` as a process of its own, ready."""
    with subprocess.Popen([*CLI, "serve"], env=shell(house, ""), stdout=subprocess.PIPE, text=True) as p:
        try:
            assert p.stdout is not None
            assert p.stdout.readline().strip().endswith(f"listens on {house.url}")
            yield p
        finally:
            p.kill()


def test_a_watcher_waits_out_a_killed_bot(house: House) -> None:
    with serving(house) as bot:
        run = opened(house)
        p = subprocess.Popen(
            [*CLI, "show", "--live"], env=shell(house, "eve"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert p.stdout is not None and p.stderr is not None
        assert run in p.stdout.readline()
        bot.kill()
        assert "Asking again" in p.stderr.readline()
    with serving(house) as bot:
        assert "The bot is back" in p.stderr.readline()
        house.say("cho", "approve", run, "backend", "--card", card(house.json("cho", "show"), "backend"))
        out, _ = p.communicate(timeout=90)
        assert p.returncode == 0
        assert "verified after" in out.splitlines()[-1]
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(90) == 0


def test_on_a_terminal_the_card_is_shown_and_asked_about(bot: Running) -> None:
    house = bot.house
    run = opened(house, "--plan", "typed")
    assert at_a_terminal(house, "cho", ["n\n"])[0] == Code.REFUSED
    code, seen = at_a_terminal(house, "cho", ["y\n", "backend shop\n"])
    assert code == 0, seen
    assert "Decision 2 of 2: Bring the backend back" in seen and 'Type "backend shop"' in seen
    assert "Approved: Bring the backend back." in seen
    until(house, "ana", run, lambda s: not s["open"])


def at_a_terminal(house: House, person: str, types: list[str]) -> tuple[int, str]:
    """`approve`, typed by somebody who sits there. Exit code and what was on the screen."""
    ours, theirs = pty.openpty()
    p = subprocess.Popen([*CLI, "approve"], env=shell(house, person), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = ""
    with io.FileIO(ours, "r+") as terminal:
        for line in types:
            while not seen.rstrip(" \r\n").endswith(("[y/N]:", 'shop":')):
                seen += terminal.read(4096).decode()
            terminal.write(line.encode())
            seen += "\n"
        with contextlib.suppress(OSError):  # how a terminal ends
            while more := terminal.read(4096):
                seen += more.decode()
    return p.wait(90), seen


def test_a_fault_of_ours_is_said_to_be_one_and_shown_where_that_is_asked(house: House) -> None:
    (house.folder / "rollback.yaml").unlink()
    (house.folder / "rollback.yaml").mkdir()
    found = house.say("", "plan", "lint")
    assert found.exit_code in (Code.USAGE, Code.FAULT)
    assert "Traceback" not in found.output
    assert "Traceback" in house.say("", "plan", "lint", "--debug").stderr


def test_settings_that_do_not_fit_are_named(house: House) -> None:
    env = house.env() | {"ROLLBACK_PORT": "many", "ROLLBACK_LOG_LEVEL": "LOUD"}
    found = CliRunner().invoke(root, ["serve"], env=env)
    assert found.exit_code == Code.USAGE
    assert "ROLLBACK_PORT: " in found.stderr and "ROLLBACK_LOG_LEVEL: " in found.stderr


def test_what_others_wrote_cannot_steer_the_terminal(bot: Running) -> None:
    house = bot.house
    found = house.say("ana", "rollback", "shop", "because", "it \x1b[2J fails")
    assert found.exit_code == Code.USAGE and "cannot be shown" in found.stderr
    assert "\x1b" not in found.output


def test_looking_ends_at_once_when_the_reader_goes_away(bot: Running) -> None:
    opened(bot.house)
    p = subprocess.Popen(
        [*CLI, "show", "--live"], env=shell(bot.house, "eve"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert p.stdout is not None and p.stderr is not None
    p.stdout.readline()
    p.stdout.close()
    began = time.monotonic()
    bot.house.say("ana", "stop")
    bot.house.say("ana", "resume")
    assert p.wait(90) == 1
    with p.stderr:
        assert b"Traceback" not in p.stderr.read()
    assert time.monotonic() - began < 30
