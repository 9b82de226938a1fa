"""A run as a trace: what a collector gets of it, and what becomes of a run where there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

import migrations
from bot.node.traces import NoTraces, Traces
from bot.playground.free_port import free_port
from bot.run import events as ev
from bot.run.state import Run
from bot.settings import Settings
from tests.engine.conftest import desk
from tests.engine.documents import ANA, CHO, World, check, gate, plan, put, start
from tests.fixtures.served import everything, served


def told(span: Span) -> dict[str, str]:
    """Its attributes, without what they begin with."""
    return {a.key.removeprefix("rollback."): a.value.string_value or str(a.value.int_value) for a in span.attributes}


async def ended(url: str, database_url: str) -> str:
    """A run of one step that people decide about, from its start to its end; its id."""
    await asyncio.to_thread(migrations.upgrade, database_url)
    async with desk(database_url, World()) as there:
        traces, heard = Traces(there.store, url, "1.2.3"), asyncio.Event()

        async def watch(run: Run, events: Sequence[ev.Event]) -> None:
            await traces.watch(run, events)
            if run.closed:
                heard.set()

        there.engine.watchers = (watch,)
        steps = start(), put("a", after=["start"], decision="a"), check("verify", "a", after=["a"], phase="verify")
        run = await there.open(plan(*steps, decisions=[gate("a", "a")]))
        await there.until(run, lambda r: r.asked["start"].opened)
        await there.approve(run, "start", ANA)
        await there.until(run, lambda r: r.asked["a"].opened)
        await there.approve(run, "a", CHO)
        await there.until(run, lambda r: r.closed)
        await heard.wait()  # watchers hear of what stands already
        await traces.close()
    return run


async def test_a_run_that_ends_is_one_trace_of_what_it_consisted_of(database_url: str) -> None:
    got: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        assert request.path == "/v1/traces"
        body = await request.read()
        got.append(body)
        return web.Response(content_type="application/x-protobuf")

    async with served(everything(take)) as at:
        run = await ended(f"http://{at}", database_url)
    (request,) = (ExportTraceServiceRequest.FromString(body) for body in got)
    (resource,) = request.resource_spans
    named = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert (named["service.name"], named["service.version"]) == ("rollback-bot", "1.2.3")
    found = [s for scope in resource.scope_spans for s in scope.spans]
    (whole,) = (s for s in found if not s.parent_span_id)
    assert told(whole)["run"] == run and told(whole)["outcome"] == "verified" and told(whole)["by"]
    assert {s.trace_id for s in found} == {whole.trace_id} and len({s.span_id for s in found}) == len(found)
    beside = [s for s in found if s is not whole]
    assert {s.parent_span_id for s in beside} == {whole.span_id}
    assert all(whole.start_time_unix_nano <= s.start_time_unix_nano <= s.end_time_unix_nano for s in beside)
    assert max(s.end_time_unix_nano for s in beside) <= whole.end_time_unix_nano
    by = {s.name: told(s) for s in beside}
    assert by["a"]["uses"] == "doc.set" and by["a"]["outcome"] == "done"
    assert by["decision a"]["by"] == CHO.id and by["decision start"]["by"] == ANA.id


async def test_a_collector_that_is_away_is_told_once_and_holds_no_run_up(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "bot.node.traces"):
        await ended(f"http://127.0.0.1:{free_port()}", database_url)
    said = [r.getMessage() for r in caplog.records if r.name == "bot.node.traces"]
    assert len(said) == 1 and "The collector of traces is away" in said[0]


def test_without_its_packages_a_bot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.util.find_spec", gone)
    with pytest.raises(NoTraces, match=r"pip install 'rollback-bot\[traces\]'"):
        Traces(None, "http://collector:4318", "1")  # type: ignore[arg-type]  # it comes to no run


def test_an_address_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="otlp_url"):
        Settings(otlp_url="collector:4318")
