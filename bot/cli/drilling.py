"""Whose drill it is: the catalogue, the plan, and who there is, as the bot of the team would know them.

Invariant: Slack is read, never written to, and nothing else is asked; what was learnt of people is kept nowhere.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import migrations
from bot import wiring
from bot.catalogue import Catalogue
from bot.cli.examination import told
from bot.cli.output import Code, End, run_async
from bot.located.yamltree import content
from bot.people import CatalogueDirectory
from bot.plan.named import Plans
from bot.playground.drill.world import Member, Team
from bot.policy import Person
from bot.settings import Settings, read_settings
from bot.slack.workspace.directory import SlackDirectory
from bot.store.log import Store


def team(plan: str | None, service: str | None) -> Team:
    """Asks Slack who there is, where the settings name it. End where no service or plan is so called. Faults,
    SettingsError."""
    settings = read_settings()
    plans = Plans(settings.plans)
    catalogue = wiring.read_catalogue(settings.catalogue, plans)
    name = _chosen(catalogue, service)
    plan = plan or catalogue.services[name].plan
    files = settings.plans.glob("*.yaml") if settings.plans else ()
    own = {path.stem: path.read_text(encoding="utf-8") for path in files}
    if plan not in plans.names():
        path = Path(plan)
        if not path.is_file():
            raise End(Code.USAGE, f"There is no plan {plan!r}, nor such a file; there are {', '.join(plans.names())}.")
        plan = path.stem
        own[plan] = path.read_text(encoding="utf-8")
    elif plan not in own:
        own[plan] = plans.text(plan)[0].decode()
    read: dict[str, Any] = yaml.safe_load(content(settings.catalogue, ""))
    return Team(
        name, read["services"][name], plan, own, {r.name: r.break_glass for r in catalogue.roles.values()},
        members(catalogue, run_async(_everyone(settings, catalogue))),
    )  # fmt: skip


def _chosen(catalogue: Catalogue, service: str | None) -> str:
    known = [*catalogue.services]
    if service is None and len(known) == 1:
        return known[0]
    if service not in catalogue.services:
        said = f"There is no service {service!r}" if service else "Which service (--service)"
        raise End(Code.USAGE, f"{said}; there are {', '.join(known)}.")
    return str(service)


async def _everyone(settings: Settings, catalogue: Catalogue) -> Sequence[Person]:
    slack = told(settings, False)
    if slack is None:
        return await CatalogueDirectory(catalogue).everyone()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/people.db"
        await asyncio.to_thread(migrations.upgrade, url)
        store = await Store.open(url)
        try:
            directory = SlackDirectory(catalogue, slack.client, store, time.time, team=slack.team)
            await directory.start()
            if directory.state:
                raise End(Code.UNREACHABLE, f"{directory.state}. Next: `rollback-bot doctor`.")
            return await directory.everyone()
        finally:
            await store.close()


def members(catalogue: Catalogue, everyone: Sequence[Person]) -> tuple[Member, ...]:
    """Who holds a role, by names that can be typed; a stand-in for each role of which only groups are known."""
    found: dict[str, Member] = {}
    for p in everyone:
        if p.kind == "member" and p.roles:
            name = _handle(p.name, found)
            found[name] = Member(name, p.roles, p.on_call)
    for role in catalogue.roles.values():
        if role.groups and not any(role.name in m.roles for m in found.values()):
            for n in (1, 2):
                name = _handle(f"{role.name}-{n}", found)
                found[name] = Member(name, frozenset({role.name}), stand_in=True)
    return tuple(found.values())


def _handle(name: str, taken: dict[str, Member]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "somebody"
    return plain if plain not in taken else f"{plain}-{len(taken)}"
