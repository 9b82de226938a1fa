"""The bot as people install it: a wheel of what the image is made of, and requirements/runtime.lock, nothing else.

    python -m tests.plain    build it, install it, and see that doctor, plan lint and serve work there

Invariants:
- what was built and seen well is not done again until one byte of what goes in is another (`.venv/plain`);
- nothing of this environment's packages, settings or home reaches the other one;
- the network is asked only for what uv has not kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

HOUSE = Path(__file__).parent.parent
KEPT = Path(sys.prefix) / "plain"
LOCK = HOUSE / "requirements" / "runtime.lock"
PATIENCE = 60.0
"""Seconds for any one command."""

CATALOGUE = """\
people: {ana: Ana, ben: Ben, cho: Cho}
roles:
  commander: {people: [ana]}
  approver: {people: [ben, cho]}
services:
  shop: {targets: {api: {http: "URL"}}}
"""


class Unwell(Exception):
    """The installed bot does not do what it must."""


@dataclass(frozen=True)
class Plain:
    """The environment that holds the bot and what it needs."""

    bin: Path

    def env(self, home: Path, **more: str) -> dict[str, str]:
        """What a fresh shell there holds."""
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", **more}

    def run(self, folder: Path, *words: str, commands: int = 1, **env: str) -> subprocess.CompletedProcess[str]:
        """One command, or a shell's several, to the end, in this folder, which is its home too."""
        return subprocess.run(
            words, cwd=folder, env=self.env(folder, **env), capture_output=True, text=True, timeout=PATIENCE * commands
        )

    @contextlib.contextmanager
    def serving(self, folder: Path, *words: str, **env: str) -> Iterator[str]:
        """`rollback-bot serve`, and the line with which it said that it listens; SIGTERM must end it well."""
        process = subprocess.Popen(
            words or ("rollback-bot", "serve"), cwd=folder, env=self.env(folder, **env),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        watchdog = threading.Timer(PATIENCE, process.kill)  # while it starts
        watchdog.start()
        assert process.stdout is not None
        said: list[str] = []
        try:
            for line in process.stdout:
                said.append(line)
                if "listens on" in line:
                    break
            else:
                raise Unwell(f"serve ended by itself: {''.join(said)}")
            watchdog.cancel()
            yield said[-1]
            process.send_signal(signal.SIGTERM)
            said.append(process.communicate(timeout=PATIENCE)[0])
            if process.wait() != 0:
                raise Unwell(f"serve ended with {process.returncode}: {''.join(said)}")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            watchdog.cancel()


def plain() -> Plain:
    """The environment, made or renewed where something has changed. Whoever asks at the same time waits."""
    KEPT.mkdir(exist_ok=True)
    with (KEPT / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _depend()
        _install()
    return Plain(KEPT / "env" / "bin")


def ingredients() -> Mapping[str, bytes]:
    """What .dockerignore lets through: path -> content."""
    words = [w for w in (HOUSE / ".dockerignore").read_text().splitlines() if w and not w.startswith("#")]
    wanted = [HOUSE / w.removeprefix("!") for w in words if w.startswith("!")]
    never = [w for w in words if not w.startswith("!") and w != "*"]
    files = [f for w in wanted for f in ([w] if w.is_file() else w.rglob("*")) if f.is_file()]
    names = {str(f.relative_to(HOUSE)): f for f in files}
    kept = {n: f for n, f in names.items() if not any(_within(n, pattern) for pattern in never)}
    return {n: f.read_bytes() for n, f in sorted(kept.items())}


def _within(name: str, pattern: str) -> bool:
    return any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for part in name.split("/"))


def _digest(content: Mapping[str, bytes]) -> str:
    found = hashlib.sha256(sys.version.encode())
    for name, data in content.items():
        found.update(f"{name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


@contextlib.contextmanager
def _once(what: str, content: Mapping[str, bytes]) -> Iterator[bool]:
    """Whether `what` is still to be done with this content; noted as done if the block ends well."""
    stamp, now = KEPT / what, _digest(content)
    fresh = stamp.exists() and stamp.read_text() == now
    yield not fresh
    stamp.write_text(now)


def _depend() -> None:
    """An empty environment, then the lock and nothing else."""
    with _once("locked", {"lock": LOCK.read_bytes()}) as needed:
        if needed:
            _uv("venv", "--clear", "--python", sys.executable, str(KEPT / "env"))
            _uv("pip", "install", *_there(), "--require-hashes", "-r", str(LOCK))


def _install() -> None:
    """The wheel, from a copy of what goes into it: a build folder in the house would keep what was deleted."""
    content = ingredients()
    with _once("installed", content) as needed, tempfile.TemporaryDirectory() as folder:
        if needed:
            for name, data in content.items():
                file = Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            shutil.rmtree(KEPT / "wheel", ignore_errors=True)
            _uv(
                "build",
                "--wheel",
                "--no-build-isolation",
                "--python",
                sys.executable,
                "-o",
                str(KEPT / "wheel"),
                folder,
            )
            (wheel,) = (KEPT / "wheel").glob("*.whl")
            _uv("pip", "install", *_there(), "--no-deps", "--force-reinstall", str(wheel))


def _there() -> tuple[str, str]:
    return "--python", str(KEPT / "env" / "bin" / "python")


def _uv(*words: str) -> None:
    """Without the network, and only where that does not do, with it."""
    command = [str(Path(sys.prefix) / "bin" / "uv"), *words, "--quiet"]
    env = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    if subprocess.run([*command, "--offline"], env=env, capture_output=True).returncode != 0:
        found = subprocess.run(command, env=env, capture_output=True, text=True)
        if found.returncode != 0:
            raise Unwell(f"{' '.join(command)}\n{found.stderr}")


# -- what must work there ----------------------------------------------------------------------------------------------


def examine(there: Plain, folder: Path) -> None:
    """Unwell unless a bot with one service starts, is looked at, and ends."""
    with answering() as url:
        (folder / "rollback.yaml").write_text(CATALOGUE.replace("URL", url))
        _well(there.run(folder, "rollback-bot", "db", "upgrade"), "The database is at revision ")
        _well(there.run(folder, "rollback-bot", "doctor"), "0 at fault, 1 to look at, ")  # no key to sign with
        _well(there.run(folder, "rollback-bot", "plan", "lint"), "No mistakes.")
        with there.serving(folder, ROLLBACK_PORT="0") as line:
            with urlopen(line.split()[-1] + "/readyz", timeout=PATIENCE) as answer:
                said = answer.read().decode()
            if said != "ready\n":
                raise Unwell(f"/readyz says\n{said}")


def _well(found: subprocess.CompletedProcess[str], said: str) -> None:
    if found.returncode != 0 or said not in found.stdout:
        raise Unwell(f"{' '.join(found.args)} ended with {found.returncode}:\n{found.stdout}{found.stderr}")


@contextlib.contextmanager
def answering() -> Iterator[str]:
    """The address of something that answers every GET with 200, on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Fine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Fine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def main() -> int:
    """0, or 1 with what is unwell."""
    began = time.monotonic()
    try:
        there = plain()
        everything = {**ingredients(), "lock": LOCK.read_bytes(), "this": Path(__file__).read_bytes()}
        with _once("well", everything) as needed:
            if needed:
                with tempfile.TemporaryDirectory() as folder:
                    examine(there, Path(folder))
    except Unwell as error:
        sys.stderr.write(f"Installed from wheel and lock, the bot is unwell: {error}\n")
        return 1
    took = f"{time.monotonic() - began:.0f} s" if needed else "seen before, nothing has changed"
    sys.stdout.write(f"Installed from wheel and lock, the bot starts and serves ({took}).\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
