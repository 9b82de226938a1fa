"""The shop that is rolled back: what it promises to those who stand on it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.playground.single import RELEASES, Fault, Shop


class Customer:
    """Somebody with a browser."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, method: str, url: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, url, data=data, headers=named) as answer:
            return answer.status, await answer.json(), {k.lower(): v for k, v in answer.headers.items()}


@pytest.fixture
async def customer() -> AsyncIterator[Customer]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield Customer(session)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# -- releases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES[:-1])
async def test_a_good_release_is_healthy_and_takes_payments(customer: Customer, release: str) -> None:
    async with Shop(release) as shop:
        status, page, _ = await customer.ask("GET", f"{shop.url}/healthz")
        assert (status, page["release"], page["status"], page["errors"]) == (200, release, "ok", 0)
        status, paid, _ = await customer.ask("POST", f"{shop.url}/pay", {"amount": 12.5})
        assert (status, paid) == (200, {"paid": 12.5, "release": release})


async def test_the_bad_release_fails_payments_and_says_so(customer: Customer) -> None:
    async with Shop("2.4.1") as shop:
        assert (await customer.ask("POST", f"{shop.url}/pay", {"amount": 12.5}))[0] == 500
        status, page, _ = await customer.ask("GET", f"{shop.url}/healthz")
        assert (status, page["release"], page["status"], page["errors"]) == (503, "2.4.1", "failing", 1)


async def test_another_release_serves_only_after_the_delay(customer: Customer) -> None:
    clock = Clock()
    async with Shop("2.4.1", delay=3.0, clock=clock) as shop:
        answer = await customer.ask("PUT", f"{shop.url}/release", {"release": "2.4.0"})
        assert answer[:2] == (200, {"release": "2.4.0"})
        clock.now = 2.9
        assert (await customer.ask("GET", f"{shop.url}/release"))[1] == {"release": "2.4.0"}
        assert (await customer.ask("GET", f"{shop.url}/healthz"))[1]["release"] == "2.4.1"
        clock.now = 3.0
        assert (await customer.ask("GET", f"{shop.url}/healthz"))[:2] == (
            200, {"release": "2.4.0", "status": "ok", "read_only": False, "errors": 0.0}
        )  # fmt: skip


async def test_writing_the_same_release_again_does_not_put_off_the_switch() -> None:
    clock = Clock()
    async with Shop("2.4.1", delay=3.0, clock=clock) as shop:
        await shop.edit("release", release="2.4.0")
        clock.now = 2.0
        await shop.edit("release", release="2.4.0")
        clock.now = 3.0
        assert shop.serving == "2.4.0"


@pytest.mark.parametrize(
    "body", [{"release": "9.9.9"}, {"release": None}, {"release": ["2.4.0"]}, {}, {"release": "2.4.0", "x": 1}, [], 7]
)
async def test_what_is_no_release_is_refused_with_a_reason(customer: Customer, body: Any) -> None:
    async with Shop("2.4.1") as shop:
        status, answer, _ = await customer.ask("PUT", f"{shop.url}/release", body)
        assert status == 422
        assert answer["error"]
        assert shop.log[0]["status"] == 422
        assert (await customer.ask("GET", f"{shop.url}/release"))[1] == {"release": "2.4.1"}


# -- versions --------------------------------------------------------------------------------------------------------


async def test_a_write_over_an_old_version_is_refused_even_when_the_content_is_the_same_again(
    customer: Customer,
) -> None:
    async with Shop("2.4.1") as shop:
        url = f"{shop.url}/release"
        etag = (await customer.ask("GET", url))[2]["etag"]
        for release in ("2.4.0", "2.4.1"):
            await customer.ask("PUT", url, {"release": release})
        status, _, headers = await customer.ask("PUT", url, {"release": "2.3.9"}, If_Match=etag)
        assert (status, headers["etag"]) == (412, '"3"')
        assert (await customer.ask("PUT", url, {"release": "2.3.9"}, If_Match=headers["etag"]))[0] == 200


async def test_the_log_has_every_changing_request_with_its_key(customer: Customer) -> None:
    async with Shop("2.4.0") as shop:
        await customer.ask("GET", f"{shop.url}/release")
        await customer.ask("PUT", f"{shop.url}/release", {"release": "2.4.1"}, Idempotency_Key="run-7/deploy/1")
        await customer.ask("PUT", f"{shop.url}/maintenance", {"read_only": True}, If_Match='"9"')
        log = (await customer.ask("GET", f"{shop.url}/log"))[1]
    assert [(line["path"], line["status"], line["key"]) for line in log] == [
        ("/release", 200, "run-7/deploy/1"), ("/maintenance", 412, None)
    ]  # fmt: skip


# -- maintenance -----------------------------------------------------------------------------------------------------


async def test_a_read_only_shop_refuses_payments_and_stays_healthy(customer: Customer) -> None:
    async with Shop("2.4.0") as shop:
        answer = await customer.ask("PUT", f"{shop.url}/maintenance", {"read_only": True, "notice": "back soon"})
        assert answer[:2] == (200, {"read_only": True, "notice": "back soon"})
        assert (await customer.ask("POST", f"{shop.url}/pay", {"amount": 1}))[0] == 503
        assert (await customer.ask("GET", f"{shop.url}/healthz"))[1]["read_only"] is True
        await customer.ask("PUT", f"{shop.url}/maintenance", {"read_only": False})
        assert (await customer.ask("GET", f"{shop.url}/maintenance"))[1] == {"read_only": False, "notice": ""}
        assert (await customer.ask("POST", f"{shop.url}/pay", {"amount": 1}))[0] == 200


@pytest.mark.parametrize("body", [{"read_only": 1}, {"notice": "x"}, {"read_only": True, "notice": 7}, "x"])
async def test_what_is_no_maintenance_is_refused(customer: Customer, body: Any) -> None:
    async with Shop() as shop:
        assert (await customer.ask("PUT", f"{shop.url}/maintenance", body))[0] == 422


@pytest.mark.parametrize("amount", [0, -1, "1", True, None])
async def test_an_amount_that_is_none_is_refused(customer: Customer, amount: Any) -> None:
    async with Shop() as shop:
        assert (await customer.ask("POST", f"{shop.url}/pay", {"amount": amount}))[0] == 422


# -- faults ----------------------------------------------------------------------------------------------------------


async def test_a_fault_hits_as_many_requests_as_asked_and_only_those(customer: Customer) -> None:
    async with Shop() as shop:
        fault = {"next": 2, "method": "GET", "path": "/release", "status": 502}
        assert (await customer.ask("PUT", f"{shop.url}/faults", fault))[0] == 200
        paths = ["/healthz", "/release", "/log", "/release", "/release"]
        seen = [(await customer.ask("GET", f"{shop.url}{path}"))[0] for path in paths]
    assert seen == [200, 502, 200, 502, 200]


@pytest.mark.parametrize("served", [True, False])
async def test_a_dropped_answer_may_come_after_the_work_was_done(customer: Customer, served: bool) -> None:
    async with Shop("2.4.1") as shop:
        shop.break_next(Fault(next=2, serve=served, answer="drop"))  # this client tries a PUT twice
        with pytest.raises(aiohttp.ClientError):
            await customer.ask("PUT", f"{shop.url}/release", {"release": "2.4.0"})
        assert (await shop.world())["release/release"] == ("2.4.0" if served else "2.4.1")


async def test_a_hanging_answer_ends_with_the_shop(customer: Customer) -> None:
    shop = Shop()
    await shop.start()
    shop.break_next(Fault(answer="hang"))
    waiting = asyncio.create_task(customer.ask("GET", f"{shop.url}/release"))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    await shop.stop()
    with pytest.raises(aiohttp.ClientError):
        await waiting


@pytest.mark.parametrize("body", [[], {"nxt": 1}, {"next": "1"}, {"answer": "maybe"}, {"status": "500"}])
async def test_a_fault_that_is_none_is_refused(customer: Customer, body: Any) -> None:
    async with Shop() as shop:
        assert (await customer.ask("PUT", f"{shop.url}/faults", body))[0] == 422
        assert (await customer.ask("GET", f"{shop.url}/release"))[0] == 200


# -- as a process ----------------------------------------------------------------------------------------------------


async def started(*args: str) -> tuple[asyncio.subprocess.Process, str]:
    """The shop as a process, and its URL."""
    command = (sys.executable, "-m", "bot.playground.single", *args)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("shop 2.4."), line
    return process, line.split()[-1]


async def test_a_killed_shop_comes_back_as_it_was(customer: Customer, tmp_path: Path) -> None:
    state = str(tmp_path / "shop.json")
    process, url = await started("--release", "2.4.1", "--delay", "0", "--state", state)
    await customer.ask("PUT", f"{url}/release", {"release": "2.4.0"}, Idempotency_Key="k")
    process.kill()
    await process.wait()

    process, url = await started("--release", "2.4.1", "--state", state)
    _, document, headers = await customer.ask("GET", f"{url}/release")
    assert (document, headers["etag"]) == ({"release": "2.4.0"}, '"2"')
    assert (await customer.ask("GET", f"{url}/healthz"))[1]["release"] == "2.4.0"
    assert [line["key"] for line in (await customer.ask("GET", f"{url}/log"))[1]] == ["k"]
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_a_taken_port_or_a_broken_state_is_said_in_a_line(tmp_path: Path) -> None:
    state = tmp_path / "shop.json"
    state.write_text("{")
    async with Shop() as shop:
        for args, words in (
            (["--port", shop.url.rpartition(":")[2]], b"address already in use"),
            (["--state", str(state)], b"holds no state of a shop"),
        ):
            command = (sys.executable, "-m", "bot.playground.single", *args)
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
            _, said = await process.communicate()
            assert (process.returncode, said.count(b"\n")) == (1, 1), said
            assert words in said
