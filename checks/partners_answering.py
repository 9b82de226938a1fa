"""V7: those who serve the service from outside answer it: a probe of ours, and what their status page says.

The two may disagree, and both ways matter: a probe that fails while the page says all is well points at our side (our
credentials, our way out), one that is answered while the page tells of an outage will not last. Where the partner
cannot be reached from here nothing is known, unless its own page says that it is down. Only an answered probe passes.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Json, Reply, Unreachable
from bot.ports.partners import Partner, Probe, StatusPage
from bot.ports.pointers import at

SHOWN = 80
"""Characters of a page that are shown."""


class PartnersAnsweringParams(Params):
    """Which partners."""

    only: list[str] = Field([], description="Names of the partners; all that the catalogue has, where none is named.")


class PartnersAnsweringOutput(Output):
    """How they are."""

    partners: dict[str, str] = Field(description="Partner -> pass, warn, fail or unknown.")
    probes: dict[str, str] = Field(description="Partner -> what the probe saw.")
    pages: dict[str, str] = Field(description="Partner -> what its status page says, where it has one.")


@dataclass(frozen=True, slots=True)
class _Said:
    """well None: not known."""

    well: bool | None
    words: str


class PartnersAnswering(Check[PartnersAnsweringParams]):
    """Passes when every partner answers us, and none says that it is down."""

    name = "partners.answering"
    needs = frozenset({"partners", "http"})
    Params = PartnersAnsweringParams
    Output = PartnersAnsweringOutput

    async def run(self, ctx: ReadCtx, p: PartnersAnsweringParams) -> Verdict:
        known = ctx.ports.partners.catalogued
        if missing := sorted({*p.only} - {*known}):
            return Verdict(Status.UNKNOWN, f"the catalogue has no partner {', '.join(missing)}", "these partners")
        chosen = [known[n] for n in p.only] if p.only else [*known.values()]
        if not chosen:
            return Verdict(Status.PASS, "the service has no partners in the catalogue", "every partner there is")
        seen = await asyncio.gather(*(_look(ctx, partner) for partner in chosen))
        judged = {partner.name: _judge(partner, *said) for partner, said in zip(chosen, seen, strict=True)}
        worst = max((status for status, _ in judged.values()), key=_ORDER.index)
        told = [w for s, w in judged.values() if s is not Status.PASS] or [w for _, w in judged.values()]
        good = sum(s is Status.PASS for s, _ in judged.values())
        count = f"; {good} of {len(chosen)} answer" if good < len(chosen) > 1 else ""
        data = PartnersAnsweringOutput(
            partners={name: str(status) for name, (status, _) in judged.items()},
            probes={partner.name: probe.words for partner, (probe, _) in zip(chosen, seen, strict=True)},
            pages={partner.name: page.words for partner, (_, page) in zip(chosen, seen, strict=True) if page},
        )
        expected = "every partner answers, and says that it is well"
        return Verdict(worst, "; ".join(told) + count, expected, data.model_dump())


_ORDER = (Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL)


def _judge(partner: Partner, probe: _Said, page: _Said | None) -> tuple[Status, str]:
    """What follows from both, and in words."""
    name, says = partner.title, f"its status page says {page.words}" if page and page.well is not None else ""
    if page is not None and page.well is None:
        says = f"its status page cannot be read ({page.words})"
    if probe.well:
        if page is None or page.well:
            return Status.PASS, f"{name} answers ({probe.words})"
        return Status.WARN, f"{name} answers us ({probe.words}), but {says}"
    if page is not None and page.well is False:
        return Status.FAIL, f"{name}: {probe.words}, and {says}: the fault is theirs"
    if probe.well is None:
        fine = f", while {says}" if says else ""
        return Status.UNKNOWN, f"{name} cannot be reached from here ({probe.words}){fine}: nothing is known of it"
    ours = f", but {says}: look at our credentials, our way out and our requests" if page and page.well else ""
    unread = f"; {says}" if page is not None and page.well is None else ""
    return Status.FAIL, f"{name}: {probe.words}, not {partner.probe.words}{ours}{unread}"


async def _look(ctx: ReadCtx, partner: Partner) -> tuple[_Said, _Said | None]:
    """What the probe saw, and what the page says."""
    page = partner.page
    if page is None:
        return await _probed(ctx, partner.probe), None
    probe, said = await asyncio.gather(_probed(ctx, partner.probe), _page(ctx, page))
    return probe, said


async def _probed(ctx: ReadCtx, probe: Probe) -> _Said:
    try:
        async with asyncio.timeout(probe.within):
            reply = await ctx.ports.http.get(probe.target, probe.path)
    except TimeoutError:
        return _Said(False, f"no answer within {probe.within:g} s")
    except Unreachable as error:
        return _Said(None, str(error))
    good = reply.status in probe.status if probe.status else 200 <= reply.status < 300
    refused = " (refuses us)" if not good and reply.status in (401, 403) else ""
    return _Said(good, f"{reply.status}{refused}")


async def _page(ctx: ReadCtx, page: StatusPage) -> _Said:
    try:
        reply = await ctx.ports.http.get(page.target, page.path)
    except Unreachable as error:
        return _Said(None, str(error))
    if reply.status != 200:
        return _Said(None, f"it answered {reply.status}")
    return _plain(page, reply) if page.form == "plain" else _summary(page, reply.json)


def _plain(page: StatusPage, reply: Reply) -> _Said:
    there, found = at(reply.json, page.at) if page.at else (bool(reply.text.strip()), reply.text)
    if not there or not isinstance(found, str | int | float):
        return _Said(None, f"nothing stands at {page.at}" if page.at else "it is empty")
    text = " ".join(str(found).split())
    return _Said(re.search(page.good, text) is not None, repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…"))


def _summary(page: StatusPage, document: Json) -> _Said:
    """A summary as statuspage.io answers it: the named components, or the page as a whole."""
    found = document if isinstance(document, dict) else {}
    incidents = [str(i["name"]) for i in _objects(found.get("incidents")) if isinstance(i.get("name"), str)]
    about = f" ({incidents[0][:SHOWN]})" if incidents else ""
    if page.components:
        known = {str(c.get("name", "")).casefold(): c.get("status") for c in _objects(found.get("components"))}
        if missing := [c for c in page.components if not isinstance(known.get(c.casefold()), str)]:
            return _Said(None, f"it has no component {', '.join(missing)}")
        bad = {c: s for c in page.components if (s := str(known[c.casefold()])) != "operational"}
        words = ", ".join(f"{c} {s.replace('_', ' ')}" for c, s in bad.items())
        return _Said(not bad, f"{words}{about}" if bad else f"{', '.join(page.components)} operational")
    status = found.get("status")
    indicator = status.get("indicator") if isinstance(status, dict) else None
    if not isinstance(status, dict) or not isinstance(indicator, str) or not indicator:
        return _Said(None, "it is no summary with a status")
    words = str(status.get("description") or indicator)[:SHOWN]
    return _Said(indicator == "none", words if indicator == "none" else f"{words}{about}")


def _objects(value: Json) -> list[Mapping[str, Json]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
