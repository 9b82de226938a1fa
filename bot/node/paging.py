"""Pages people: a decision that waits too long, and each broken glass, becomes an alert at a pager.

It takes PagerDuty's Events v2, as many do. Off where no routing key is set.

Level-triggered (`keeper.py`): what was said is kept in a row an alert.

Invariants:
- an alert's row is there before it is first sent, so that whatever crashes, it is sent again, and resolved in the end;
- its dedup key names run, decision and moment: again is harmless, and a decision that is asked anew rings anew;
- an alert of a decision is resolved when nobody is waited for any more; one of broken glass is for people to resolve.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import aiohttp

from bot.contract import Json
from bot.node.keeper import Keeper
from bot.policy import Gate
from bot.policy.approval import missing
from bot.run import events as ev
from bot.run.state import Asked, Run
from bot.steady.outage import Outage
from bot.store.lease import Lease
from bot.store.log import Slot, Store
from bot.telling import remains, view

log = logging.getLogger(__name__)

ROLE = PAGER = "pager"
"""The role that one node is elected to, and the name under which rows are kept: no run is called so."""
EVERY = 5.0
"""Seconds between two looks; what happens on this node is looked at at once."""
PATIENCE = 10.0
"""Seconds to wait for the pager's answer."""
REST = (2.0, 60.0)
"""Seconds until the next try: at first, and at most."""
RECENT, DAY = 50, 86400.0
"""Runs that ended within a day, so many of them, are looked at as well: their glass may not have been told of yet."""
SUMMARY, KEY = 1024, 255
"""Characters that the protocol takes."""

_TELLING = (
    ev.Overdue,
    ev.Lifted,
    ev.CameBack,
    ev.Paged,
    ev.BrokeGlass,
    ev.Approved,
    ev.Taken,
    ev.Skipped,
    ev.Retargeted,
    ev.Aborted,
    ev.Closed,
)

Doing = Literal["trigger", "resolve"]
What = Literal["waits", "glass", "owed", "lifted", "back", "doubt"]
RESOLVED = ("waits", "owed", "lifted", "back", "doubt")
"""What the bot resolves by itself, once nobody is waited for any more."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to ring for. key: the dedup key; payload: as Events v2 has it, with what it is in `class`."""

    key: str
    run: str
    payload: Mapping[str, Json]


class NotTaken(Exception):
    """The pager has not taken an event. after: seconds of rest that it wants, None where it does not say; refused: it
    understood, and will not take this one."""

    def __init__(self, text: str, after: float | None = None, *, refused: bool = False) -> None:
        super().__init__(text)
        self.after, self.refused = after, refused


# -- what should ring --------------------------------------------------------------------------------------------------


def alerts(run: Run) -> dict[str, Alert]:
    """Key -> alert, of a run as it stands. Pure."""
    found = [*_doubted(run), *_waiting(run), *_glasses(run), *_owed(run), *_undone_by_others(run)]
    return {a.key: a for a in found}


def _doubted(run: Run) -> Iterator[Alert]:
    """A record that is not believed: somebody has written to the database, or a node lacks a key."""
    if run.doubt:
        summary = f"{view.title(run)}: its record is not believed, and nothing is done in it: {run.doubt}"
        yield _alert(run, "doubt", str(run.seq), run.at, summary, "critical", {"verify": "rollback-bot audit verify"})


def _waiting(run: Run) -> Iterator[Alert]:
    if not run.open or run.aborted:
        return
    ways: dict[str, list[Asked]] = {}
    for a in run.asked.values():
        ways.setdefault(a.spec.choice or a.spec.name, []).append(a)
    for name, found in ways.items():
        paged = [a for a in found if a.paged is not None and a.spec.gate is not None and _matters(run, a)]
        if not paged or any(a.decided is not None for a in found):
            continue
        title = next((c.title for c in run.plan.choices if c.id == name), paged[0].spec.title)
        needs = " or ".join(dict.fromkeys(_needed(a) for a in paged))
        since = min(a.opened or a.paged or 0.0 for a in paged)
        at = min(a.paged or 0.0 for a in paged)
        summary = f"{view.title(run)}: {title} waits for {needs} since {_clock(since)}"
        yield _alert(run, "waits", name, at, summary, "critical", {"decision": title, "asked": needs})


def _matters(run: Run, a: Asked) -> bool:
    return any(run.steps[m].open for m in a.spec.members)


def _owed(run: Run) -> Iterator[Alert]:
    """Debts that were not given back in time."""
    for d in run.debts.values():
        if d.owner and d.reminded is not None:
            summary = f"{view.title(run)}: {remains.debt(run, d)}, and is overdue"
            more: Mapping[str, Json] = {"owner": d.owner, "debts": "rollback-bot debts"}
            yield _alert(run, "owed", d.step, d.until or d.reminded, summary, "warning", more)


def _undone_by_others(run: Run) -> Iterator[Alert]:
    """A freeze that somebody has lifted, and what was removed and is back."""
    for d in run.debts.values():
        if d.missing and d.missed is not None:
            summary = f"{view.title(run)}: {remains.debt(run, d)}"
            yield _alert(run, "lifted", d.step, d.missed, summary, "error", dict(d.missing))
    if run.back and run.back_at is not None:
        summary = f"{view.title(run)}: what was removed is back: {', '.join(run.back)}"
        yield _alert(run, "back", "removed", run.back_at, summary, "critical", dict(run.back))


def _glasses(run: Run) -> Iterator[Alert]:
    for a in run.asked.values():
        if a.glass is None or a.decided is None:
            continue
        summary = f"{view.title(run)}: @{a.glass.name} opened {a.spec.title} alone at {_clock(a.decided)}: {a.taken}"
        more: Mapping[str, Json] = {"decision": a.spec.title, "review": "within two working days"}
        yield _alert(run, "glass", a.spec.name, a.decided, summary, "error", more)


def _alert(run: Run, what: What, name: str, at: float, summary: str, severity: str, more: Mapping[str, Json]) -> Alert:
    key = f"{run.id}/{what}/{name}/{at:.3f}"
    key = key if len(key) <= KEY else hashlib.sha256(key.encode()).hexdigest()
    reason = run.created.reason if run.created is not None else ""
    details: dict[str, Json] = {"run": run.id, "reason": reason, **more, "next": f"rollback-bot show {run.id}"}
    return Alert(key, run.id, {
        "summary": summary if len(summary) <= SUMMARY else summary[: SUMMARY - 1] + "…", "severity": severity,
        "source": "rollback-bot", "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
        "component": run.service, "class": what, "custom_details": details,
    })  # fmt: skip


def _needed(a: Asked) -> str:
    gate = a.spec.gate
    return Gate(missing(gate, a.ballots) or gate.by).words if gate is not None else "somebody"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M UTC")


# -- telling the pager -------------------------------------------------------------------------------------------------


class Pager:
    """One address that takes Events v2. key: the routing key, a secret; patience: seconds to wait for an answer; trust:
    which certificates are."""

    def __init__(self, url: str, key: str, patience: float = PATIENCE, *, trust: ssl.SSLContext | None = None) -> None:
        self.url, self._key, self._patience, self._trust = url, key, patience, trust

    async def send(self, doing: Doing, key: str, payload: Mapping[str, Json] | None = None) -> None:
        """Tells it. NotTaken, with what is wrong."""
        body: dict[str, Json] = {"routing_key": self._key, "event_action": doing, "dedup_key": key}
        body |= {"client": "rollback-bot", "payload": dict(payload)} if payload is not None else {}
        try:
            async with (
                asyncio.timeout(self._patience),
                aiohttp.ClientSession() as session,
                session.post(self.url, json=body, allow_redirects=False, ssl=self._trust or True) as answer,
            ):
                said = await answer.content.read(2000)
        except TimeoutError:
            raise NotTaken(f"the pager did not answer within {self._patience:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise NotTaken(f"the pager cannot be reached: {type(e).__name__}: {e}") from e
        if answer.status // 100 == 2:
            return
        text = f"the pager answered {answer.status}: {self._words(said)}"
        if answer.status == 429 or answer.status >= 500:
            raise NotTaken(text, _seconds(answer.headers.get("Retry-After")))
        raise NotTaken(f"{text}; look at ROLLBACK_PAGE_URL and ROLLBACK_PAGE_KEY", refused=True)

    async def ping(self) -> str:
        """What is wrong with address or key; empty where nothing is. Nobody is called: it resolves what never rang."""
        try:
            await self.send("resolve", "rollback-bot/doctor")
        except NotTaken as e:
            return str(e)
        return ""

    def _words(self, said: bytes) -> str:
        text = said.decode(errors="replace")
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            found = json.loads(text)
            text = "; ".join([str(found.get("message") or text), *map(str, found.get("errors") or ())])
        return " ".join(text.replace(self._key, "***").split())[:300] or "nothing more"


def _seconds(given: str | None) -> float | None:
    try:
        return min(REST[1], max(1.0, float(given or "")))
    except ValueError:
        return None


class Paging(Keeper[Mapping[str, Alert]]):
    """Keeps the pager as the runs want it. clock: seconds since the epoch."""

    def __init__(self, store: Store, lease: Lease, pager: Pager, clock: Callable[[], float]) -> None:
        super().__init__(
            store, lease, clock, Outage("The pager", log), role=ROLE, every=EVERY, rest=REST, looked_at="alerts"
        )
        self._pager = pager

    def _concerns(self, run: Run, events: Sequence[ev.Event]) -> bool:
        return not events or any(isinstance(e, _TELLING) for e in events)

    async def _compare(self) -> None:
        heads = await self._store.lately(self._clock() - DAY, RECENT)
        owing = await self._store.owing()
        older = {h.run for h in owing} - {h.run for h in heads}
        learnt = await self._learnt([*heads, *(h for h in owing if h.run in older)], alerts)
        every = (a for found in learnt for a in found.values())
        wanted = {a.key: a for a in every if a.run not in older or a.payload["class"] == "owed"}
        rows = await self._store.slots(PAGER)
        for key in wanted.keys() - rows.keys():
            payload = json.dumps(wanted[key].payload, ensure_ascii=False)
            rows[key] = Slot(PAGER, key, wanted[key].run, "", payload, self._clock())
            await self._store.put_slot(rows[key])
        if not self._resting:
            await self._deliver(wanted, rows, {h.run for h in heads})

    async def _deliver(self, wanted: Mapping[str, Alert], rows: Mapping[str, Slot], looked_at: set[str]) -> None:
        """The difference. A pager that is away is left alone for a while; what it refuses holds up nothing else."""
        refused: NotTaken | None = None
        for key, row in rows.items():
            try:
                await self._one(key in wanted, row, row.channel in looked_at)
            except NotTaken as e:
                if not e.refused:
                    return self._wait(str(e), e.after)
                refused = e
        if refused is not None:
            return self._wait(str(refused), refused.after)
        self._taken()

    async def _one(self, wanted: bool, row: Slot, looked_at: bool) -> None:
        payload = json.loads(row.digest)
        waits = payload["class"] in RESOLVED
        if not row.ts and (wanted or not waits):
            await self._pager.send("trigger", row.name, payload)
            await self._store.put_slot(replace(row, ts=f"{self._clock():.3f}"))
            log.info("paged: %s", payload["summary"])
        elif waits and not wanted:
            await self._pager.send("resolve", row.name)
            await self._store.forget_slot(PAGER, row.name)
        elif not wanted and not looked_at:
            await self._store.forget_slot(PAGER, row.name)
