"""A run as a trace: sent to a collector over OTLP/HTTP when it ends, where `ROLLBACK_OTLP_URL` names one.

One span is the run; below it one a decision (from asking to the yes) and one an attempt of a step. Ids follow from the
run's, so that whoever sends it again sends the same trace.

Invariants:
- it is read from the record, so that it says what the record says; no span holds prose, a value or a secret: names of
  steps, handlers and decisions, how they ended, and who decided, by id;
- nothing waits for the collector: it is spoken to in a thread, for a few seconds, and what it does not take is lost,
  which is told once. OpenTelemetry is imported where a run ends, and never without the setting.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.run import events as ev
from bot.run.state import Run
from bot.steady.outage import Outage
from bot.store.chain import Stored
from bot.store.log import Store

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for the collector's answer."""
_BEGINS = ("started", "apply started")
_ENDS = {
    "applied": "done", "undone": "undone", "adopted": "done by hand", "failed": "failed", "lost": "lost",
    "cancelled": "cancelled", "drifted": "drifted", "planned": "planned",
}  # fmt: skip
_BAD = ("failed", "lost", "fail", "unknown")


class NoTraces(Exception):
    """The packages for it are not installed."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which something went on. began, ended: microseconds since the epoch; key: tells it from the others of
    its run; bad: it ended ill."""

    key: str
    name: str
    began: int
    ended: int
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    bad: bool = False


def spans(rows: Iterable[Stored], asked: Mapping[str, float]) -> list[Stretch]:
    """Of a run's rows: itself first, then what it consists of, as it began. asked: decision -> since when, in seconds
    since the epoch."""
    whole: Stretch | None = None
    found: list[Stretch] = []
    began: dict[tuple[str, int], int] = {}
    uses: dict[str, str] = {}
    for row in rows:
        body = json.loads(row.body)
        if row.kind == "created":
            uses = {s["id"]: s.get("uses") or s.get("kind") or "" for s in body["plan"]["steps"]}
            about = {"run": row.run, "service": body["service"], "purpose": body["purpose"], "by": body["by"]["id"]}
            whole = Stretch("run", f"{body['purpose']} of {body['service']}", row.at, row.at, about)
        if whole is None:
            continue
        whole = replace(whole, ended=row.at)
        step, n = str(body.get("step", "")), int(body.get("n", 0))
        if row.kind in _BEGINS:
            began[step, n] = row.at
        elif row.kind in _ENDS or row.kind == "checked":
            outcome = body["verdict"]["status"] if row.kind == "checked" else _ENDS[row.kind]
            start = began.pop((step, n), None)
            if start is not None and outcome != "planned":
                ended: dict[str, str | int] = {
                    "step": step, "uses": uses.get(step, ""), "attempt": n, "outcome": outcome,
                }  # fmt: skip
                found.append(Stretch(f"{step}#{n}", step, start, row.at, ended, outcome in _BAD))
            elif start is not None:
                began[step, n] = row.at
        elif row.kind in ("approved", "broke glass", "taken"):
            decision, by = str(body["decision"]), str(body["by"]["id"])
            yes = {"decision": decision, "by": by, "how": row.kind}
            since = round(asked.get(decision, row.at / 1e6) * 1e6)
            found.append(Stretch(f"{decision}@{row.seq}", f"decision {decision}", since, row.at, yes))
        elif row.kind == "closed":
            outcome = str(body["outcome"])
            whole = replace(whole, attributes={**whole.attributes, "outcome": outcome}, bad=outcome != "verified")
    return [*([whole] if whole is not None else []), *sorted(found, key=lambda s: s.began)]


def _installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # nor what it lies in
        return False


class Traces:
    """Sends runs that end. url: of the collector, like http://collector:4318. NoTraces. `watch` is a watcher of the
    engine; `close` waits for what is under way."""

    def __init__(self, store: Store, url: str, version: str) -> None:
        if not _installed():
            raise NoTraces("ROLLBACK_OTLP_URL needs what is not installed: pip install 'rollback-bot[traces]'")
        self._store, self._url, self._version = store, url.rstrip("/"), version
        self._outage = Outage("The collector of traces", log)
        self._sending: set[asyncio.Task[None]] = set()

    async def watch(self, run: Run, events: Sequence[ev.Event]) -> None:
        """These were appended; the run that one of them ended is sent, and nobody waits for it."""
        if any(isinstance(e, ev.Closed) for e in events):
            asked = {name: a.opened for name, a in run.asked.items() if a.opened is not None}
            task = asyncio.create_task(self._send(run.id, asked))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Waits for what is under way: some seconds at most."""
        await asyncio.gather(*self._sending)

    async def _send(self, run: str, asked: Mapping[str, float]) -> None:
        try:
            rows = await self._store.events(run)
            await asyncio.to_thread(self._export, run, spans(rows, asked))
            self._outage.up()
        except Exception as error:
            self._outage.down(f"{self._url}: {error}")

    def _export(self, run: str, found: Sequence[Stretch]) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.export import SpanExportResult
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(key: str) -> SpanContext:
            digest = hashlib.sha256(f"{run}/{key}".encode()).digest()
            trace = hashlib.sha256(run.encode()).digest()[:16]
            return SpanContext(
                int.from_bytes(trace, "big"), int.from_bytes(digest[:8], "big"), is_remote=False,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            )  # fmt: skip

        resource = Resource({"service.name": "rollback-bot", "service.version": self._version})
        made = [
            ReadableSpan(
                s.name, context(s.key), parent=context("run") if s.key != "run" else None, resource=resource,
                attributes={f"rollback.{k.replace(' ', '_')}": v for k, v in s.attributes.items()},
                kind=SpanKind.INTERNAL, status=Status(StatusCode.ERROR if s.bad else StatusCode.OK),
                start_time=s.began * 1000, end_time=s.ended * 1000,
            )
            for s in found
        ]  # fmt: skip
        exporter = OTLPSpanExporter(endpoint=f"{self._url}/v1/traces", timeout=PATIENCE)
        try:
            if exporter.export(made) is not SpanExportResult.SUCCESS:
                raise OSError("it did not take a run's trace")
        finally:
            exporter.shutdown()  # type: ignore[no-untyped-call]
