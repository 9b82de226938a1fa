"""The record over HTTP: verified, or exported for people (Markdown, an HTML timeline) and programs (JSON Lines)."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

from aiohttp import web

from bot.audit import POLICY, RecordFault, export_jsonl, export_markdown, html, pictures_of, verify
from bot.audit.apart import made
from bot.node.outside import kept, no_copy
from bot.policy import Refusal
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.chain import Checkpoint
from bot.store.log import Store
from bot.web.answers import No, as_json
from bot.web.requests import in_query, one_of, word_in_address
from bot.web.serves import Serves


class Records:
    """The handlers of the audit. They fold nothing: a record that makes no sense any more can still be judged."""

    def __init__(self, bot: Serves) -> None:
        self.bot = bot

    async def all(self, request: web.Request) -> web.Response:
        """Every hash of every run computed again, and the copy of the chain's head outside the database compared."""
        return as_json(await verified(self.bot.store, self.bot.files))

    async def one(self, request: web.Request) -> web.Response:
        """One run. ?format=verify|jsonl|markdown|html."""
        form = in_query(request, "format", one_of("verify", "jsonl", "markdown", "html"), "verify")
        run = await self._run(request)
        if form == "jsonl":
            return file_of(await export_jsonl(self.bot.store, run), "application/x-ndjson")
        if form == "markdown":
            return file_of(await made(export_markdown, await self.bot.store.events(run)), "text/markdown")
        if form == "html":
            rows = await self.bot.store.events(run)
            shown = await pictures_of(rows, self.bot.files)
            return file_of(await made(html, rows, shown), "text/html")
        return as_json(await verified(self.bot.store, self.bot.files, run))

    async def _run(self, request: web.Request) -> str:
        word = word_in_address(request, "run")
        if word != "-" and await self.bot.store.events(word):
            return word
        found = await self.bot.rollbacks.find(None if word == "-" else word)
        if isinstance(found, Refusal):
            raise No.of(found)
        return found


async def verified(store: Store, files: FileBlobs, run: str | None = None) -> dict[str, object]:
    """A verification as JSON; of all runs where none is named. The copy outside is read first: the log only grows."""
    outside, altered = None, ""
    try:
        text = await asyncio.to_thread(kept, files)
        outside = None if text is None else Checkpoint.parse(text)
        altered = await no_copy(files, store) if text is None else ""
    except ValueError as e:
        altered = f"The copy of the chain's head outside the database is bad: {e}."
    except BlobsUnavailable as e:
        altered = f"The copy of the chain's head outside the database cannot be read: {e}"
    found = await verify(store, run=run, anchor=outside)
    if altered:
        anchor = RecordFault("anchor", "", 0, altered.partition(" Next: ")[0])
        found = replace(found, faults=(*found.faults, anchor))
    return {**asdict(found), "ok": found.ok, "text": found.text}


def file_of(text: str, kind: str) -> web.Response:
    """What others wrote is in it: no browser may take it for anything else, or let it load or do anything."""
    headers = {
        "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": f"{POLICY}; sandbox",
    }  # fmt: skip
    return web.Response(text=text, content_type=kind, charset="utf-8", headers=headers)
