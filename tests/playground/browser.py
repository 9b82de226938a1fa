"""A browser that looks at the page, as people do: Debian's chromium, driven by playwright (`make browser`)."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PATIENCE_MS = 120_000.0
"""Milliseconds in which what is waited for must stand on the page, on a busy machine."""
PICTURES = Path(__file__).parents[2] / "build" / "pictures"
"""Where screenshots are left."""


@asynccontextmanager
async def browsing() -> AsyncIterator[Any]:
    """A browser; `new_page` opens a page in it. RuntimeError with what is missing."""
    found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("chromium is missing: apt-get install chromium")
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise RuntimeError("playwright is missing: make browser") from None
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


@asynccontextmanager
async def looking(browser: Any, url: str, **context: Any) -> AsyncIterator[Any]:
    """The page at this address, in a window of its own. AssertionError at the end where its scripts failed."""
    wrong: list[str] = []
    own = await browser.new_context(**({"viewport": {"width": 1360, "height": 900}} | context))
    page = await own.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    await page.goto(url)
    await page.locator("#title:not(:empty)").wait_for()
    yield page
    await own.close()
    assert not wrong, wrong


async def picture(page: Any, name: str) -> Path:
    """A screenshot of what is in view."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    file = PICTURES / f"{name}.png"
    await page.screenshot(path=file)
    return file
