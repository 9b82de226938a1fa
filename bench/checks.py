"""Is it well again? The checks of the standard plan against the same questions in a shell, and many that hang.

    make bench BENCH=checks

- checks: what the standard plan asks at its end of the demo's shop (two clusters, PostgreSQL, Valkey, a partner, and
  Prometheus with Alertmanager), as a plan of its own, by a bot at work: from the first start in the record to the last
  verdict. Yardstick: one shell script that asks the same with kubectl, curl, psql, redis-cli, promtool and amtool, in
  turns with it. It judges nothing and compares nothing with an earlier window, so it does less.
- hang: forty checks, each of a target of its own that takes the request and never answers, with a timeout of 5 s.

The shop runs its bad release, so some answers are a no: a check costs what its question costs. It has neither a CDN
nor a frontend, so V6 is not among them.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

from bench import median, report
from bot.playground.demo.stage import Stage, short_plan

ROUNDS, WARM = 5, 1
HANGING, TIMEOUT = 40, 5
GOAL, HUNG = 0.35, 6.0
TOOLS = ("kubectl", "curl", "psql", "redis-cli", "promtool", "amtool", "jq", "prometheus")


class Measured(Stage):
    """The demo's stage, whose bot knows two more plans and targets that hang once they are told to."""

    hung: asyncio.Server
    silent = False

    async def _start(self) -> None:
        self.hung = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self._stack.callback(self.hung.close)
        await super()._start()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if self.silent:
                    await reader.read()
                body = b'{"release": "2.4.0", "status": "ok"}'
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                             % (len(body), body))  # fmt: skip
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve(self) -> None:
        """With what is measured in its plans and catalogue."""
        folder = self.folder / "plans"
        verify = yaml.safe_load(short_plan())["tracks"]["verify"][0]
        asked = [{k: v for k, v in step.items() if k not in ("after", "within", "phase")} for step in verify]
        _write(folder, "checks", asked)
        many = [{"id": f"h{n}", "title": f"Hangs {n}", "uses": "health.serving", "timeout": "30s",
                 "with": {"target": f"hang-{n}"}} for n in range(HANGING)]  # fmt: skip
        _write(folder, "hang", many)
        told = yaml.safe_load((self.folder / "rollback.yaml").read_text())
        port = self.hung.sockets[0].getsockname()[1]
        one = {"http": f"http://127.0.0.1:{port}", "timeout": TIMEOUT}
        told["services"]["shop"]["targets"] |= {f"hang-{n}": one for n in range(HANGING)}
        (self.folder / "rollback.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
        await super().serve()

    async def asked(self, plan: str, verdicts: int = 0) -> tuple[float, Mapping[str, str]]:
        """A run of a plan of checks: seconds from its first start to its last verdict, and what each found."""
        token = await self.token("ana")
        words = ("rollback", "shop", "--plan", plan, "--reason", "measured", "--json")
        run = json.loads(await self.host(*words, token=token))["run"]
        while True:
            text = await self.host("audit", run, "export", "--format", "jsonl", token=token)
            rows = [json.loads(line) for line in text.splitlines()]
            found = {r["body"]["step"]: r["body"]["verdict"]["status"] for r in rows if r.get("kind") == "checked"}
            needless = {r["body"]["step"] for r in rows if r.get("kind") == "not needed"}
            if len(found) == verdicts - len(needless):
                break
            await asyncio.sleep(0.2)
        began = min(r["at"] for r in rows if r.get("kind") == "started")
        ended = max(r["at"] for r in rows if r.get("kind") == "checked")
        await self.host("abort", run, "--reason", "measured", token=token)
        while json.loads(await self.host("status", "--json", token=token))["runs"]:
            await asyncio.sleep(0.2)
        return (ended - began) / 1e6, found


def _write(folder: Path, name: str, steps: object) -> None:
    """A plan of checks, and a decision behind them that nobody takes: no run of it brings anything back."""
    stay = {"id": "stay", "title": "Stay", "gate": {"by": {"commander": 1}, "self_approval": True}}
    plan = {"name": name, "tracks": {"verify": [steps, stay]}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))


def script(stage: Stage) -> str:
    """The same questions, one after the other, as somebody has them in a file."""
    shop, beside = stage.shop, stage.shop.beside
    assert beside is not None
    lines = ["set -u", f"export KUBECONFIG={shlex.quote(str(shop.kubeconfig))}"]
    for cluster, door in shop.doors.items():
        k = f"kubectl --context {cluster} -n shop"
        lines += [
            f"curl -sf http://{door}/healthz | jq -e .release",
            f"{k} get deployments,pods,cronjobs,jobs -o json | jq '.items[] | {{kind, n: .metadata.name, s: .status}}'",
            f"for p in $({k} get pods -o name); do {k} logs --since=60s $p | grep -c Traceback || true; done",
            *_journeys(f"http://{door}"),
        ]
    user, password = beside.data.logins["app"]
    lines.append(f"export PGPASSWORD={shlex.quote(password)}")
    columns = "SELECT table_name, column_name FROM information_schema.columns"
    integrity: Mapping[str, str] = beside.targets()["db"]["integrity"]  # type: ignore[index]
    queries = ("SELECT version_num FROM alembic_version", columns, *integrity.values())
    host, _, own = beside.data.place.partition("/")
    at = f"postgresql://{user}@{host}/{own}"
    lines += [f"psql -qAt {shlex.quote(at)} -c {shlex.quote(q)}" for q in queries]
    name, port = beside.data.valkey.split(":")
    lines += [f"redis-cli -h {name} -p {port} {command}" for command in ("KEYS '*jobs*'", "INFO stats", "INFO memory")]
    lines += [f"curl -sf {beside.partner}{path}" for path in ("/health", "/status")]
    series: Mapping[str, Mapping[str, str]] = beside.targets()["monitor"]["series"]  # type: ignore[index]
    lines += [f"promtool query instant {beside.prometheus} {shlex.quote(s['query'])}" for s in series.values()]
    lines += [f"curl -sf {beside.prometheus}/api/v1/{what}" for what in ("rules", "alerts", "targets")]
    lines += [f"amtool --alertmanager.url={beside.alertmanager} {what} query" for what in ("alert", "silence")]
    return "\n".join(f"{line} >/dev/null" if not line.startswith(("set", "export")) else line for line in lines) + "\n"


def _journeys(door: str) -> list[str]:
    """An account, a login, an order, a message, a dispute, and all of it away again; each journey has its own."""
    post, account = f"curl -sf -H 'Content-Type: application/json' {door}", '{"name": "%s", "secret": "s3cret-s3cret"}'
    lines = []
    for journey in ("account", "pay", "messages", "disputes"):
        name = f"synthetic-bench-{journey}-$$"
        said = (account % name).replace('"', '\\"')
        lines += [f'{post}/tenants -d "{said}"', f'{post}/login -d "{said}"', f"curl -s {door}/account",
                  f"curl -s -X DELETE {door}/tenants/{name}"]  # fmt: skip
    return [*lines, f"curl -sf {door}/catalogue"]


async def shell(path: Path) -> float:
    """Seconds of one turn of the script."""
    begun = time.perf_counter()
    child = await asyncio.create_subprocess_exec("bash", str(path), stdout=asyncio.subprocess.DEVNULL,
                                                 stderr=asyncio.subprocess.PIPE)  # fmt: skip
    _, said = await child.communicate()
    if b"command not found" in said:
        raise RuntimeError(f"the script: {said.decode().strip()[-400:]}")
    return time.perf_counter() - begun


async def main() -> int:
    """Exit code 2 where there is nothing to compare with."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    async with Measured(second=True) as stage:
        for version in ("2.4.0", "2.4.1", "2.4.0"):
            await stage.shop.deploy(version) if version == "2.4.0" and stage.starts > 1 else await stage.release(
                version
            )
        path = stage.folder / "checks.sh"
        path.write_text(script(stage))
        steps = len(yaml.safe_load((stage.folder / "plans" / "checks.yaml").read_text())["tracks"]["verify"][0])
        ours: list[float] = []
        theirs: list[float] = []
        found: Mapping[str, str] = {}
        for _ in range(WARM + ROUNDS):
            took, found = await stage.asked("checks", steps)
            ours.append(took)
            theirs.append(await shell(path))
        print("verdicts: " + ", ".join(f"{step} {status}" for step, status in sorted(found.items())))
        report("checks of the standard plan", median(ours[WARM:]), median(theirs[WARM:]), "s", GOAL, of="ratio")
        stage.silent = True
        took, found = await stage.asked("hang", HANGING)
        assert set(found.values()) == {"unknown"}, "a target that hangs is never well"
        report(f"{HANGING} checks that hang for {TIMEOUT} s", took, HANGING * float(TIMEOUT), "s", HUNG)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PGCONNECT_TIMEOUT", "5")
    sys.exit(asyncio.run(main()))
