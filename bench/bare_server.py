"""Answers every GET with the same body: `python bench/bare_server.py <port> <file>`. What aiohttp alone costs.

A program of its own, so that it has a process and an event loop to itself, as the bot has.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web


def main(port: int, body: str) -> None:
    """Serves until it is ended."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=_say)


def _say(_: str) -> None:
    print(f"listens on {sys.argv[1]}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="utf-8"))
