"""The report over many runs: as JSON with its text, or as a page."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict

from aiohttp import web

from bot.audit.report_page import report_page
from bot.run.decide import RELEASING
from bot.run.events import BadEvent
from bot.store.log import Store
from bot.store.rows import Slot
from bot.telling.report import RunsReport, Timed, lines, report, timed
from bot.web.answers import as_json
from bot.web.record import file_of
from bot.web.requests import between, in_query, name, one_of
from bot.web.serves import Serves

MOST = 1000
"""Runs that one report goes over."""
CARD = "root"
"""The slot of a run's first card."""


async def of_all(store: Store, service: str | None, limit: int) -> RunsReport:
    """The report over the newest rollbacks. Other tasks have their turn between two runs."""
    found: list[Timed] = []
    unread: list[str] = []
    for head in await store.heads(service=service, limit=None):
        if head.kind not in RELEASING:
            continue
        if len(found) + len(unread) == limit:
            break
        try:
            run = await store.load(head.run)
        except BadEvent:
            unread.append(head.run)
            continue
        if (one := timed(run, _carded(await store.slots(head.run)))) is not None:
            found.append(one)
        await asyncio.sleep(0)
    return report(found, unread)


def _carded(slots: Mapping[str, Slot]) -> float | None:
    """When the card stood in Slack, by Slack's own time."""
    slot = slots.get(CARD)
    try:
        return float(slot.ts) if slot is not None and slot.ts else None
    except ValueError:
        return None


class Reports:
    """The handler."""

    def __init__(self, bot: Serves) -> None:
        self.bot = bot

    async def show(self, request: web.Request) -> web.Response:
        """?service=, ?limit=1..1000, ?format=json|html."""
        service = in_query(request, "service", name, None)
        limit = int(in_query(request, "limit", between(1, MOST), 200))
        form = in_query(request, "format", one_of("json", "html"), "json")
        found = await of_all(self.bot.store, service, limit)
        if form == "html":
            return file_of(await asyncio.to_thread(report_page, found), "text/html")
        return as_json({**asdict(found), "text": "\n".join(lines(found))})
