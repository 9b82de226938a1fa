"""The main job, end to end, on this machine: a shop with a bad release, three people, one rollback, one crash.

Nothing here imports the bot: it starts the same `rollback-bot` that an operator starts and types what people type.
In the middle the bot is killed with SIGKILL. The exit code is 0 only if at the end the shop really serves 2.4.0 and
takes payments, nothing is left read-only, the record verifies, and nothing was done twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp

from bot.playground.shop import Shop

PEOPLE = {"ana": "commander", "dee": "commander", "ben": "approver", "cho": "approver"}
REASON = "checkout fails since 14:02"


class DemoFailed(Exception):
    """Something did not come out as it must."""


@dataclass
class Traffic:
    """Customers who pay, a few a second; counts by the minute of the story."""

    url: str
    paid: int = 0
    failed: int = 0

    async def flow(self) -> None:
        """Goes on until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.post(f"{self.url}/pay", json={"amount": 12.5}) as answer:
                        self.paid += answer.status == 200
                        self.failed += answer.status != 200
                await asyncio.sleep(0.1)

    async def sample(self, seconds: float = 1.5) -> str:
        """Share of payments that succeed over the next seconds."""
        self.paid = self.failed = 0
        await asyncio.sleep(seconds)
        return f"{self.paid} of {self.paid + self.failed} payments succeed"


@dataclass
class Stage:
    """A folder with everything the bot is told, and the bot itself."""

    folder: Path
    port: int
    tokens: dict[str, str] = field(default_factory=dict)
    bot: asyncio.subprocess.Process | None = None

    def env(self, person: str = "") -> dict[str, str]:
        """The surroundings of one person's shell, or of the host's."""
        own = {
            "ROLLBACK_DATABASE_URL": f"sqlite+aiosqlite:///{self.folder}/rollback.db",
            "ROLLBACK_BLOBS_URL": f"file:{self.folder}/files",
            "ROLLBACK_CATALOGUE": f"{self.folder}/rollback.yaml",
            "ROLLBACK_PLANS": f"{self.folder}/plans",
            "ROLLBACK_PORT": str(self.port),
            "ROLLBACK_URL": f"http://127.0.0.1:{self.port}",
            "ROLLBACK_LOG_LEVEL": "WARNING",
        }
        keep = {k: v for k, v in os.environ.items() if not k.startswith("ROLLBACK_")}
        return {**keep, **own, **({"ROLLBACK_TOKEN": self.tokens[person]} if person else {})}

    async def type(self, person: str, *words: str, expect: int = 0, quiet: bool = False) -> str:
        """What somebody types, and what they see. DemoFailed unless it ends with the expected code."""
        if not quiet:
            say(f"\n{person or 'host'}$ rollback-bot {' '.join(w if ' ' not in w else repr(w) for w in words)}")
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *words, env=self.env(person), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await asyncio.wait_for(process.communicate(), 120)
        text = out.decode().rstrip()
        if not quiet and text:
            say(text)
        if process.returncode != expect:
            raise DemoFailed(f"rollback-bot {' '.join(words)} ended with {process.returncode}, not {expect}: {text}")
        return text

    async def json(self, person: str, *words: str) -> Any:
        """The same for programs."""
        return json.loads(await self.type(person, *words, "--json", quiet=True))

    async def serve(self) -> None:
        """Starts the bot and waits until it is ready."""
        log = (self.folder / "bot.log").open("ab")
        with log:
            self.bot = await asyncio.create_subprocess_exec(*COMMAND, "serve", env=self.env(), stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200:
                            return
                if self.bot.returncode is not None:
                    break
                await asyncio.sleep(0.1)
        raise DemoFailed(f"the bot did not start:\n{(self.folder / 'bot.log').read_text()[-2000:]}")

    async def kill(self) -> None:
        """SIGKILL: no goodbye, nothing flushed."""
        if self.bot is not None and self.bot.returncode is None:
            self.bot.kill()
            await self.bot.wait()

    async def until(self, run: str, state: str, within: float = 60.0) -> None:
        """Waits until `show` says so somewhere."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if state in await self.type("ana", "show", run, quiet=True):
                return
            await asyncio.sleep(0.3)
        raise DemoFailed(f"{run} did not come to {state!r}:\n{await self.type('ana', 'show', run, quiet=True)}")


COMMAND = (sys.executable, "-m", "bot.cli")


async def story(stage: Stage, shop: str, traffic: Traffic) -> None:
    """One rollback, as people live it."""
    say("== A shop runs 2.4.1, and payments fail ==")
    before = await traffic.sample()
    say(before)
    await stage.type("", "db", "upgrade", quiet=True)
    await stage.serve()
    for person in PEOPLE:
        stage.tokens[person] = (await stage.type("", "token", person, quiet=True)).split()[-1]
    await history(stage)

    say("\n== What would happen; nothing is written ==")
    await stage.type("ana", "preview", "shop")

    say("\n== Ana asks for it, starts it, and may not approve it herself ==")
    await stage.type("ana", "rollback", "shop", "because", *REASON.split())
    run = (await stage.json("ana", "history"))["runs"][0]["run"]
    await stage.until(run, "approve " + run + " start")
    await stage.type("ana", "approve", run, "start", "--card", await card(stage, run, "start"))
    await stage.until(run, "approve " + run + " backend")
    seen = await card(stage, run, "backend")
    await stage.type("ana", "approve", run, "backend", "--card", seen, expect=1)

    say("\n== Cho looks at the card and approves; in the middle of the switch the bot is killed ==")
    await stage.type("cho", "show", run)
    await stage.type("cho", "approve", run, "backend", "--card", seen)
    await stage.until(run, "Switch the release")
    await asyncio.sleep(0.5)
    await stage.kill()
    say("\n(the bot is dead: kill -9)")
    by_hand = next((stage.folder / "files").rglob("*.md"), None)
    if by_hand is None:
        raise DemoFailed("there is no by-hand file")
    say("What is left to do by hand meanwhile:")
    say("\n".join("  " + line for line in by_hand.read_text().split("## Left to do")[-1].splitlines()[1:6]))
    await stage.serve()
    say("(and back)")

    await stage.type("cho", "show", run, "--live")
    await stage.type("ana", "audit", run, "export")
    await stage.type("ana", "audit", "verify")

    say("\n== Afterwards ==")
    say(f"before: {before}\nafter:  {await traffic.sample()}")
    await check(stage, run, shop, traffic)


async def history(stage: Stage) -> None:
    """What CI has registered, and what has served since."""
    day = 86400
    for version, days in (("2.3.9", 20), ("2.4.0", 6.2), ("2.4.1", 0.02)):
        digest = "sha256:" + version.replace(".", "").ljust(64, "0")
        at = str(time.time() - days * day)
        image = f"shop-api=registry.example/shop-api@{digest}"
        await stage.type("ana", "release", "record", "shop", version, "--image", image, quiet=True)
        await stage.type("ana", "release", "serving", "shop", version, "--at", at, quiet=True)


async def card(stage: Stage, run: str, decision: str) -> str:
    """What the card of a decision stands for just now."""
    shown = await stage.json("ana", "show", run)
    return next(str(d["card"]) for d in shown["decisions"] if d["name"] == decision)


async def check(stage: Stage, run: str, shop: str, traffic: Traffic) -> None:
    """What must be true at the end, asked of the shop itself."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{shop}/healthz") as answer:
            health = await answer.json()
        async with session.get(f"{shop}/maintenance") as answer:
            maintenance = await answer.json()
        async with session.get(f"{shop}/log") as answer:
            writes = [w for w in await answer.json() if w["method"] == "PUT" and w["status"] == 200]
    shown = await stage.json("ana", "show", run)
    faults = [
        *(["the shop serves " + str(health.get("release"))] if health.get("release") != "2.4.0" else []),
        *(["the shop is still read-only"] if maintenance.get("read_only") else []),
        *(["payments still fail"] if traffic.failed or not traffic.paid else []),
        *([f"{len(writes)} writes, not 3"] if len(writes) != 3 else []),
        *(["debts are open"] if shown["debts"] else []),
        *([f"the run ended as {shown['status']}"] if not shown["status"].startswith("verified") else []),
    ]
    if faults:
        raise DemoFailed("; ".join(faults))
    say("\nThe shop serves 2.4.0, takes payments, nothing is read-only, 3 writes in all, the record verifies.")


def catalogue(shop: str) -> str:
    """rollback.yaml of the demo."""
    roles: dict[str, list[str]] = {}
    for person, role in PEOPLE.items():
        roles.setdefault(role, []).append(person)
    lines = ["people:", *(f"  {p}: {p}" for p in PEOPLE), "roles:"]
    lines += [f"  {role}: {{people: [{', '.join(people)}]}}" for role, people in roles.items()]
    lines += [
        "services:",
        "  shop:",
        "    title: The shop",
        f"    targets: {{api: {{http: {shop}}}}}",
        "    floor: 2.3.0",
    ]
    return "\n".join(lines) + "\n"


def plan() -> str:
    """The standard plan with a watch that is short enough to look at."""
    text = resources.files("bot").joinpath("plans", "standard.yaml").read_text(encoding="utf-8")
    short = text.replace("for: 15m, every: 30s, passes: 20", "for: 4s, every: 1s, passes: 3")
    if short == text:
        raise DemoFailed("the standard plan no longer watches for 15 min: adapt the demo")
    return short


@asynccontextmanager
async def staged() -> AsyncIterator[tuple[Stage, str, Traffic]]:
    """Shop, traffic and an empty folder; all gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rollback-demo-"))
    async with Shop(release="2.4.1") as shop:
        url = str(shop.url)
        (folder / "rollback.yaml").write_text(catalogue(url))
        (folder / "plans").mkdir()
        (folder / "plans" / "standard.yaml").write_text(plan())
        traffic = Traffic(url)
        flowing = asyncio.create_task(traffic.flow())
        stage = Stage(folder, _free_port())
        try:
            yield stage, url, traffic
        finally:
            flowing.cancel()
            await asyncio.wait([flowing])
            await stage.kill()
            shutil.rmtree(folder, ignore_errors=True)


async def demo() -> None:
    """The whole story once."""
    async with staged() as (stage, url, traffic):
        try:
            await story(stage, url, traffic)
        except DemoFailed:
            say(f"\n--- the bot's log ---\n{(stage.folder / 'bot.log').read_text()[-4000:]}")
            raise


def say(text: str) -> None:
    """One piece of the story."""
    print(text, flush=True)  # noqa: T201


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def main() -> int:
    """0 if everything came out as it must."""
    argparse.ArgumentParser(prog="demo", description=__doc__).parse_args()
    try:
        asyncio.run(demo())
    except DemoFailed as e:
        say(f"\nThe demo failed: {e}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
