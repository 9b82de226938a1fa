"""`python -m bot.playground.cluster`: a cluster to point kubectl at, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.node.images import Registry
from bot.playground.cluster.server import Cluster

_HELLO = """
import http.server, os
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ["PORT"]), bind="127.0.0.1")
"""


async def _run(cluster: Cluster, registry: Registry, manifests: Sequence[Path]) -> None:
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    image = registry.add("registry.example/hello", "latest", [sys.executable, "-c", _HELLO], cwd="/")
    async with registry, cluster:
        for path in manifests:
            cluster.apply(*filter(None, yaml.safe_load_all(path.read_text())))
        sys.stdout.write(f"cluster {cluster.name} on {cluster.url}\nregistry on {registry.url}, with {image}\n")
        for user in cluster.access.users:
            sys.stdout.write(f"{user:12} export KUBECONFIG={cluster.kubeconfig(user)}\n")
        sys.stdout.flush()
        await leave.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="cluster", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--name", default="playground")
    parser.add_argument("--no-kubelet", action="store_true", help="pods stay Pending")
    parser.add_argument("manifests", nargs="*", type=Path, help="YAML to begin with")
    args = parser.parse_args(argv)
    registry = Registry()
    try:
        cluster = Cluster(args.name, registry=registry, kubelet=not args.no_kubelet, port=args.port)
        asyncio.run(_run(cluster, registry, args.manifests))
    except (OSError, ValueError, LookupError, ApiError, yaml.YAMLError) as error:
        sys.stderr.write(f"cluster: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
