"""A rollback that people carry out on the playground's page, in a browser, and the bot killed in the middle of it; its
pictures stay in build/pictures."""

from __future__ import annotations

import re
from typing import Any

from bot.playground.demo import verdict
from bot.playground.page.opened import opened
from bot.playground.page.world import GOOD
from tests.playground.browser import browsing, looking, picture

REASON = "checkout fails since 14:02"
BACKEND = "Bring the backend back"
WINDOWS: dict[str, dict[str, Any]] = {
    "verified-dark": {"color_scheme": "dark"},
    "verified-narrow": {"viewport": {"width": 400, "height": 800}},
}
"""How else it is looked at."""


async def be(page: Any, who: str) -> None:
    """Somebody else sits down at the page."""
    await page.get_by_label("You are").select_option(who)
    await page.wait_for_function(f"location.hash.startsWith('#{who}/')")
    await page.locator("#messages article").first.wait_for()


async def test_a_rollback_is_asked_for_decided_and_verified_on_the_page() -> None:
    async with opened(second=False) as (site, stage), browsing() as browser, looking(browser, site.url) as page:
        write = page.get_by_label("Message #inc-4211")
        await write.press_sequentially("/ro")
        await page.get_by_role("option", name="/rollback").wait_for()
        await write.press("Tab")
        await write.press_sequentially(f"shop because {REASON}")
        await write.press("Enter")
        await page.get_by_role("button", name="Start rollback").click()
        await page.locator("article.whisper", has_text="Approved: Start rollback.").wait_for()

        thread = page.get_by_role("complementary", name="Thread")
        await page.locator(".thread-bar").first.click()
        mine = thread.get_by_role("button", name=BACKEND)
        await mine.wait_for()
        await picture(page, "decision-light")
        await mine.click()
        await page.locator("article.whisper", has_text="Not yours to decide").first.wait_for()

        await be(page, "cho")
        await page.locator(".thread-bar").first.click()
        await thread.get_by_role("button", name=BACKEND).click()
        await thread.get_by_text("approved by @cho").first.wait_for()
        await page.get_by_role("button", name="World").click()
        panel = page.get_by_role("complementary", name="World and traffic")
        await panel.get_by_role("switch", name="The bot is killed").click()
        await panel.get_by_text("is down").wait_for()
        await page.get_by_label("Message #inc-4211").fill("/rollback status")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").get_by_text("The app could not be reached.").wait_for()
        await panel.get_by_role("switch", name="The bot is killed").click()
        await panel.get_by_text("runs, hears Slack").wait_for()
        await page.get_by_role("button", name=f"Git says {GOOD} again").click()
        await page.get_by_text("slash_commands: /rollback").first.wait_for()
        await picture(page, "world-light")
        await page.locator("#panel-close").click()
        await page.locator("#messages").get_by_text(f"shop runs {GOOD} and is verified.").first.wait_for()
        await thread.get_by_text(re.compile(r"Verification: [34] of 4 pass\.")).first.wait_for()
        await picture(page, "verified-light")

        for name, window in WINDOWS.items():
            async with looking(browser, f"{site.url}#ana/C0INC04211", **window) as other:
                await other.locator("#messages").get_by_text(f"shop runs {GOOD} and is verified.").first.wait_for()
                await picture(other, name)
                wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
                assert await other.evaluate(wide), f"{name} must be scrolled sideways"

        truth = await verdict.settled(stage, GOOD)
        assert [*verdict.faults(truth, GOOD)] == []
        assert verdict.posted_twice(stage) == []
        assert verdict.twice(stage) == []
