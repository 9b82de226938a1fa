"""Every path of the HTTP interface, and who answers it."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from bot.web.answers import BODY_LIMIT, Answering, answered
from bot.web.freezes import Freezes
from bot.web.record import Records
from bot.web.releases import LedgerRoutes
from bot.web.reports import Reports
from bot.web.serves import Serves
from bot.web.site import WebSite


def app(
    bot: Serves, via: str = "", others: Mapping[str, Answering] | None = None, metrics: Answering | None = None
) -> web.Application:
    """The application. via: what is recorded as the way in; where empty, by the client's own word. others: path ->
    who answers a POST there, and knows by himself who sent it (Slack). metrics: who answers `/metrics`."""
    others = others or {}
    site, ledger, records = WebSite(bot, via, others), LedgerRoutes(bot), Records(bot)
    freezes = Freezes(bot)
    found = web.Application(middlewares=[answered, site.known], client_max_size=BODY_LIMIT)
    found.on_shutdown.append(site.close)
    found.add_routes([
        web.get("/healthz", site.healthz),
        web.get("/readyz", site.readyz),
        web.get("/v1/me", site.me),
        web.post("/v1/rollbacks", site.open),
        web.post("/v1/previews", site.preview),
        web.get("/v1/runs", site.runs),
        web.get("/v1/debts", site.debts),
        web.get("/v1/report", Reports(bot).show),
        web.get("/v1/runs/{run}", site.show),
        web.get("/v1/runs/{run}/events", site.events),
        web.post("/v1/runs/{run}/commands", site.command),
        web.post("/v1/runs/{run}/forward", site.forward),
        web.post("/v1/runs/{run}/postmortem", site.postmortem),
        web.post("/v1/runs/{run}/replan", site.replan),
        web.get("/v1/runs/{run}/audit", records.one),
        web.get("/v1/audit", records.all),
        web.post("/v1/releases", ledger.record),
        web.get("/v1/releases/{service}", ledger.list),
        web.post("/v1/releases/{service}/{version}/{what}", ledger.mark),
        web.get("/v1/freezes/{service}", freezes.show),
        web.post("/v1/freezes/{service}/overrides", freezes.override),
        web.post("/v1/freezes/{service}/freeze", freezes.freeze),
        web.post("/v1/freezes/{service}/thaw", freezes.thaw),
        *([web.get("/metrics", metrics)] if metrics is not None else []),
        *(web.post(path, handler) for path, handler in others.items()),
    ])  # fmt: skip
    return found
