"""What the API server asks the node for: a container's log, and a way through to a pod or a service."""

from __future__ import annotations

import contextlib

import aiohttp
from aiohttp import web

from bot.playground.cluster import failures, resources
from bot.playground.cluster.api import Target
from bot.playground.cluster.core import Core
from bot.playground.cluster.node.containers import Container
from bot.playground.cluster.node.kubelet import Kubelet
from bot.playground.cluster.node.network import Network
from bot.playground.cluster.node.processes import Log, shown
from bot.playground.cluster.objects import unstamp


class PodApi:
    """The `log` and `proxy` subresources. kubelet: None where no pod runs."""

    def __init__(self, core: Core, kubelet: Kubelet | None, network: Network) -> None:
        self._core, self._kubelet, self._network = core, kubelet, network

    # -- logs ------------------------------------------------------------------------------------------------------

    async def log(self, request: web.Request, target: Target) -> web.StreamResponse:
        """GET .../pods/<name>/log"""
        query = request.query
        container = self._container(target, query.get("container", ""))
        log = self._log(container, target.name, previous=query.get("previous") in ("true", "1"))
        stamps = query.get("timestamps") in ("true", "1")
        lines = self._chosen(log, request)
        text = "".join(shown(line, timestamps=stamps) for line in lines)
        if "limitBytes" in query:
            text = text.encode()[: int(query["limitBytes"])].decode(errors="ignore")
        if query.get("follow") not in ("true", "1"):
            return web.Response(text=text)
        return await self._follow(request, log, text, stamps=stamps)

    def _container(self, target: Target, wanted: str) -> Container:
        pod = self._core.get(resources.PODS, target.namespace, target.name)
        names = [c["name"] for c in pod["spec"]["containers"]]
        every = names + [c["name"] for c in pod["spec"].get("initContainers") or ()]
        if not wanted and len(names) > 1:
            raise failures.bad_request(
                f"a container name must be specified for pod {target.name}, choose one of: [{' '.join(every)}]"
            )
        wanted = wanted or names[0]
        if wanted not in every:
            raise failures.bad_request(f"container {wanted} is not valid for pod {target.name}")
        running = self._kubelet.containers(pod) if self._kubelet else []
        found = next((c for c in running if c.name == wanted), None)
        if found is None:
            raise failures.bad_request(
                f'container "{wanted}" in pod "{target.name}" is waiting to start: ContainerCreating'
            )
        return found

    def _log(self, container: Container, pod: str, *, previous: bool) -> Log:
        if previous:
            past = container.previous if "waiting" not in container.state else container.log
            if past is None:
                raise failures.bad_request(f'previous terminated container "{container.name}" in pod "{pod}" not found')
            return past
        if container.log is None:
            reason = container.state.get("waiting", {}).get("reason", "ContainerCreating")
            why = "trying and failing to pull image" if "Pull" in reason else reason
            raise failures.bad_request(f'container "{container.name}" in pod "{pod}" is waiting to start: {why}')
        return container.log

    def _chosen(self, log: Log, request: web.Request) -> list[tuple[float, str]]:
        query, lines = request.query, log.lines
        since = 0.0
        try:
            if "sinceSeconds" in query:
                since = self._core.now() - int(query["sinceSeconds"])
            elif "sinceTime" in query:
                since = unstamp(query["sinceTime"])
            lines = [line for line in lines if line[0] >= since]
            if "tailLines" in query:
                tail = int(query["tailLines"])
                lines = lines[-tail:] if tail else []
        except ValueError as error:
            raise failures.bad_request(f"invalid log options: {error}") from error
        return lines

    async def _follow(self, request: web.Request, log: Log, text: str, *, stamps: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write(text.encode())
            seen = len(log.lines)
            while True:
                grown = log.grown
                fresh, seen = log.lines[seen:], len(log.lines)
                for line in fresh:
                    await response.write(shown(line, timestamps=stamps).encode())
                if not fresh and log.closed:
                    break
                if not fresh:
                    await grown.wait()
            await response.write_eof()
        return response

    # -- the way through -------------------------------------------------------------------------------------------

    async def proxy(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Any verb on .../pods|services/<name>[:port]/proxy/<path>"""
        name, _, wanted = target.name.partition(":")
        port = self._behind(target, name, wanted)
        if port is None:
            raise failures.ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{target.name}"')
        url = f"http://127.0.0.1:{port}/{target.rest}"
        headers = {
            k: v for k, v in request.headers.items() if k.lower() not in ("authorization", "host", "content-length")
        }
        body = await request.read()
        try:
            async with (
                aiohttp.ClientSession(auto_decompress=False) as http,
                http.request(request.method, url, params=request.query, headers=headers, data=body or None,
                             allow_redirects=False) as answer,
            ):  # fmt: skip
                kept = {
                    k: v for k, v in answer.headers.items() if k.lower() not in ("transfer-encoding", "content-length")
                }
                return web.Response(body=await answer.read(), status=answer.status, headers=kept)
        except (TimeoutError, aiohttp.ClientError) as error:
            message = f"error trying to reach service: {error}"
            raise failures.ApiError(503, "ServiceUnavailable", message) from error

    def _behind(self, target: Target, name: str, wanted: str) -> int | None:
        obj = self._core.get(target.resource, target.namespace, name)
        if target.resource is resources.SERVICES:
            return next(iter(self._network.endpoints(obj)), None)
        port = int(wanted) if wanted.isdigit() else wanted or None
        return self._kubelet.port(obj, port) if self._kubelet else None
