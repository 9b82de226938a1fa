"""The pages of a run and of many, as a screen reader hears them, a keyboard walks them, and a phone shows them: what a
real browser makes of them. Colours are judged by their contrast, from the style itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from importlib import resources
from itertools import product
from typing import Any

import aiohttp
import pytest

from bot.audit import html
from bot.audit.report_page import report_page
from bot.contract import Receipt
from bot.policy import Actor
from bot.run import events as ev
from bot.telling.report import Timed, report
from tests.audit.test_timeline import timed
from tests.run.played import CHO, act, gate, plan
from tests.store.conftest import Sample

CHROMIUM = shutil.which("chromium")
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PLOT = "sha256:" + "ab" * 32


def story() -> str:
    """The page of a run with a decision, a plot and a failure."""
    small = plan(act("deploy", decision="go"), decisions=[gate("go", "deploy")])
    kept: Mapping[str, Any] = {"plot.png": {"digest": PLOT, "size": 70, "type": "image/png", "alt": "errors: 4 %"}}
    sample = Sample()
    rows = timed(
        (0, replace(sample.created(), plan=small, plan_digest=small.digest)),
        *((n, e) for n, e in enumerate(sample.work(), 1)),
        (30, ev.Approved("go", {}, Actor.of(CHO, "slack"), "approver")),
        (40, ev.Applied("deploy", 2, Receipt("2 of 2 pods ready", kept))),
        (60, ev.Closed("verified")),
    )
    return html(rows, {PLOT: b64decode(PNG)}, {PLOT: "files/plot.png"})


def many() -> str:
    """The page over two runs."""
    times = {"card": 1.0, "restored": 300.0, "work": 200.0, "waiting": 100.0, "verified": 900.0}
    runs = [Timed(f"shop-{n}", "shop", "Rollback of shop: 2.4.1 → 2.4.0", 1e9 + n, "verified", times,
                  {"Bring the backend back": 38.0}, (("Deploy", "fatal"),)) for n in range(2)]  # fmt: skip
    return report_page(report(runs))


class Tab:
    """A page in a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.n = socket, 0

    async def ask(self, method: str, **params: Any) -> Any:
        """One command of the browser's protocol."""
        self.n += 1
        await self.socket.send_json({"id": self.n, "method": method, "params": params})
        async with asyncio.timeout(60):
            while (said := await self.socket.receive_json()).get("id") != self.n:
                pass
        assert "error" not in said, said
        return said["result"]

    async def shows(self, text: str, width: int = 1000) -> None:
        """This page, at this width."""
        await self.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        frame = (await self.ask("Page.getFrameTree"))["frameTree"]["frame"]["id"]
        await self.ask("Page.setDocumentContent", frameId=frame, html=text)

    async def value(self, expression: str) -> Any:
        """What a script finds; it is ours, the page has none."""
        found = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def heard(self) -> list[tuple[str, str]]:
        """(role, name) of everything that is told."""
        nodes = (await self.ask("Accessibility.getFullAXTree"))["nodes"]
        told = (n for n in nodes if not n.get("ignored"))
        return [(str(n["role"]["value"]), str(n.get("name", {}).get("value", ""))) for n in told]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a browser can be spoken to."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    folder = tmp_path_factory.mktemp("chromium")
    asked = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={folder}")
    with subprocess.Popen([CHROMIUM, *asked, "about:blank"], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        try:
            told = (re.search(r"listening on ws://([^/]+)/", line) for line in child.stderr)
            yield f"http://{next(found[1] for found in told if found)}"
        finally:
            child.kill()


@pytest.fixture
async def tab(browser: str) -> AsyncIterator[Tab]:
    """Its one page."""
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{browser}/json/list") as answer:
            pages = json.loads(await answer.text())
        at = next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page")
        async with http.ws_connect(at, max_msg_size=0) as socket:
            yield Tab(socket)


async def test_a_screen_reader_hears_landmarks_headings_and_tables_with_their_heads(tab: Tab) -> None:
    await tab.shows(story())
    heard = await tab.heard()
    roles = [role for role, _ in heard]
    assert roles.count("banner") == 1 and roles.count("main") == 1
    assert [name for role, name in heard if role == "heading"] == [
        "Rollback of shop: 2.4.1 → 2.4.0", "Who waited for whom", "Step by step", "What was kept", "What happened",
        "Is this the record?",
    ]  # fmt: skip
    assert {name for role, name in heard if role == "table"} == {"Decisions", "Steps, by track"}
    assert {name for role, name in heard if role == "columnheader"} >= {"Step", "Took", "Decision", "Waited"}
    assert ("image", "errors: 4 %") in heard
    assert all(name for role, name in heard if role in ("link", "image", "heading", "table", "columnheader", "region"))
    assert ("link", "Entry 1") in heard


async def test_a_keyboard_begins_with_the_way_past_the_tables_and_reaches_every_link(tab: Tab) -> None:
    await tab.shows(story())
    walked = []
    for _ in range(4):
        for kind in ("keyDown", "keyUp"):
            await tab.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        walked.append(await tab.value("document.activeElement.textContent"))
    assert walked[:2] == ["Skip to what happened", "plot.png"] and walked[2:4] == ["1 detail", "1"]
    assert await tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid", "where one is, is seen"


@pytest.mark.parametrize("page", ["run", "report"])
async def test_a_phone_needs_no_sideways_scrolling_and_its_rows_stay_rows(tab: Tab, page: str) -> None:
    await tab.shows(story() if page == "run" else many(), width=360)
    assert await tab.value("document.scrollingElement.scrollWidth") <= 360
    if page == "run":
        roles = [role for role, _ in await tab.heard()]
        assert roles.count("table") == 2 and roles.count("rowheader") >= 3 and roles.count("cell") >= 6


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_text_stands_out_from_every_ground_by_light_and_by_dark() -> None:
    style = resources.files("bot.audit").joinpath("timeline.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    assert len(themes) >= 2
    for theme in themes[:2]:
        texts = [c for name, c in theme.items() if name in ("text", "quiet", "decision", "trouble", "done")]
        grounds = [theme["ground"], theme["raised"]]
        own = [(theme[n], theme[f"{n}-ground"]) for n in ("decision", "trouble")]
        for text, ground in (*product(texts, grounds), *own):
            bright, dim = sorted((luminance(text), luminance(ground)), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, ground)
