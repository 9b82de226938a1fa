#!/usr/bin/env bash
# aiohttp 3.14.5 (client): a PUT or DELETE is sent again, without a word, when the server takes it whole and the
# connection then ends without an answer. The caller sees one answer: that of the second.
#
# Guess: the lost answer is raised as ServerDisconnectedError, as for POST and PATCH; at most a request on a kept
#   connection is repeated, so that `force_close=True` or a fresh session keeps a write single.
# Seen: the server has carried out both, on a used, a fresh and an unkept connection. A write that is counted, recorded or
#   bound to what was there before (If-Match, If-None-Match) happens twice, or is refused over the caller's own first one.
# Way out, by public means: a client middleware that raises something which is no aiohttp error.
#
# Fails when this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check aiohttp==3.14.5
cat >seen.py <<'PYTHON'
import asyncio

import aiohttp
from aiohttp import web


async def server(taken: list[str]) -> tuple[web.AppRunner, str]:
    """Takes every write whole; ends the connection instead of answering the first of each method."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if request.method == "GET":
            return web.Response(text="ready")
        taken.append(request.method)
        if taken.count(request.method) == 1:
            request.transport.close()
        return web.Response(text=f"{taken.count(request.method)} taken")

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


class Lost(Exception):
    """The answer is lost."""


async def once(request: aiohttp.ClientRequest, handler) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ServerDisconnectedError as error:
        raise Lost from error


async def write(method: str, used: bool = False, keep: bool = True, middlewares=()) -> str:
    taken: list[str] = []
    runner, url = await server(taken)
    connector = aiohttp.TCPConnector(force_close=not keep)
    async with aiohttp.ClientSession(connector=connector, middlewares=middlewares) as http:
        if used:
            await (await http.get(url)).text()
        try:
            async with http.request(method, url, data=b"x") as answer:
                said = await answer.text()
        except (aiohttp.ServerDisconnectedError, Lost) as error:
            said = type(error).__name__
    await runner.cleanup()
    return f"the server took {len(taken)}, the caller saw: {said}"


async def main() -> None:
    for method in ("PUT", "DELETE", "POST", "PATCH"):
        print(f"{method}: {await write(method)}")
    print(f"PUT, used connection: {await write('PUT', used=True)}")
    print(f"PUT, force_close: {await write('PUT', keep=False)}")
    print(f"PUT, middleware: {await write('PUT', middlewares=(once,))}")


asyncio.run(main())
PYTHON
env/bin/python seen.py | tee seen
diff - seen <<'SEEN'
PUT: the server took 2, the caller saw: 2 taken
DELETE: the server took 2, the caller saw: 2 taken
POST: the server took 1, the caller saw: ServerDisconnectedError
PATCH: the server took 1, the caller saw: ServerDisconnectedError
PUT, used connection: the server took 2, the caller saw: 2 taken
PUT, force_close: the server took 2, the caller saw: 2 taken
PUT, middleware: the server took 1, the caller saw: Lost
SEEN
echo "As it was seen: a PUT whose answer is lost is sent twice."
