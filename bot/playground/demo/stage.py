"""Everything that a rollback needs, set up on loopback: workspace, clusters, shop, customers, and the bot as a process.

Invariants: all of it lies in one folder and ends with the context; the bot is told by its environment alone, as an
operator tells it, and hears of releases from CI alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bot.playground.free_port import free_port
from bot.playground.prometheus import installed
from bot.playground.shop.front import Front, files
from bot.playground.shop.releases import SERVICE
from bot.playground.shop.shop import Shop
from bot.playground.shop.traffic import Traffic
from bot.playground.staged import Staged
from bot.playground.workspace import App, Channel, Workspace, standard_cast

COMMAND = (sys.executable, "-m", "bot.cli")
HERE = "inc-4211"
"""The incident's channel."""
DAY = 86400.0
SERVED = {"2.3.9": 26 * DAY, "2.4.0": 6.2 * DAY}
"""Seconds for which these have served, as CI says."""
ROLES: dict[str, dict[str, Any]] = {
    "commander": {"groups": ["@commanders"]},
    "approver": {"groups": ["@approvers"], "on_call": {"groups": ["S0ONCALL01"]}},
    "dba": {"groups": ["@dbas"], "on_call": {"groups": ["S0ONCALL01"]}},
}
CHANNELS = {"incident": [f"#{HERE}", "#shop-private"], "stakeholders": ["#status"], "cdn": ["#edge"]}
WATCH = "for: 15m, every: 30s, passes: 20"
JUDGED, SHORT_JUDGED = "window: 120\n          step: 15", "window: 15\n          step: 1"
"""Seconds of numbers that are judged, and between two of them."""
OLDER, NEWEST = 6 * 3600.0, 900.0
"""Ages in seconds of the backups that there are."""
READ, SHORT_READ = ("window: 60}", "window: 120}"), "window: 10}"
"""Seconds of logs that are read for exceptions."""
SOON, NO_WAIT = "with: {soon: 120}", "with: {soon: 0}"
"""Seconds that a CronJob's next run is waited for."""
SHORT_WATCH = "for: 10s, every: 2s, passes: 2"
_SHORTER = {
    "standard": {JUDGED: SHORT_JUDGED, SOON: NO_WAIT, **dict.fromkeys(READ, SHORT_READ)},
    "frontend-only": {},
}
_WATCHES = {"standard": WATCH, "frontend-only": "for: 5m, every: 30s, passes: 6"}
"""Plan -> how long it watches; and `_SHORTER`, what else it says -> what the demo has instead, to be waited for."""
_SECRET, _CI_TOKEN = "demo-webhook-secret", "demo-pipeline-token"
_START = 60.0
"""Seconds that a bot may take to be ready on a busy machine."""


class DemoFailed(Exception):
    """Something did not come out as it must."""


def short_plan(watch: str = SHORT_WATCH, name: str = "standard") -> str:
    """A plan with times that can be waited for. DemoFailed where it says none of them any more."""
    text = resources.files("bot").joinpath("plans", f"{name}.yaml").read_text(encoding="utf-8")
    for said, instead in {_WATCHES[name]: watch, **_SHORTER[name]}.items():
        if said not in text:
            raise DemoFailed(f"the plan {name} no longer says {said!r}: adapt the demo")
        text = text.replace(said, instead)
    return text


def _ago(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()


def peopled(app: App) -> Workspace:
    """The workspace with everybody in it, and a channel of the edge team's."""
    cast = standard_cast(app)
    edge = Channel("C0EDGE0001", "edge", ["U0ANA00001", "U0DEE00001", app.bot_user])
    return Workspace(app=app, cast=replace(cast, channels=[*cast.channels, edge]))


@dataclass
class Stage(Staged):
    """`async with Stage() as stage`. watch: how long the standard plan watches here; per_second: payments; second: the
    shop has its second half, watched by Prometheus where that is installed, and a frontend (`front`); paged: it has a
    frontend in any case; service: what the catalogue calls the shop; clusters: their names."""

    watch: str = SHORT_WATCH
    second: bool = False
    paged: bool = False
    service: str = SERVICE
    clusters: tuple[str, ...] = ("eu-1", "us-1")
    per_second: float = 5.0
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="rollback-demo-")))
    port: int = field(default_factory=free_port)
    bot: asyncio.subprocess.Process | None = None
    starts: int = 0
    workspace: Workspace = field(default_factory=lambda: peopled(App()))
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    front: Front | None = None
    _shop: Shop | None = None
    _traffic: Traffic | None = None

    @property
    def reader(self) -> str:
        """Somebody who may look at everything, by name."""
        return "ana"

    @property
    def shop(self) -> Shop:
        """The shop. LookupError before the context is entered."""
        if self._shop is None:
            raise LookupError("the stage is not set")
        return self._shop

    @property
    def watched(self) -> bool:
        """Whether Prometheus watches the shop."""
        return self.second and installed()

    @property
    def traffic(self) -> Traffic:
        """The customers. LookupError before the context is entered."""
        if self._traffic is None:
            raise LookupError("the stage is not set")
        return self._traffic

    # -- life --------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        await self._stack.enter_async_context(self.workspace)
        self._shop = await self._stack.enter_async_context(
            Shop(self.folder / "shop", self.clusters, deployed=("2.3.9",), schedule="*/5 * * * *", second=self.second,
                 watched=self.watched)
        )  # fmt: skip
        if self._shop.data is not None:
            for age in (OLDER, NEWEST):
                await asyncio.to_thread(self._shop.data.backup, age)
        if self.second or self.paged:
            self.front = await self._stack.enter_async_context(Front(self.folder / "builds"))
        self._traffic = await self._stack.enter_async_context(self._shop.traffic(self.per_second))
        (self.folder / "rollback.yaml").write_text(yaml.safe_dump(self.catalogue(), sort_keys=False))
        (self.folder / "plans").mkdir()
        for name, text in self.plans().items():
            (self.folder / "plans" / f"{name}.yaml").write_text(text, encoding="utf-8")
        await self.host("db", "upgrade")
        self._stack.push_async_callback(self.stop)
        await self.serve()

    # -- what the bot is told ------------------------------------------------------------------------------------------

    def catalogue(self) -> dict[str, Any]:
        """rollback.yaml."""
        told: dict[str, Any] = yaml.safe_load(self.shop.catalogue(people={}))
        told["roles"] = ROLES
        service = told["services"].pop(SERVICE)
        told["services"][self.service] = service | {"channels": CHANNELS}
        if self.front is not None:
            service["targets"] |= self.front.targets("api")
        return told

    def plans(self) -> Mapping[str, str]:
        """Name -> text of those that stand before the bot's own."""
        return {name: short_plan(self.watch, name) for name in _SHORTER}

    # -- the bot -----------------------------------------------------------------------------------------------------

    def env(self, token: str = "") -> dict[str, str]:
        """The surroundings of the bot, and of a shell on its host."""
        app = self.workspace.app
        own = {
            "ROLLBACK_DATABASE_URL": f"sqlite:///{self.folder}/rollback.db",
            "ROLLBACK_BLOBS_URL": f"file:{self.folder}/files",
            "ROLLBACK_CATALOGUE": f"{self.folder}/rollback.yaml",
            "ROLLBACK_PLANS": f"{self.folder}/plans",
            "ROLLBACK_KUBECONFIG": str(self.shop.kubeconfig),
            "ROLLBACK_PORT": str(self.port),
            "ROLLBACK_URL": f"http://127.0.0.1:{self.port}",
            "ROLLBACK_SLACK": "socket",
            "ROLLBACK_SLACK_URL": self.workspace.api_url,
            "ROLLBACK_SLACK_BOT_TOKEN": app.bot_token,
            "ROLLBACK_SLACK_APP_TOKEN": app.app_token,
            "ROLLBACK_WEBHOOK_SECRET": _SECRET,
            "ROLLBACK_CI_TOKEN": _CI_TOKEN,
            "ROLLBACK_TICK": "0.5",
        }
        beside = dict(self.shop.beside.variables) if self.shop.beside is not None else {}
        beside |= self.front.variables if self.front is not None else {}
        keep = {k: v for k, v in os.environ.items() if not k.startswith("ROLLBACK_")}
        return {**keep, **own, **beside, **({"ROLLBACK_TOKEN": token} if token else {})}

    async def host(self, *words: str, token: str = "") -> str:
        """What `rollback-bot` says to somebody on the bot's host. DemoFailed unless it ends well."""
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *words, env=self.env(token), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 120)
        if process.returncode != 0:
            said = (out + err).decode().strip()
            raise DemoFailed(f"rollback-bot {' '.join(words)} ended with {process.returncode}: {said}")
        return out.decode().strip()

    async def serve(self) -> None:
        """Starts the bot, and waits until it is ready and hears Slack. DemoFailed with the end of its log."""
        with self.log.open("ab") as log:
            self.bot = await asyncio.create_subprocess_exec(*COMMAND, "serve", env=self.env(), stdout=log, stderr=log)
        self.starts += 1
        deadline = time.monotonic() + _START
        async with aiohttp.ClientSession() as http:
            while time.monotonic() < deadline and self.bot.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200 and len(self.workspace.sockets) > 0:
                            return
                await asyncio.sleep(0.1)
        raise DemoFailed(f"the bot did not start:\n{self.log_end()}")

    async def kill(self) -> None:
        """SIGKILL: no goodbye, nothing flushed. Harmless again."""
        if self.bot is not None and self.bot.returncode is None:
            self.bot.kill()
            await self.bot.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for a bot that does not listen."""
        if self.bot is not None and self.bot.returncode is None:
            self.bot.terminate()
            try:
                await asyncio.wait_for(self.bot.wait(), 15)
            except TimeoutError:
                await self.kill()

    @property
    def log(self) -> Path:
        """What the bot writes."""
        return self.folder / "bot.cli.logs"

    def log_end(self, characters: int = 4000) -> str:
        """The end of the bot's log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    # -- CI ----------------------------------------------------------------------------------------------------------

    async def release(self, version: str) -> None:
        """CI deploys a release where it does not run yet, and registers it; returns when the bot has seen it serve and
        has kept its settings. DemoFailed."""
        if not (await self.shop.truth()).serves(version):
            said = await self.shop.deploy(version)
            if any(said.values()):
                raise DemoFailed(f"CI could not deploy {version}: {said}")
        since = {"serving_since": _ago(SERVED[version])} if version in SERVED else {}
        await self._register({**self.shop.releases[version], **await self._published(version), **since})

    async def pages(self, version: str, of: str) -> None:
        """CI publishes the pages of a release, and registers it: what runs in the clusters stays that of another one.
        DemoFailed."""
        own = {"version": version, "serving_since": _ago(0.0)}
        await self._register({**self.shop.releases[of], **await self._published(version), **own})

    async def _register(self, body: Mapping[str, Any]) -> None:
        """As CI does it; returns when the bot has seen it serve and has kept its settings."""
        version = body["version"]
        body = {**body, "service": self.service}
        sent = json.dumps(body).encode()
        at = str(int(time.time()))
        mac = hmac.new(_SECRET.encode(), f"v0:{at}:".encode() + sent, hashlib.sha256).hexdigest()
        headers = {"X-Rollback-Timestamp": at, "X-Rollback-Signature": f"v0={mac}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as http, http.post(self.at("releases"), data=sent, headers=headers) as got:
            if got.status not in (200, 201):
                raise DemoFailed(f"{version} was not registered: {await got.text()}")
        await self._seen_serving(version)

    async def _published(self, version: str) -> dict[str, str]:
        """What CI says of the frontend's build, which is uploaded and published; nothing without a frontend."""
        if self.front is None:
            return {}
        said = ["--config", "config.json", "--calls", "GET /catalogue", "--calls", "POST /pay"]
        said += [*(["--worker", "sw.js"] if "sw.js" in files(version) else [])]
        folder = await asyncio.to_thread(self.front.make, version)
        made = await self.host("frontend", "manifest", str(folder), "--prefix", f"builds/{version}", *said, "--json")
        await self.front.upload(version)
        await self.front.publish(version)
        return {"frontend": json.loads(made)["build"]}

    async def _seen_serving(self, version: str) -> None:
        token = await self.token(self.reader)
        deadline = time.monotonic() + _START
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
            while time.monotonic() < deadline:
                async with http.get(self.at(f"releases/{self.service}")) as answer:
                    listed = (await answer.json())["releases"]
                found = next((r for r in listed if r["version"] == version), None)
                if found is not None and found["serving"] and found["release"]["settings"]:
                    return
                await asyncio.sleep(0.2)
        raise DemoFailed(f"the bot did not see {version} serve:\n{self.log_end()}")

    async def may_deploy(self, version: str) -> tuple[bool, str]:
        """What CI is told that asks before it deploys: whether, and why."""
        headers = {"Authorization": f"Bearer {_CI_TOKEN}"}
        url = self.at(f"freezes/{self.service}?version={version}")
        async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
            found = await answer.json()
            return bool(found["allowed"]), str(found["reason"])

    async def records(self, folder: Path) -> list[Path]:
        """Of each run, oldest first, its timeline (a page) and its record (JSON Lines) in this folder; the pages."""
        token = await self.token(self.reader)
        runs = [r["run"] for r in json.loads(await self.host("history", "--json", token=token))["runs"]]
        for run in runs:
            for form, ending in (("html", "html"), ("jsonl", "jsonl")):
                file = folder / f"{run}.{ending}"
                await self.host("audit", run, "export", "--format", form, "--output", str(file), token=token)
        return [folder / f"{run}.html" for run in reversed(runs)]

    async def last_run(self) -> str:
        """The id of the newest run that people asked for."""
        found = json.loads(await self.host("history", "--json", token=await self.token(self.reader)))["runs"]
        return next(str(r["run"]) for r in found if r["kind"] in ("rollback", "forward"))

    async def token(self, person: str) -> str:
        """A personal token for the command line, as the host issues it; once a person."""
        kept = self.folder / f"token-{person}"
        if not kept.exists():
            kept.write_text((await self.host("token", person)).split()[-1])
        return kept.read_text()

    def at(self, path: str) -> str:
        """The address of a page of the bot's, below /v1."""
        return f"http://127.0.0.1:{self.port}/v1/{path}"
