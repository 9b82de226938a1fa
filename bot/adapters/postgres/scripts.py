"""A release's migrations, run in a process of their own (`alembic_child.py`): what ways they know, and going over one
revision.

Invariants:
- scripts are taken from below the folder that the catalogue names, and from nowhere else;
- they get the address of their database, what the catalogue passes on, and nothing else of the bot's environment;
- the process ends with whoever uses it; no shell reads anything;
- what depends on scripts and a stamp alone is asked once for each state of the files.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from bot.adapters.postgres.connection import DatabaseTarget, options, quoted
from bot.ports import Unreachable
from bot.ports.databases import BadScripts, Direction, RevisionStep, Route

CHILD = Path(__file__).with_name("alembic_child.py")
READING = 60.0
"""Seconds that one answer may take that only reads."""
ANSWER = 64 * 1024 * 1024
"""Bytes of one answer."""
TAIL = 4096
"""Bytes that are kept of what scripts print."""
HASHED = (".py", ".ini", ".toml", ".sql", ".mako")
KEPT = 64
"""Answers that are remembered."""
MODELS = 600.0
"""Seconds for which it is remembered what models differ in: they may lie outside the folder."""
LOCKED_OUT = "55P03"


class ChildError(Exception):
    """What the process says of an error. kind: its class; state: SQLSTATE, "" where it is none of the server's."""

    def __init__(self, kind: str, said: str, state: str) -> None:
        super().__init__(said)
        self.kind, self.state = kind, state


class Child:
    """The running process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name, self.process = name, process
        self._tail = b""
        self._reading = asyncio.create_task(self._read())

    async def ask(self, limit: float | None, **command: Any) -> Any:
        """The answer to one command; limit: seconds, None for those of the caller alone. ChildError; Unreachable where
        the process ended, or did not answer in time: what it did is not known."""
        stdin, stdout = cast(asyncio.StreamWriter, self.process.stdin), cast(asyncio.StreamReader, self.process.stdout)
        try:
            async with asyncio.timeout(limit):
                stdin.write(json.dumps(command).encode() + b"\n")
                await stdin.drain()
                line = await stdout.readline()
        except TimeoutError as error:
            raise Unreachable.of({self.name: f"its migrations did not answer within {limit:g} s"}) from error
        except (ConnectionError, ValueError) as error:
            raise Unreachable.of({self.name: f"its migrations ended ({error}){await self._last()}"}) from error
        if not line:
            raise Unreachable.of({self.name: f"its migrations ended without an answer{await self._last()}"})
        said = json.loads(line)
        if "error" in said:
            raise ChildError(said["error"], said["said"], said["state"])
        return said["ok"]

    async def _read(self) -> None:
        stderr = cast(asyncio.StreamReader, self.process.stderr)
        while chunk := await stderr.read(TAIL):
            self._tail = (self._tail + chunk)[-TAIL:]

    async def _last(self) -> str:
        """The last line that it printed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.shield(self._reading)
        lines = self._tail.decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""

    async def end(self) -> None:
        """Ends it with all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        await self.process.wait()


class Scripts:
    """The migrations that the releases of one database bring."""

    def __init__(self, target: DatabaseTarget) -> None:
        self._target = target
        self._answers: dict[str, Any] = {}

    def folder(self, scripts: str) -> Path:
        """Where a release's migrations lie. BadScripts."""
        target = self._target
        if not target.folder:
            raise BadScripts(
                f"{target.at.name}: the catalogue does not say where migrations lie; give it a `migrations` folder"
            )
        root = Path(target.folder).resolve()
        found = (root / scripts).resolve()
        if not scripts or not found.is_relative_to(root) or "@" in scripts:
            raise BadScripts(f"{scripts!r} is no folder below {root}, where {target.at.name} has its migrations")
        if not (found / "alembic.ini").is_file() and not (found / "pyproject.toml").is_file():
            raise BadScripts(f"there is no alembic.ini in {found}: put the release's migrations there")
        return found

    async def walk(self, scripts: str, at: Sequence[str], to: str) -> Route:
        """The way from a stamp to a revision. BadScripts where there is none."""
        folder = self.folder(scripts)
        digest = await asyncio.to_thread(_digest, folder)
        name = self._target.at.name
        if len(at) != 1:
            raise BadScripts(f"{name} is at {len(at)} heads ({', '.join(at)}): take the others down by hand first")
        if to == at[0]:
            return Route(tuple(at), to, "down", digest=digest)
        direction: Direction = "down"
        try:
            found = await self._asked(folder, digest, do="walk", at=[*at], to=to, direction=direction)
        except ChildError as error:
            direction = "up"
            try:
                found = await self._asked(folder, digest, do="walk", at=[*at], to=to, direction=direction)
            except ChildError:
                raise BadScripts(f"{scripts}: no way from {at[0]} to {to}: {error}") from error
        steps = [
            RevisionStep(s["revision"], s["below"], tuple(s["stamp"]), s["title"], s["sql"], s["why"])
            for s in found["steps"]
        ]
        if not steps:
            raise BadScripts(f"{scripts}: no way from {at[0]} to {to}")
        if odd := [s.revision for s in steps if "+" in s.below or len(s.stamp) > 1]:
            raise BadScripts(f"{scripts}: {odd[0]} is a merge, under which there are several heads: go down by hand")
        return Route(tuple(at), to, direction, tuple(steps), found["inverse"], digest)

    async def standing(self, scripts: str, at: Sequence[str], revisions: Sequence[str]) -> dict[str, str]:
        """Revision -> itself where it is in force, else the one below it. BadScripts."""
        folder = self.folder(scripts)
        digest = await asyncio.to_thread(_digest, folder)
        try:
            found: dict[str, str] = await self._asked(
                folder, digest, do="standing", at=sorted(at), revisions=[*revisions]
            )
        except ChildError as error:
            raise BadScripts(f"{scripts}: {error}") from error
        return found

    async def compared(self, scripts: str, marker: str) -> Any:
        """What the release's models say, and what differs of it in the database. marker: of what the database says of
        itself (`catalog.marker`): the same models and the same database differ in the same things, so for `MODELS`
        seconds nobody is asked again. BadScripts."""
        folder = self.folder(scripts)
        turn = int(asyncio.get_running_loop().time() / MODELS)
        digest = f"{await asyncio.to_thread(_digest, folder)} {marker} {turn}"
        try:
            return await self._asked(folder, digest, do="compare")
        except ChildError as error:
            raise BadScripts(f"{scripts}: its models cannot be compared ({error.kind}: {error})") from error

    async def _asked(self, folder: Path, digest: str, **command: Any) -> Any:
        key = json.dumps([str(folder), digest, command], sort_keys=True)
        if key not in self._answers:
            async with self.child(folder, reading=True) as child:
                found = await child.ask(READING, **command)
            while len(self._answers) >= KEPT:
                self._answers.pop(next(iter(self._answers)))
            self._answers[key] = found
        return self._answers[key]

    @asynccontextmanager
    async def child(self, folder: Path, *, reading: bool, app: str = "rollback-bot") -> AsyncIterator[Child]:
        """The process, in this folder. reading: its sessions cannot write; app: what they call themselves."""
        target = self._target
        env = {k: os.environ[k] for k in ("PATH", "LANG", "LC_ALL", "TZ", *target.passed) if k in os.environ}
        env |= self._environment(reading, app)
        process = await asyncio.create_subprocess_exec(
            target.python or sys.executable, "-I", str(CHILD), cwd=folder, env=env, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=ANSWER,
        )  # fmt: skip
        child = Child(target.at.name, process)
        try:
            yield child
        finally:
            await child.end()

    def _environment(self, reading: bool, app: str) -> dict[str, str]:
        """Where the database is, and how long anything may take there. For drivers that stand on libpq."""
        target = self._target
        user, password = target.login(target.reader if reading or not target.admin else target.admin)
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        host = f"[{target.host}]" if ":" in target.host else target.host
        place = f"{host}:{target.port}/{target.at.database}"
        if target.host.startswith("/"):
            place = f"/{target.at.database}?host={quote(target.host, safe='')}&port={target.port}"
        url = f"postgresql+{target.driver}://{login}@{place}"
        settings = {
            "lock_timeout": str(int(target.lock * 1000)), "statement_timeout": str(int(target.statement * 1000)),
            "search_path": quoted(target.at.schema), "default_transaction_read_only": "on" if reading else "off",
        }  # fmt: skip
        tls = {f"PG{k.upper()}": v for k, v in target.tls_options.items()}
        return {"ROLLBACK_MIGRATE_URL": url, target.url: url, "PGOPTIONS": options(settings), "PGAPPNAME": app, **tls}


def _digest(folder: Path) -> str:
    """Of every script and configuration in it."""
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in HASHED and p.is_file()):
        whole.update(f"{path.relative_to(folder)}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return f"sha256:{whole.hexdigest()}"
