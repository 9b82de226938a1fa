"""A plan over thousands of Deployments, and what a bot costs that only looks after them.

    make bench BENCH=deployments [ARGS="plan idle --against ../yesterday"]

- plan: `release.deploy` over three clusters of 1,000 Deployments each (21 variables, two pods), ten edits in each; CPU
  of the process that plans, the longest stall of its event loop, and the most memory it had.
- idle: CPU of a bot that serves a catalogue with one such cluster, where no registered release serves.

Clusters run in a process of their own. Yardstick: the build in the work tree `--against`, with the environment in it,
in turns; without it the figures stand alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import median, report

HERE = Path(__file__).resolve().parent.parent
TURNS = 3
SETTLING, REST = 60.0, 60.0
"""Seconds that an idle bot is left alone before and while it is looked at."""
CLUSTERS, EACH, OLD = ("eu-1", "us-1", "ap-1"), int(os.environ.get("EACH", "1000")), 10


def image(name: str, release: str) -> str:
    """An image by a digest that is its own."""
    return f"registry.example/shop/{name}@sha256:{format(abs(hash_of(f'{name} {release}')), '064x')}"


def hash_of(text: str) -> int:
    """The same in every process."""
    found = 7
    for letter in text:
        found = found * 1_000_003 % 2**255 + ord(letter)
    return found


def deployment(i: int, release: str) -> dict[str, Any]:
    """One of many."""
    name = f"part-{i:04}"
    env = [
        {"name": f"VARIABLE_{n:02}", "value": f"what {name} is told, in words of some length: {n}"} for n in range(21)
    ]
    pod = {
        "containers": [
            {"name": "app", "image": image(name, release), "env": env, "resources": {"limits": {"memory": "1Gi"}}}
        ]
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }


async def serve(folder: str, names: list[str]) -> None:
    """The clusters, until the standard input ends."""
    from bot.playground.cluster import Cluster

    async with contextlib.AsyncExitStack() as stack:
        paths = []
        for name in names:
            cluster = await stack.enter_async_context(Cluster(name, kubelet=False))
            cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
            for i in range(EACH):
                cluster.apply(deployment(i, "2.4.1" if i < OLD else "2.4.0"))
                await asyncio.sleep(0)
            while len(cluster.all("Pod", "shop")) < 2 * EACH:
                await asyncio.sleep(0.5)
            paths.append(str(cluster.kubeconfig("bot")))
        await asyncio.to_thread(Path(folder, "kubeconfig").write_text, ":".join(paths))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def clusters(folder: str, *names: str) -> Iterator[str]:
    """The kubeconfig of clusters in a process of their own."""
    command = [*_again(HERE), "--serve", folder, *names]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE, env=_env(HERE)
    ) as child:
        assert child.stdout is not None
        if child.stdout.readline() != "ready\n":
            raise RuntimeError("the clusters do not come up")
        yield Path(folder, "kubeconfig").read_text()
        assert child.stdin is not None
        child.stdin.close()


async def plan(paths: str) -> dict[str, float]:
    """One plan: seconds of CPU, the longest stall in seconds, megabytes at the most."""
    from actions.release_deploy import ReleaseDeploy, ReleaseDeployParams
    from bot import testing
    from bot.adapters.kubernetes import Clusters, ClusterTarget
    from bot.contract import Outgoing
    from bot.ports import kubernetes as port
    from bot.testing import MemoryBlobs, TestCtx, ports

    names = [f"part-{i:04}" for i in range(EACH)]
    targets = [ClusterTarget(port.Cluster(name, "shop", i + 1), name, 60.0) for i, name in enumerate(CLUSTERS)]
    adapter = Clusters(targets, paths)
    moved = "bot.redaction.redactor" if importlib.util.find_spec("bot.redaction") else "bot.redact"
    secrets = importlib.import_module(moved).Redactor([])
    new, old = ({n: image(n, r) for n in names[:OLD]} for r in ("2.4.1", "2.4.0"))
    params = ReleaseDeployParams(release="2.4.0", images=old, outgoing=[Outgoing(version="2.4.1", images=new)])

    def bound(record: Any) -> Any:
        given = {"kubernetes": adapter.bind(record), "blobs": MemoryBlobs(), "secrets": secrets}
        if hasattr(testing, "MemoryRegistry"):  # earlier builds have no such port
            given["registry"] = testing.MemoryRegistry()
        return ports(**{name: port for name, port in given.items() if name in vars(testing)["PORT_NAMES"]})

    await adapter.ping()
    ctx = TestCtx(bound, ReleaseDeploy.needs)
    stalls = [0.0]
    watching = asyncio.create_task(_stalls(stalls))
    before = time.process_time()
    change = await ReleaseDeploy().plan(ctx, params)
    cpu = time.process_time() - before
    watching.cancel()
    await adapter.close()
    if len(change.edits) != OLD * len(CLUSTERS):
        raise RuntimeError(f"{len(change.edits)} edits: {change.summary}")
    return {"cpu": cpu, "stall": max(stalls), "rss": _status("self", "VmHWM:")}


async def _stalls(found: list[float]) -> None:
    """Keeps the longest time for which the loop's thread worked without looking at a timer that was due."""
    last = time.thread_time()
    while True:
        await asyncio.sleep(0.005)
        now = time.thread_time()  # of this thread, whoever else had the core
        found[0] = max(found[0], now - last)
        last = now


def _again(tree: Path) -> list[str]:
    """This program, by the environment and the build of a work tree; its own folder is no place to import from."""
    return [
        str(tree / ".venv" / "bin" / "python"),
        "-c",
        f"import runpy; runpy.run_path({__file__!r}, {{}}, '__main__')",
    ]


def _env(tree: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "", **more}


def planned(tree: Path, paths: str) -> Mapping[str, float]:
    """A plan by the build in a work tree."""
    command = [*_again(tree), "--plan", paths]
    found = subprocess.run(command, cwd=tree, env=_env(tree), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(found.stdout)  # type: ignore[no-any-return]


CATALOGUE = """\
people: {ana: Ana, ben: Ben, cho: Cho}
roles: {commander: {people: [ana]}, approver: {people: [ben, cho]}}
services:
  shop:
    targets: {eu-1: {kubernetes: eu-1, namespace: shop}}
"""


def idled(tree: Path, paths: str) -> dict[str, float]:
    """A bot by the build in a work tree, left alone: percent of a core, megabytes at rest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rollback.yaml").write_text(CATALOGUE)
        bot = str(tree / ".venv" / "bin" / "rollback-bot")
        env = {"PATH": os.environ["PATH"], "HOME": folder, "ROLLBACK_PORT": "0", "ROLLBACK_SLACK": "off",
               "ROLLBACK_KUBECONFIG": paths}  # fmt: skip
        subprocess.run([bot, "db", "upgrade"], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
        with subprocess.Popen([bot, "serve"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            if not any("listens on" in line for line in child.stdout):
                raise RuntimeError("the bot does not start")
            time.sleep(SETTLING)
            before = _cpu(child.pid)
            time.sleep(REST)
            share = 100 * (_cpu(child.pid) - before) / REST
            memory = _status(child.pid, "VmRSS:")
            child.terminate()
        return {"cpu": share, "rss": memory}


def _cpu(pid: int) -> float:
    """Seconds that a process has computed."""
    found = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(found[11]) + int(found[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int | str, key: str) -> float:
    """Megabytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def main() -> None:
    """The figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("which", nargs="*", default=["plan", "idle"])
    parser.add_argument("--against", type=Path)
    parser.add_argument("--serve", nargs="+")
    parser.add_argument("--plan")
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.serve[0], args.serve[1:]))
        return
    if args.plan:
        print(json.dumps(asyncio.run(plan(args.plan))))
        return
    trees = [HERE, *([args.against.resolve()] if args.against else [])]
    with tempfile.TemporaryDirectory() as folder:
        if "plan" in args.which:
            with clusters(folder, *CLUSTERS) as paths:
                found = [[planned(tree, paths) for tree in trees] for _ in range(TURNS)]
            _tell(found, {"cpu": ("CPU of a plan over 3 x 1,000", "s", 0.5), "stall": ("... longest stall", "s", None),
                          "rss": ("... memory", "MB", 1.2)})  # fmt: skip
        if "idle" in args.which:
            with clusters(folder, CLUSTERS[0]) as paths:
                found = [[idled(tree, paths) for tree in trees] for _ in range(TURNS)]
            _tell(
                found, {"cpu": ("CPU of an idle bot, 1,000 Deployments", "%", 1.0), "rss": ("... memory", "MB", None)}
            )


def _tell(found: list[list[Mapping[str, float]]], names: Mapping[str, tuple[str, str, float | None]]) -> None:
    for key, (name, unit, goal) in names.items():
        ours, *theirs = (median([turn[side][key] for turn in found]) for side in range(len(found[0])))
        report(name, ours, theirs[0] if theirs else 0.0, unit, goal, of="ours" if unit == "%" else "ratio")


if __name__ == "__main__":
    main()
