"""`ports.metrics` over the HTTP APIs of Prometheus (v1) and Alertmanager (v2).

Invariants:
- it only reads, by GET, so nothing is recorded, and a proxy that lets only reading pass is enough;
- nothing but the two addresses of a target is asked: no redirect is followed, no proxy or netrc of the environment
  plays a part, and a target's headers go nowhere else, neither into an error;
- an answer is bounded in time and size; one that is cut, or no JSON, is no answer.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import aiohttp
from yarl import URL

from bot.adapters import promql
from bot.adapters.http import HttpEndpoint
from bot.adapters.session import Session
from bot.ports import Unreachable, Where
from bot.ports.metrics import (
    NEVER,
    ActiveAlert,
    Fired,
    Lines,
    Matcher,
    Monitor,
    MonitorRule,
    NotifiedAlert,
    QueryAnswer,
    QueryRefused,
    Sample,
    Scraped,
    Silence,
    TimeSeries,
)

ANSWER_LIMIT = 8 * 1024 * 1024
"""Bytes of an answer; more is not read."""
STEPS = 11_000
"""Points of one series that Prometheus gives at most."""
PASSING = frozenset({"instance", "pod", "pod_name", "container", "container_id", "uid", "endpoint", "ip", "node"})
"""Labels that name one process or where it runs: another rollout, another value."""
_DEEP = 3
"""How many recorded rules are followed into one another."""


@dataclass(frozen=True, slots=True)
class PrometheusEndpoint:
    """A target of the catalogue. endpoint: of Prometheus, with what is sent along; alertmanager: where it is, "" where
    there is none; it is asked with the same headers where it is on the same host, else with none."""

    monitor: Monitor
    endpoint: HttpEndpoint
    alertmanager: str = ""

    @property
    def teller(self) -> HttpEndpoint | None:
        """The Alertmanager."""
        if not self.alertmanager:
            return None
        ours = URL(self.alertmanager).host == URL(self.endpoint.url).host
        if ours:
            return replace(self.endpoint, url=self.alertmanager)
        return HttpEndpoint(self.alertmanager, self.endpoint.timeout)

    @property
    def where(self) -> Where:
        """Which place it is."""
        places = [self.endpoint.where.at, *([t.where.at] if (t := self.teller) else [])]
        return Where(" and ".join(places), sha256("\n".join(places).encode()).hexdigest()[:32], "metrics")


class Prometheus:
    """Implements `bot.ports.metrics.Metrics`. trust: which certificates are."""

    def __init__(self, targets: Sequence[PrometheusEndpoint] = (), *, trust: ssl.SSLContext | None = None) -> None:
        self.targets, self._session = tuple(targets), Session(trust)

    @property
    def catalogued(self) -> bool:
        """See the port."""
        return bool(self.targets)

    @property
    def monitors(self) -> Sequence[Monitor]:
        """See the port."""
        return [t.monitor for t in self.targets]

    def where(self) -> Mapping[str, Where]:
        """Target -> which place it is."""
        return {t.monitor.name: t.where for t in self.targets}

    async def ping(self) -> Mapping[str, str]:
        """Target -> what is wrong with it; empty where it answers and lets us in. Reads only."""
        faults = await asyncio.gather(*(self._fault(t) for t in self.targets))
        return {t.monitor.name: fault for t, fault in zip(self.targets, faults, strict=True)}

    async def close(self) -> None:
        """End every connection. Harmless again."""
        await self._session.close()

    # -- numbers -----------------------------------------------------------------------------------------------------

    async def instant(self, monitor: str, query: str, at: datetime) -> QueryAnswer:
        """See the port."""
        data, warnings = await self._asked(monitor, "/api/v1/query", query=query, time=_time(at))
        kind, found = data.get("resultType"), data.get("result")
        if kind == "scalar" and isinstance(found, list):
            return QueryAnswer((Sample({}, _number(found[1]), _moment(found[0])),), warnings)
        if kind != "vector" or not isinstance(found, list):
            raise QueryRefused(f"{monitor}: {_short(query)} gives a {kind}, not one number a series")
        samples = tuple(Sample(_labels(s), _number(s["value"][1]), _moment(s["value"][0])) for s in found)
        return QueryAnswer(samples, warnings)

    async def range(self, monitor: str, query: str, start: datetime, end: datetime, step: float) -> Lines:
        """See the port."""
        if step <= 0 or (end - start).total_seconds() / step >= STEPS:
            raise ValueError(f"{step:g} s from {start} to {end}: at most {STEPS} steps")
        begin, until = (math.floor(t.timestamp() / step) * step for t in (start, end))
        data, warnings = await self._asked(
            monitor, "/api/v1/query_range", query=query, start=f"{begin:.3f}", end=f"{until:.3f}", step=f"{step:g}"
        )
        lines = tuple(
            TimeSeries(_labels(s), tuple((float(at), _number(value)) for at, value in s["values"]))
            for s in data.get("result") or ()
        )
        return Lines(lines, warnings)

    async def newest(self, monitor: str, query: str, at: datetime) -> datetime | None:
        """See the port."""
        read = await self._read(monitor, query)
        every = await asyncio.gather(*(self.instant(monitor, f"min(timestamp({s.text}))", at) for s in read.selectors))
        found = [a.samples[0].value for a in every if a.samples]
        if not found or (len(found) < len(every) and not read.spare):
            return None
        return _moment(min(found))

    async def began(self, monitor: str, query: str, since: datetime, at: datetime) -> int:
        """See the port."""
        read = await self._read(monitor, query)
        if not read.counters:
            return 0
        span = f"{max(1, math.ceil((at - since).total_seconds() + read.back))}s"
        terms = [
            f"(count({s.text} unless {s.text} offset {span}) or vector(0))"
            f" + (count(resets({s.text}[{span}]) > 0) or vector(0))"
            for s in read.counters
        ]
        answer = await self.instant(monitor, " + ".join(terms), at)
        return round(answer.samples[0].value) if answer.samples else 0

    async def there(self, monitor: str, query: str, labels: Mapping[str, str], then: datetime, at: datetime) -> bool:
        """See the port."""
        read = await self._read(monitor, query)
        lasting = {name: value for name, value in labels.items() if name not in PASSING}
        for selector in read.selectors:
            for text in dict.fromkeys((selector.with_labels(lasting), selector.text)):
                if (await self.instant(monitor, f"count({text})", then)).samples:
                    if not (await self.instant(monitor, f"count({text})", at)).samples:
                        return False
                    break
        return True

    # -- what watches ------------------------------------------------------------------------------------------------

    async def scraped(self, monitor: str) -> Sequence[Scraped]:
        """See the port."""
        data, _ = await self._asked(monitor, "/api/v1/targets", state="active")
        ours = self._target(monitor).monitor.labels
        found = [_scraped(t) for t in data.get("activeTargets") or ()]
        return [t for t in found if _carries(t.labels, ours)]

    async def jobs(self, monitor: str, start: datetime, end: datetime) -> Mapping[str, int]:
        """See the port."""
        up = promql.Selector("up", "up").with_labels(self._target(monitor).monitor.labels)
        step = max(15.0, (end - start).total_seconds() / 200)
        found = await self.range(monitor, f"sum by (job) ({up})", start, end, step)
        most = {line.labels.get("job", ""): max(value for _, value in line.points) for line in found.lines}
        return {job: round(value) for job, value in most.items() if value > 0}

    async def rules(self, monitor: str) -> Sequence[MonitorRule]:
        """See the port."""
        there = self._target(monitor).monitor
        data, _ = await self._asked(monitor, "/api/v1/rules", type="alert")
        groups = [g for g in data.get("groups") or () if not there.groups or g.get("name") in there.groups]
        return [_rule(r, g, there.labels) for g in groups for r in g.get("rules") or ()]

    async def fired(self, monitor: str, since: datetime, at: datetime) -> Sequence[Fired]:
        """See the port."""
        alerts = promql.Selector('ALERTS{alertstate="firing"}', "ALERTS")
        ours = alerts.with_labels(self._target(monitor).monitor.labels)
        span = max(1, math.ceil((at - since).total_seconds()))
        # The samples as they are: a subquery looks at whole steps only, and misses what fired between two.
        data, _ = await self._asked(monitor, "/api/v1/query", query=f"{ours}[{span}s]", time=_time(at))
        series = [(_labels(s), s["values"][-1][0]) for s in data.get("result") or ()]
        return [Fired(labels.get("alertname", ""), _own(labels), _moment(last)) for labels, last in series]

    async def started(self, monitor: str) -> datetime | None:
        """See the port."""
        try:
            data, _ = await self._asked(monitor, "/api/v1/status/runtimeinfo")
        except QueryRefused:
            return None
        return _when(data.get("startTime")) if data.get("startTime") else None

    # -- who is told -------------------------------------------------------------------------------------------------

    async def receivers(self, monitor: str) -> int:
        """See the port."""
        data, _ = await self._asked(monitor, "/api/v1/alertmanagers")
        return len(data.get("activeAlertmanagers") or ())

    async def held(self, monitor: str) -> Sequence[NotifiedAlert]:
        """See the port."""
        teller, ours = self._target(monitor).teller, self._target(monitor).monitor.labels
        if teller is None:
            return []
        found = await self._told(monitor, teller, "/api/v2/alerts")
        return [
            NotifiedAlert(
                str(a["labels"].get("alertname", "")), _own(a["labels"]),
                tuple(map(str, a["status"].get("silencedBy") or ())), bool(a["status"].get("inhibitedBy")),
            )
            for a in found if _carries(a["labels"], ours)
        ]  # fmt: skip

    async def silences(self, monitor: str) -> Sequence[Silence]:
        """See the port."""
        teller = self._target(monitor).teller
        if teller is None:
            return []
        found = await self._told(monitor, teller, "/api/v2/silences")
        return [s for s in map(_silence, found) if s.state != "expired"]

    # -- asking ------------------------------------------------------------------------------------------------------

    async def _read(self, monitor: str, query: str) -> promql.QueryReads:
        """What a query reads, what stands behind recorded rules included."""
        read, known = promql.read(query), None
        for _ in range(_DEEP):
            names = {*promql.recorded(read)}
            if not names:
                break
            if known is None:
                data, _ = await self._asked(monitor, "/api/v1/rules", type="record")
                rules = (r for g in data.get("groups") or () for r in g.get("rules") or ())
                known = {str(r.get("name")): str(r.get("query")) for r in rules}
            if not (behind := [promql.read(known[n]) for n in names if n in known]):
                break
            kept = tuple(s for s in read.selectors if s.name not in known)
            more = tuple(s for b in behind for s in b.selectors)
            back = read.back + max(b.back for b in behind)
            read = promql.QueryReads((*kept, *more), back, read.spare or any(b.spare for b in behind))
        return read

    def _target(self, name: str) -> PrometheusEndpoint:
        for target in self.targets:
            if target.monitor.name == name:
                return target
        known = ", ".join(t.monitor.name for t in self.targets) or "none"
        raise LookupError(f"the catalogue has no monitor {name!r}; there are {known}")

    async def _asked(self, monitor: str, path: str, **query: str) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The data of an answer of Prometheus, and its warnings. Unreachable, QueryRefused."""
        said = await self._get(monitor, self._target(monitor).endpoint, path, query)
        data = said.get("data") if isinstance(said, dict) else None
        if not isinstance(data, dict) or said.get("status") != "success":
            raise Unreachable.of({monitor: f"{path} is not answered as Prometheus does"})
        return data, tuple(map(str, said.get("warnings") or ()))

    async def _told(self, monitor: str, teller: HttpEndpoint, path: str) -> list[Any]:
        """A list that the Alertmanager gives. Unreachable, QueryRefused."""
        said = await self._get(monitor, teller, path, {}, "its Alertmanager: ")
        if not isinstance(said, list):
            raise Unreachable.of({monitor: f"its Alertmanager: {path} is not answered as an Alertmanager does"})
        return said

    async def _get(self, what: str, there: HttpEndpoint, path: str, query: Mapping[str, str], whose: str = "") -> Any:
        url = URL(there.url.rstrip("/") + path).with_query(dict(query))
        try:
            async with self._session.opened.get(
                url, headers=there.sent(), allow_redirects=False, timeout=aiohttp.ClientTimeout(total=there.timeout)
            ) as answer:
                status, raw = answer.status, await _body(answer.content)
        except aiohttp.ClientConnectorError as error:
            why = (error.os_error.strerror or type(error).__name__).lower()
            raise Unreachable.of({what: f"{whose}no connection to {url.authority}: {why}"}) from error
        except TimeoutError as error:
            raise Unreachable.of({what: f"{whose}no answer within {there.timeout:g} s"}) from error
        except aiohttp.ClientError as error:
            raise Unreachable.of({what: f"{whose}the connection broke before the answer was whole"}) from error
        if raw is None:
            raise QueryRefused(
                f"{what}: {whose}{path} answers with more than {ANSWER_LIMIT >> 20} MiB; ask for fewer series"
            )
        said = _json(raw)
        if status in (400, 401, 403, 404, 405, 422):
            raise QueryRefused(f"{what}: {whose}{_refusal(status, said)}")
        if status != 200 or said is None:
            words = ": ".join(
                filter(None, (f"answered {status}", _words(said) or ("" if status != 200 else "no JSON")))
            )
            raise Unreachable.of({what: f"{whose}{words}"})
        return said

    async def _fault(self, target: PrometheusEndpoint) -> str:
        name, teller = target.monitor.name, target.teller
        try:
            await self._asked(name, "/api/v1/query", query="1")
            if teller is not None:
                await self._get(name, teller, "/api/v2/status", {}, "its Alertmanager: ")
        except (Unreachable, QueryRefused) as error:
            return str(error)
        return ""


async def _body(content: aiohttp.StreamReader) -> bytes | None:
    """All of it; None where it is above the limit."""
    raw = bytearray()
    async for chunk in content.iter_chunked(64 * 1024):
        raw += chunk
        if len(raw) > ANSWER_LIMIT:
            return None
    return bytes(raw)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _words(said: Any) -> str:
    error = said.get("error") if isinstance(said, dict) else said if isinstance(said, str) else ""
    return " ".join(str(error or "").split())[:300]


def _refusal(status: int, said: Any) -> str:
    return _words(said) or ("refuses us" if status in (401, 403) else "does not know what is asked") + f" ({status})"


def _time(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _short(query: str) -> str:
    return query if len(query) <= 80 else f"{query[:79]}…"


def _number(text: Any) -> float:
    return float(text)  # "NaN" and "+Inf" as well


def _moment(seconds: Any) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=float(seconds))


def _when(text: Any) -> datetime:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return NEVER
    return at if at.tzinfo is not None and at.year > 1 else NEVER


def _labels(series: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in series["metric"].items() if name != "__name__"}


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    return {n: v for n, v in labels.items() if n not in ("__name__", "alertname", "alertstate")}


def _carries(labels: Mapping[str, str], ours: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in ours.items())


def _scraped(said: Mapping[str, Any]) -> Scraped:
    labels = said.get("labels") or {}
    return Scraped(
        labels.get("job", ""), labels.get("instance", ""), labels, str(said.get("health", "unknown")),
        str(said.get("lastError", "")), _when(said.get("lastScrape")),
    )  # fmt: skip


def _rule(said: Mapping[str, Any], group: Mapping[str, Any], ours: Mapping[str, str]) -> MonitorRule:
    alerts = (_raised(a) for a in said.get("alerts") or ())
    return MonitorRule(
        str(said["name"]), str(group.get("name", "")), str(said.get("query", "")), said.get("labels") or {},
        str(said.get("health", "unknown")), str(said.get("lastError", "")), _when(said.get("lastEvaluation")),
        float(group.get("interval") or 60.0), float(said.get("duration") or 0.0),
        tuple(a for a in alerts if _carries(a.labels, ours)),
    )  # fmt: skip


def _raised(said: Mapping[str, Any]) -> ActiveAlert:
    labels = said.get("labels") or {}
    return ActiveAlert(
        str(labels.get("alertname", "")), labels, str(said.get("state", "")), _when(said.get("activeAt"))
    )


def _silence(said: Mapping[str, Any]) -> Silence:
    matchers: Iterable[Mapping[str, Any]] = said.get("matchers") or ()
    return Silence(
        str(said["id"]),
        tuple(
            Matcher(str(m["name"]), str(m["value"]), bool(m.get("isRegex")), bool(m.get("isEqual", True)))
            for m in matchers
        ),
        _when(said.get("startsAt")), _when(said.get("endsAt")), str(said.get("createdBy", "")),
        str(said.get("comment", "")), str((said.get("status") or {}).get("state", "")),
    )  # fmt: skip
