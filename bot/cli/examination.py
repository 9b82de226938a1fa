"""What `doctor` looks at, from the settings to Slack: each thing by itself, so that one fault hides no other.

Invariant: nothing is posted and nothing that counts is changed; no bot need run, and one that runs is not disturbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import aiohttp
from pydantic import SecretStr

import actions
import checks
from bot import wiring
from bot.catalogue import Catalogue, Release, Service
from bot.catalogued.kubernetes import KubernetesTarget
from bot.handlers.registry import Registry
from bot.located import Faults
from bot.node.faults import cramped
from bot.node.outside import missing, no_copy
from bot.opening.orphans import left
from bot.people import CatalogueDirectory, Directory
from bot.plan.compile import compile_plan
from bot.plan.model import Plan
from bot.plan.named import Plans
from bot.policy import COMMANDER, Actor, Person
from bot.releases.register import ReleaseRegister
from bot.run import events as ev
from bot.run.where import otherwise
from bot.settings import Settings, SettingsError, read_settings, strange
from bot.slack.doctor import Finding, SlackSettings, examine
from bot.slack.draw.screen import screen
from bot.slack.sample import stages
from bot.slack.workspace.directory import SlackDirectory
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.database import BadAddress
from bot.store.lease import alive_nodes
from bot.store.log import SchemaMismatch, Store, StoreUnavailable
from bot.store.shared import unshared
from bot.store.vouching import KEYLESS, unfit, unsigned
from bot.targets.factory import adapters_of
from bot.telling.owing import owed
from bot.tls import trust
from bot.web.doctors import key

ASKED = 3.0
"""Seconds to wait for a bot that may be running."""


async def everything() -> AsyncIterator[Finding]:
    """One finding after another; it goes on after faults as far as it can."""
    try:
        settings = read_settings()
        files = wiring.files_of(settings)
        trust(settings.ca_file)
    except SettingsError as error:
        for line in str(error).splitlines():
            yield Finding("settings", "fault", line, "correct it; docs/settings.md lists every setting")
        return
    yield Finding("settings", "ok", f"profile {settings.profile}, Slack {settings.slack}")
    for text in strange(os.environ):
        yield Finding("settings", "look", text, "correct its name; docs/settings.md lists all")
    yield await _files(files)
    running, holds, found = await _bot(settings)
    for finding in found:
        yield finding
    yield await _pager(settings)
    async with contextlib.AsyncExitStack() as stack:
        store, finding = await _database(settings, stack)
        yield finding
        if finding.state == "ok" and store is not None:
            yield await _record(files, store)
            yield await _signatures(store)
            yield await _triggers(store)
            yield await _shared(settings, files)
        try:
            plans = Plans(settings.plans)
            catalogue = wiring.read_catalogue(settings.catalogue, plans)
        except Faults as error:
            yield Finding("catalogue", "fault", str(error), "correct it; `rollback-bot plan lint` looks at it again")
            return
        yield Finding(
            "catalogue", "ok", f"services: {', '.join(catalogue.services)}; roles: {', '.join(catalogue.roles)}"
        )
        if holds not in ("", found_digest := catalogue.digest[7:19]):
            text = f"the running bot has another one ({holds}) than {settings.catalogue} ({found_digest})"
            hint = "wait some seconds or send it SIGHUP; where it refuses the file, see `bot: catalogue`, above"
            yield Finding("catalogue in force", "fault", text, hint)
        if store is not None:
            yield await _owed(store)
            for finding in await _places(settings, catalogue, store):
                yield finding
        targets = [t for service in catalogue.services.values() for t in service.targets.values()]
        if settings.digest_key is None and any(isinstance(t, KubernetesTarget) for t in targets):
            text = (
                "no ROLLBACK_DIGEST_KEY: whether values that look like secrets have changed is not known in a rollback"
            )
            yield Finding("secrets", "look", text, "set it, the same on every node: `rollback-bot key` makes one")
        slack = told(settings, running)
        compiled, found = _plans(plans, catalogue)
        found += await _people(catalogue, compiled, slack, store)
        found += await _targets(settings, catalogue)
        for finding in [*found, *(await _left(settings, catalogue, store) if store is not None else [])]:
            yield finding
        if slack is None:
            yield Finding("slack", "ok", "off, as set; docs/slack.md says how to switch it on")
            return
        async for finding in examine(slack, catalogue, time.time, cards(catalogue, compiled)):
            yield finding


def told(settings: Settings, running: bool) -> SlackSettings | None:
    """What the settings say about Slack; None where it is off."""
    if settings.slack == "off":
        return None
    return SlackSettings(
        settings.slack, settings.slack_url, _clear(settings.slack_bot_token), _clear(settings.slack_app_token),
        _clear(settings.slack_signing_secret), settings.slack_team, settings.url if running else "",
        trust(settings.ca_file),
    )  # fmt: skip


def _clear(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


# -- what the bot stands on --------------------------------------------------------------------------------------------


async def _files(files: FileBlobs) -> Finding:
    try:
        await files.ping()
    except BlobsUnavailable as error:
        return Finding("files", "fault", str(error), "let the bot's user write there, or change ROLLBACK_BLOBS_URL")
    if why := await asyncio.to_thread(cramped, files.folder):
        return Finding("files", "look", why, "make room before the next rollback")
    return Finding("files", "ok", f"{files.folder} can be written")


async def _pager(settings: Settings) -> Finding:
    pager = wiring.pager_of(settings)
    if pager is None:
        return Finding("pager", "ok", "off, as set; who is waited for is mentioned in the channel")
    if fault := await pager.ping():
        return Finding("pager", "fault", fault, "correct ROLLBACK_PAGE_URL or ROLLBACK_PAGE_KEY; docs/operators.md")
    return Finding("pager", "ok", f"{pager.url} takes this key; nobody was called")


async def _bot(settings: Settings) -> tuple[bool, str, list[Finding]]:
    """(whether a bot runs, which catalogue it holds by the beginning of its digest, and what it says of itself)"""
    held = await asyncio.to_thread(key, wiring.files_of(settings))
    known = {"Authorization": f"Bearer {held}"} if held else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15.0, connect=ASKED), headers=known) as session,
            session.get(f"{settings.url.rstrip('/')}/readyz") as answer,
        ):
            lines = (await answer.text()).splitlines()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False, "", [Finding("bot", "ok", f"none answers at {settings.url}; looking without it")]
    parts = [line.partition(": ") for line in lines]
    holds = next((name.partition(" ")[2] for name, _, _ in parts if name.startswith("catalogue ")), "")
    if lines in (["ready"], ["not ready"]):
        text = f"says only {lines[0]!r} to this host: its files are not those of ROLLBACK_BLOBS_URL here"
        hint = "run `doctor` on the bot's host as the bot's user, with its environment"
        return True, "", [Finding("bot", "look" if lines == ["ready"] else "fault", text, hint)]
    own = {name: fault for name, _, fault in parts if fault not in ("", "fine") and "/" not in name}
    found = [Finding(f"bot: {name}", "fault", fault, "see its log") for name, fault in own.items()]
    return True, holds, found or [Finding("bot", "ok", f"runs at {settings.url}")]


async def _database(settings: Settings, stack: contextlib.AsyncExitStack) -> tuple[Store | None, Finding]:
    try:
        store = await Store.open(settings.database_url, keys=wiring.keys_of(settings))
        stack.push_async_callback(store.close)
        await wiring.check_schema(store)
    except BadAddress as error:
        return None, Finding("database", "fault", str(error), "correct it; docs/settings.md")
    except StoreUnavailable as error:
        return None, Finding("database", "fault", str(error), "start it, or correct ROLLBACK_DATABASE_URL")
    except SchemaMismatch as error:
        return None, Finding("database", "fault", str(error), "`rollback-bot db upgrade`, with this version of the bot")
    return store, Finding("database", "ok", "answers, and has the schema that this version needs")


async def _shared(settings: Settings, files: FileBlobs) -> Finding:
    """Whether every node that works now keeps its files where this host does."""
    try:
        alive = await asyncio.to_thread(alive_nodes, settings.database_url)
        why = await asyncio.to_thread(unshared, files, alive)
    except Exception as error:  # the database, or the folder, which have findings of their own
        return Finding("shared files", "look", f"not looked at: {error}", "see files and database, above")
    if why:
        return Finding("shared files", "fault", why, "one folder for all nodes, in ROLLBACK_BLOBS_URL")
    many = f"{len(alive)} nodes at work, all of them seen there" if alive else "no other node at work"
    return Finding("shared files", "ok", many)


async def _record(files: FileBlobs, store: Store) -> Finding:
    try:
        why = await missing(files, store) or (await no_copy(files, store)).partition(" Next: ")[0]
    except BlobsUnavailable as error:
        return Finding("record", "look", str(error), "see files, above")
    hint = "restore the newest backup, or `rollback-bot audit accept-loss`; docs/operators.md, An older backup"
    if why:
        return Finding("record", "fault", why, hint)
    return Finding("record", "ok", "fits the copy of its head outside the database")


async def _triggers(store: Store) -> Finding:
    text, _, next_ = (await store.unguarded()).partition(" Next: ")
    return Finding("triggers", "fault", text, next_) if text else Finding("triggers", "ok", "refuse to change the log")


async def _signatures(store: Store) -> Finding:
    """Whether this node signs, knows who signed before, and finds every end signed."""
    if why := await unfit(store):
        text, _, next_ = why.partition(" Next: ")
        return Finding("signatures", "fault", text, next_)
    if not store.keys.own:
        text, _, next_ = KEYLESS.partition(" Next: ")
        return Finding("signatures", "look", text, next_)
    ends = await unsigned(store)
    if not ends:
        return Finding("signatures", "ok", f"this node signs with {store.keys.own}; all that is recorded is believed")
    runs = [s.run for s in ends if s.run]
    text = f"{len(ends)} ends of the record are signed by no key that this node knows: the newest checkpoint"
    if runs:
        text = f"the bot does nothing in {len(runs)} runs, as their end is signed by no key that it knows: "
        text += ", ".join(runs[:5]) + (", …" if len(runs) > 5 else "")
    hint = '`rollback-bot audit verify`, then docs/audit.md, "What is not believed"'
    return Finding("signatures", "fault" if runs else "look", text, hint)


async def _owed(store: Store) -> Finding:
    """What ended runs have left to be given back or reviewed."""
    runs = [await store.load(h.run) for h in [*await store.heads(open=True, limit=None), *await store.owing()]]
    found = [x for x in owed(runs) if x.owner or x.what == "review"]
    late = [x for x in found if x.overdue(time.time())]
    if not found:
        return Finding("debts", "ok", "nothing is to be given back or reviewed")
    text = "; ".join(f"{x.service}: {x.text}" for x in late or found)
    hint = "`rollback-bot debts` lists them, with the command that gives each back"
    return Finding("debts", "look" if late else "ok", f"{len(found)}, {len(late)} of them overdue: {text}", hint)


async def _places(settings: Settings, catalogue: Catalogue, store: Store) -> list[Finding]:
    """Open runs that are worked on elsewhere than this catalogue says."""
    clients, found = adapters_of(settings, catalogue), []
    hint = "a node with this catalogue takes no part in it; docs/operators.md, Another catalogue"
    try:
        for head in await store.heads(open=True, limit=None):
            run = await store.load(head.run)
            client = clients.get(run.service)
            why = otherwise(run.places, await client.where()) if client else ("no service of that name",)
            if run.places and why:
                found.append(Finding(f"places of {run.id}", "fault", "; ".join(why), hint))
    finally:
        for client in clients.values():
            await client.close()
    return found or [Finding("places", "ok", "open runs are worked on where this catalogue says")]


async def _targets(settings: Settings, catalogue: Catalogue) -> list[Finding]:
    found: list[Finding] = []
    for service, client in adapters_of(settings, catalogue).items():
        try:
            for target, fault in (await client.ping()).items():
                hint = f"let this host reach it, or correct services.{service}.targets.{target} in the catalogue"
                bad = Finding(f"target {service}/{target}", "fault", fault, hint)
                found.append(bad if fault else Finding(f"target {service}/{target}", "ok", "answers"))
            for journey, missing in client.journeys.lacking.items():
                if missing:
                    what = f"{', '.join(missing)}: not set in the bot's environment, so it is never walked"
                    hint = f"set it, or take it out of services.{service}.journeys.{journey}.variables"
                    found.append(Finding(f"journey {service}/{journey}", "fault", what, hint))
        finally:
            await client.close()
    return found


async def _left(settings: Settings, catalogue: Catalogue, store: Store) -> list[Finding]:
    """What a lost database has left in the clusters, and by-hand files whose run nobody knows."""
    found: list[Finding] = []
    for service, client in adapters_of(settings, catalogue).items():
        try:
            runs = [await store.load(h.run) for h in await store.heads(service=service, limit=None)]
            ledger = {r.version: r for r in await ReleaseRegister(store, time.time).all(service)}
            there = await left(client.kubernetes, service, runs, ledger)
            found += [Finding(f"left of {service}", "look", text, hint) for text, hint in there.lines(service)]
        finally:
            await client.close()
    names = await asyncio.to_thread(wiring.files_of(settings).anchors, "by-hand")
    lost = [n for n in names if (await store.load(n.removesuffix(".md"))).created is None]
    if lost:
        text = f"{len(lost)} by-hand files tell of runs that this database does not know: {', '.join(lost[:3])}"
        found.append(Finding("by-hand files", "look", text, "read them: what they list as in place may still be"))
    return found


# -- who decides -------------------------------------------------------------------------------------------------------


def _plans(plans: Plans, catalogue: Catalogue) -> tuple[Mapping[str, Plan], list[Finding]]:
    """Service -> its plan, of those whose plan compiles."""
    registry, roles = Registry.discover(actions, checks), frozenset(catalogue.roles)
    good: dict[str, Plan] = {}
    found: list[Finding] = []
    for name, service in catalogue.services.items():
        try:
            text, source = plans.text(service.plan)
            good[name] = compile_plan(
                text, source=source, registry=registry, service=service, roles=roles, services=catalogue.services
            )
        except (LookupError, Faults) as error:
            hint = f"`rollback-bot plan lint {service.plan} --service {name}`"
            found.append(Finding(f"plan of {name}", "fault", str(error).splitlines()[0], hint))
    return good, found


async def _people(
    catalogue: Catalogue, plans: Mapping[str, Plan], slack: SlackSettings | None, store: Store | None
) -> list[Finding]:
    if slack is None:
        directory: Directory = CatalogueDirectory(catalogue)
    elif store is None:
        return [Finding("people", "look", "not looked at: what is known of them is kept in the database")]
    else:
        there = SlackDirectory(catalogue, slack.client, store, time.time, team=slack.team)
        await there.start()
        if there.state:
            return [Finding("people", "fault", there.state, "see token and scopes, below")]
        directory = there
    everyone = await directory.everyone()
    return [
        *(_role(catalogue, name, everyone) for name in catalogue.roles),
        *(_decisions(name, plan, everyone) for name, plan in plans.items()),
    ]


def _role(catalogue: Catalogue, name: str, everyone: Sequence[Person]) -> Finding:
    holders = [p for p in everyone if name in p.roles and p.kind == "member"]
    schedule = catalogue.roles[name].on_call
    label = f"role {name}"
    if not holders:
        return Finding(label, "fault", "nobody holds it", f"name people or groups under roles.{name} of the catalogue")
    names = ", ".join("@" + p.name for p in holders[:5]) + (", …" if len(holders) > 5 else "")
    if (schedule.people or schedule.groups) and not any(name in p.on_call for p in holders):
        hint = f"look at roles.{name}.on_call of the catalogue: only who holds the role as well can be on call for it"
        return Finding(label, "look", f"{len(holders)} ({names}), nobody of them on call", hint)
    return Finding(label, "ok", f"{len(holders)}: {names}")


def _decisions(service: str, plan: Plan, everyone: Sequence[Person]) -> Finding:
    """Whether every decision can be passed, whichever commander asks for the rollback (and is barred from it)."""
    label, asking = f"decisions of {service}", [p for p in everyone if COMMANDER in p.roles and p.kind == "member"]
    stuck = {p.name: faults for p in asking if (faults := plan.impossible(everyone, frozenset({p.id})))}
    if not asking:
        return Finding(label, "fault", "there is no commander who could ask", "see role commander, above")
    if not stuck:
        count = sum(d.gate is not None for d in plan.decisions)
        return Finding(label, "ok", f"all {count} of plan {plan.name} can be passed, whichever commander asks")
    name, faults = min(stuck.items(), key=lambda s: len(s[1]))
    text = "; ".join(f"{decision} {why}" for decision, why in faults.items())
    hint = "give the role to more people in the catalogue; until then such a rollback needs broken glass"
    return Finding(label, "look" if len(stuck) < len(asking) else "fault", f"if @{name} asks: {text}", hint)


# -- what Slack would be shown -----------------------------------------------------------------------------------------


def cards(catalogue: Catalogue, plans: Mapping[str, Plan]) -> Mapping[str, Sequence[Any]]:
    """What each message of each service's rollback is made of, in every state of a run: name -> blocks."""
    found: dict[str, Sequence[Any]] = {}
    for name, plan in plans.items():
        service = catalogue.services[name]
        for state, run in stages(_created(service, plan), time.time()):
            shown = screen(run, now=run.at, channels=service.channels, roles=catalogue.roles)
            for post in shown.posts:
                if post.message.blocks:
                    found.setdefault(f"{name}, {post.slot}, {state}", post.message.blocks)
    return _distinct(found)


def _created(service: Service, plan: Plan) -> ev.Created:
    by = Actor("U0DOCTOR00", "doctor", (COMMANDER,), "doctor")
    removed, target = Release("2.4.1"), Release("2.4.0")
    return ev.Created(
        service.name, plan, plan.digest, removed, target, "a look at the cards", by, channel="C0DOCTOR00",
        channels=service.channels, evidence=("served 6 d 4 h",),
    )  # fmt: skip


def _distinct(found: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """Each once: most cards look the same in several states."""
    seen: list[Sequence[Any]] = []
    kept: dict[str, Sequence[Any]] = {}
    for name, blocks in found.items():
        if blocks not in seen:
            seen.append(blocks)
            kept[name] = blocks
    return kept
