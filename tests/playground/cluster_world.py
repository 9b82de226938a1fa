"""What the tests of the cluster stand on: manifests, a program to run in a pod, clients and kubectl."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import kubernetes.aio

from bot.playground.cluster import Cluster, Registry

Json = dict[str, Any]

client: Any = kubernetes.aio.client
watch: Any = kubernetes.aio.watch
kube_config: Any = kubernetes.aio.config
"""The official client; its types do not know that it takes bodies as JSON too."""

SERVER = """
import os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("up", os.environ.get("VERSION"), flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    body = (os.environ.get("VERSION", "") + " " + os.environ.get("GREETING", "")).strip().encode()
    head = b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Type: text/plain\\r\\nContent-Length: %d\\r\\n\\r\\n"
    connection.sendall(head % len(body) + body)
    connection.close()
"""
WEB = "registry.example/shop/web"


def python(code: str) -> list[str]:
    """A command line that starts fast."""
    return [sys.executable, "-S", "-E", "-c", code]


def shop_registry() -> tuple[Registry, str, str]:
    """A registry with two releases of one program, and their references by digest."""
    registry = Registry()
    v1, v2 = (registry.add(WEB, v, python(SERVER), {"VERSION": v}) for v in ("v1", "v2"))
    return registry, v1, v2


def namespace(name: str = "shop") -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def template(image: str, app: str = "web", **container: Any) -> Json:
    """A pod template with one container."""
    one = {"name": app, "image": image, **container}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [one]}}


def deployment(image: str = "web:v1", name: str = "web", replicas: int = 2, *, probe: bool = True, **spec: Any) -> Json:
    ready = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}}} if probe else {}
    pod = template(image, name, ports=[{"containerPort": 8080}], **ready)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod, **spec},
    }


def service(name: str = "web") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data}


@asynccontextmanager
async def connected(cluster: Cluster, user: str = "admin") -> AsyncIterator[Any]:
    """The real client, as this user, through the kubeconfig file."""
    configuration = client.Configuration()

    await kube_config.load_kube_config(str(cluster.kubeconfig(user)), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        yield api


async def kubectl(cluster: Cluster, *args: str, user: str = "admin", stdin: str = "") -> tuple[int, str]:
    """Exit code and output of the real kubectl. FileNotFoundError where it is not installed."""
    binary = shutil.which("kubectl")
    if binary is None:
        raise FileNotFoundError("kubectl is not installed: apt-get install kubernetes-client")
    told = cluster.kubeconfig(user, "shop")
    child = await asyncio.create_subprocess_exec(
        binary, f"--kubeconfig={told}", f"--cache-dir={told.parent}/cache", *args, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await child.communicate(stdin.encode())
    return child.returncode or 0, said.decode()


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    """Return when the condition holds of something that tells nobody. TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0.02)


async def fetch(address: str, path: str = "/") -> str:
    """The body of a GET."""
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}{path}") as answer:
        return await answer.text()


def events(cluster: Cluster, name: str, space: str = "shop") -> list[tuple[str, str]]:
    """Reason and message of what was told about an object."""
    found = [e for e in cluster.all("Event", space) if e["involvedObject"]["name"] == name]
    return [(e["reason"], e["message"]) for e in found]
