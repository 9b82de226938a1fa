"""Probes as the kubelet makes them: a real GET, connection or command against the container's process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import aiohttp

from bot.playground.cluster.objects import Json


async def probe(spec: Json, port: int, env: Mapping[str, str], http: aiohttp.ClientSession) -> str:
    """What is wrong, or ""."""
    seconds = float(spec.get("timeoutSeconds") or 1)
    try:
        async with asyncio.timeout(seconds):
            if "httpGet" in spec:
                return await _get(spec["httpGet"], port, http)
            if "tcpSocket" in spec:
                return await _connect(port)
            if "exec" in spec:
                return await _run(spec["exec"]["command"], env)
            return "the playground has no such probe"
    except TimeoutError:
        return "context deadline exceeded"
    except (aiohttp.ClientConnectorError, ConnectionRefusedError):
        return f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    except (aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__


async def _get(spec: Json, port: int, http: aiohttp.ClientSession) -> str:
    headers = {h["name"]: h["value"] for h in spec.get("httpHeaders") or ()}
    headers.setdefault("User-Agent", "kube-probe/1.36")
    url = f"http://127.0.0.1:{port}/{str(spec.get('path') or '/').lstrip('/')}"
    async with http.get(url, headers=headers, allow_redirects=False) as response:
        await response.read()
        return "" if 200 <= response.status < 400 else f"HTTP probe failed with statuscode: {response.status}"


async def _connect(port: int) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return ""


async def _run(command: list[str], env: Mapping[str, str]) -> str:
    child = await asyncio.create_subprocess_exec(
        *command, env=dict(env), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await child.communicate()
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return "" if child.returncode == 0 else said.decode(errors="replace").strip() or f"exit code {child.returncode}"
