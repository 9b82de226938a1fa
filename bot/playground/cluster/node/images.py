"""A container registry: what an image starts, and the registry's own API, in which a client sees that it exists.

An image is a command line. Its manifest is a real one, so its digest changes with what it starts, and is the digest of
the bytes that `GET /v2/<name>/manifests/<reference>` answers.

Invariants: a digest names the same program for ever; a tag may move; nothing here needs a network beyond loopback.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from aiohttp import web

from bot.playground.cluster.node.interpreter import Interpreter

MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_REFERENCE = re.compile(r"(?P<name>[a-z0-9][\w./:-]*?)(?::(?P<tag>\w[\w.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")


@dataclass(frozen=True)
class Program:
    """What a container of an image runs. argv: the image's entrypoint; a pod's `command` takes its place."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None


class PullError(Exception):
    """The image cannot be had. reason: as the container's state has it, ErrImagePull or InvalidImageName."""

    def __init__(self, message: str, reason: str = "ErrImagePull") -> None:
        super().__init__(message)
        self.reason = reason


def repository(name: str) -> str:
    """The repository of an image name: without the registry's host."""
    host, slash, rest = name.partition("/")
    return rest if slash and ("." in host or ":" in host or host == "localhost") else name


class Registry:
    """Images by repository, on a loopback port while it is a context, or while a cluster that it was given to runs.

    warm: what runs those of its programs that are in Python.
    """

    def __init__(self, warm: Interpreter | None = None) -> None:
        self.warm = warm
        self._programs: dict[tuple[str, str], Program] = {}
        self._blobs: dict[str, bytes] = {}
        self._tags: dict[tuple[str, str], str] = {}
        self._failures: dict[tuple[str, str], str] = {}
        self._runner: web.AppRunner | None = None
        self._users = self._port = 0
        self.requests: list[str] = []

    async def __aenter__(self) -> Registry:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- images ----------------------------------------------------------------------------------------------------

    def add(
        self, name: str, tag: str, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> str:
        """Push an image; its reference by digest, `<name>@sha256:...`, for a pod or a patch."""
        program = Program(tuple(argv), dict(env or {}), cwd)
        repo = repository(name)
        config = json.dumps(
            {
                "config": {"Entrypoint": list(argv), "Env": sorted(program.env.items())},
                "cwd": cwd,
                "name": repo,
                "tag": tag,
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MEDIA_TYPE,
                "config": {"mediaType": _CONFIG, "digest": _digest(config), "size": len(config)},
                "layers": [],
            }
        ).encode()
        digest = _digest(manifest)
        self._blobs |= {digest: manifest, _digest(config): config}
        self._programs[repo, digest] = program
        self._tags[repo, tag] = digest
        return f"{name}@{digest}"

    def remove(self, name: str, reference: str) -> None:
        """Delete a tag, or an image by digest, as a retention policy would."""
        repo = repository(name)
        self._tags.pop((repo, reference), None)
        self._programs.pop((repo, reference), None)

    def fail(self, name: str, reference: str, message: str) -> None:
        """Refuse pulls of this tag or digest with this message; an empty one heals it."""
        self._failures.pop((repository(name), reference), None)
        if message:
            self._failures[repository(name), reference] = message

    def resolve(self, image: str) -> tuple[Program, str]:
        """What this image starts, and its reference by digest. PullError."""
        match = _REFERENCE.fullmatch(image)
        if match is None:
            raise PullError(
                f'Failed to apply default image tag "{image}": couldn\'t parse image reference', "InvalidImageName"
            )
        repo, tag = repository(match["name"]), match["tag"] or "latest"
        digest = match["digest"] or self._tags.get((repo, tag), "")
        failure = self._failures.get((repo, match["digest"] or tag))
        if failure:
            raise PullError(f'failed to pull and unpack image "{image}": {failure}')
        program = self._programs.get((repo, digest))
        if program is None:
            raise PullError(
                f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": failed to resolve '
                f'reference "{image}": {image}: not found'
            )
        return program, f"{match['name']}@{digest}"

    # -- over HTTP -------------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """`127.0.0.1:port`, as an image name begins with."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://{self.host}"

    async def start(self) -> None:
        """Listen, for as long as somebody who called this has not called `stop`."""
        self._users += 1
        if self._users > 1:
            return
        app = web.Application()
        app.router.add_get("/v2/", self._base)
        app.router.add_get("/v2/{name:.+}/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/{name:.+}/blobs/{reference}", self._blob)
        app.router.add_get("/v2/{name:.+}/tags/list", self._list)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, if nobody else needs it."""
        self._users -= 1
        if self._users == 0 and self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            if self.warm is not None:
                await self.warm.close()

    async def _base(self, _: web.Request) -> web.Response:
        return web.json_response({}, headers={"Docker-Distribution-API-Version": "registry/2.0"})

    async def _manifest(self, request: web.Request) -> web.Response:
        name, reference = request.match_info["name"], request.match_info["reference"]
        self.requests.append(f"{request.method} {name} {reference}")
        digest = reference if reference.startswith("sha256:") else self._tags.get((name, reference), "")
        if (name, digest) not in self._programs:
            return _unknown("MANIFEST_UNKNOWN", "manifest unknown")
        headers = {"Docker-Content-Digest": digest, "Docker-Distribution-API-Version": "registry/2.0"}
        return web.Response(body=self._blobs[digest], content_type=MEDIA_TYPE, headers=headers)

    async def _blob(self, request: web.Request) -> web.Response:
        found = self._blobs.get(request.match_info["reference"])
        if found is None:
            return _unknown("BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"Docker-Content-Digest": request.match_info["reference"]}
        return web.Response(body=found, content_type="application/octet-stream", headers=headers)

    async def _list(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        tags = sorted(tag for repo, tag in self._tags if repo == name)
        return (
            web.json_response({"name": name, "tags": tags})
            if tags
            else _unknown("NAME_UNKNOWN", "repository name not known to registry")
        )


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _unknown(code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=404)
