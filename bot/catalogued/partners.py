"""`partners:` of a service: who serves it from outside, how that is probed, and where they say how they are.

    partners:
      payments:
        title: Payment gateway
        probe: {target: gateway, path: /v1/ping, within: 2s}
        page: {target: gateway-status, path: /api/v2/summary.json, components: [API]}

Invariant: a target that is not there, or is not reached over HTTP, is a fault of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bot.catalogued.shapes import Pattern, Pointer, Statuses, UrlPath, one_or_more
from bot.located import Path, Report
from bot.located.strict import Duration, Slug, Strict, Text
from bot.ports.partners import Partner, Probe, StatusPage

SUMMARY = "/api/v2/summary.json"
"""Where statuspage.io and its like answer with everything at once."""


class ProbeFile(Strict):
    """A request that shows whether the partner serves us."""

    target: Slug = Field(description="HTTP target that is asked, with the credentials it has.")
    path: UrlPath = Field("/", description="Path to read: one that costs nothing and needs our credentials.")
    status: Statuses | None = Field(None, description="One status or several; every 2xx where nothing is said.")
    within: Duration | None = Field(None, gt=0, description="How long the answer may take.")


class PageFile(Strict):
    """What the partner says of itself."""

    target: Slug = Field(description="HTTP target of its status page.")
    path: UrlPath = Field(SUMMARY, description="Path of the page.")
    form: Literal["statuspage", "plain"] = Field("statuspage", description="A summary as statuspage.io's, or a text.")
    components: Annotated[list[Text], BeforeValidator(one_or_more)] = Field(
        [], description="Names of the components that count; the whole page where none is named."
    )
    at: Pointer = Field("", description="Of a plain page in JSON: pointer to its word.")
    good: Pattern = Field("", description="Of a plain page: regular expression for what it says when all is well.")


class PartnerFile(Strict):
    """One partner."""

    title: Text | None = Field(None, description="What people call it; made from its name otherwise.")
    probe: ProbeFile = Field(description="What shows whether it serves us.")
    page: PageFile | None = Field(None, description="Where it says how it is.")


def check_partners(
    partners: Mapping[str, PartnerFile], path: Path, targets: Mapping[str, bool], report: Report
) -> None:
    """What the shape alone does not hold. targets: name -> whether it is reached over HTTP."""
    for name, partner in partners.items():
        for at, target in _named(partner):
            if not targets.get(target):
                what = f"{target} is no HTTP target" if target in targets else f"there is no HTTP target {target!r}"
                report.add((*path, name, *at), what, word=target, known=[t for t, http in targets.items() if http])
        page = partner.page
        here: Path = (*path, name, "page")
        if page is not None and page.form == "plain" and not page.good:
            report.add(here, "a plain page needs `good`: what it says when all is well")
        if page is not None and page.form == "plain" and page.components:
            report.add((*here, "components"), "a plain page has no components")
        if page is not None and page.form == "statuspage" and (page.good or page.at):
            report.add(here, "`good` and `at` are for a plain page: say form: plain")


def _named(partner: PartnerFile) -> Iterator[tuple[Path, str]]:
    yield ("probe", "target"), partner.probe.target
    if partner.page is not None:
        yield ("page", "target"), partner.page.target


def partners_of(partners: Mapping[str, PartnerFile]) -> dict[str, Partner]:
    """The values, by name."""
    return {name: _partner(name, file) for name, file in partners.items()}


def _partner(name: str, file: PartnerFile) -> Partner:
    probe = Probe(file.probe.target, file.probe.path, tuple(file.probe.status or ()), file.probe.within)
    p = file.page
    page = StatusPage(p.target, p.path, p.form, tuple(p.components), p.at, p.good) if p is not None else None
    return Partner(name, file.title or name.replace("-", " ").capitalize(), probe, page)
