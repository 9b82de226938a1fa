"""The published configuration against what a real backend reports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from bot.adapters.http import HttpClient, HttpEndpoint
from bot.contract import Json, Status, Verdict
from bot.redaction.redactor import Redactor
from bot.testing import run_check
from checks.settings_aligned import SettingsAligned, SettingsAlignedParams
from tests.fixtures.frontend_bucket import GOOD, Bucket
from tests.fixtures.frontend_published import front
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.served import served


class Backend:
    """Says what it works with."""

    def __init__(self) -> None:
        self.says: Json = {"api": "/v1", "coupons": False, "database": "postgres"}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        return web.json_response(self.says)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    there = Backend()
    app = web.Application()
    app.router.add_get("/settings", there.answer)
    async with served(app) as at:
        there.url = f"http://{at}"
        yield there


async def look(bucket: Bucket, there: Backend, config: Json = None, **edge: str) -> Verdict:
    http = HttpClient({"api": HttpEndpoint(there.url, timeout=20.0)})
    said = json.dumps(config).encode() if config is not None else GOOD["config.json"]
    files = {**GOOD, "config.json": said}
    asked = {"backend": "api", "reports": "/settings"} | edge
    async with front(bucket, files, files, more={"http": http, "secrets": Redactor()}, **asked) as f:
        verdict = await run_check(SettingsAligned(), f.ports_for, SettingsAlignedParams(build=str(f.good)))
    await http.close()
    return verdict


async def test_what_both_name_and_agree_on_passes(bucket: Bucket, backend: Backend) -> None:
    verdict = await look(bucket, backend)
    assert (verdict.status, verdict.observed) == (Status.PASS, "2 keys agree")


async def test_each_difference_is_told_with_both_values(bucket: Bucket, backend: Backend) -> None:
    backend.says = {"api": "/v1", "flags": {"coupons": True}}
    verdict = await look(bucket, backend, {"api": "/v2", "flags": {"coupons": False}, "theme": "dark"})
    assert verdict.status is Status.FAIL
    assert verdict.data["differing"] == {
        "cdn api": 'published "/v2", the backend has "/v1"',
        "cdn flags.coupons": "published false, the backend has true",
    }


async def test_a_value_that_looks_like_a_secret_is_told_by_its_name_alone(bucket: Bucket, backend: Backend) -> None:
    backend.says = {"payment_password": "hunter2-hunter2"}
    verdict = await look(bucket, backend, {"payment_password": "other"})
    assert verdict.status is Status.FAIL and "hunter2" not in str(verdict)


async def test_nothing_in_common_and_no_answer_are_unknown(bucket: Bucket, backend: Backend) -> None:
    backend.says = {"database": "postgres"}
    assert (await look(bucket, backend)).status is Status.UNKNOWN
    backend.says = ["no document"]
    assert (await look(bucket, backend)).status is Status.UNKNOWN


async def test_an_edge_without_a_page_to_compare_with_passes_in_words(bucket: Bucket, backend: Backend) -> None:
    verdict = await look(bucket, backend, backend="", reports="")
    assert (verdict.status, verdict.observed) == (
        Status.PASS, "no edge names a page of the backend to compare with",
    )  # fmt: skip


async def test_a_backend_that_is_away_is_unknown(bucket: Bucket, backend: Backend) -> None:
    away = Backend()
    away.url = "http://127.0.0.1:9"
    verdict = await look(bucket, away)
    assert verdict.status is Status.UNKNOWN and "no connection" in verdict.observed
