"""What the pages about journeys, partners and postmortems show of a catalogue is one that the bot reads."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from bot.catalogue import Service, load_catalogue

DOCS = Path(__file__).parents[2] / "docs"


def shown(page: str) -> Service:
    """The service of all the examples of a page together."""
    service: dict[str, dict[str, object]] = {}
    for block in re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        read = yaml.safe_load(block)
        for part, given in read.get("services", {"shop": read})["shop"].items():
            service[part] = {**service.get(part, {}), **given}
    targets = service.setdefault("targets", {})
    for name in ("mail", "mail-status", "tracker"):
        targets.setdefault(name, {"http": f"https://{name}.example"})
    file = {"services": {"shop": service}, "roles": {r: {"people": ["U1"]} for r in ("commander", "approver")}}
    return load_catalogue(yaml.safe_dump(file), page).services["shop"]


def test_journeys_and_partners_as_the_page_shows_them() -> None:
    service = shown("journeys.md")
    assert service.journeys.keys() == {"payments", "shelf"} and service.journeys["shelf"].reads
    assert service.partners.keys() == {"payments", "mail"}


def test_a_postmortem_as_the_page_shows_it() -> None:
    how = shown("postmortem.md").postmortem
    assert (how.zone, how.minutes, how.organizer) == ("Europe/Berlin", 60, "incidents@example.com")
    assert how.ticket is not None and how.ticket.project == "OPS"
