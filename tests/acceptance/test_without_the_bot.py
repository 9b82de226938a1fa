"""The bot is gone in the middle: somebody who never saw it opens the file in the thread, and the shop is well."""

from __future__ import annotations

from bot.playground.demo import verdict, without_bot
from bot.playground.demo.people import People
from bot.playground.demo.stage import Stage
from bot.playground.demo.story import BACKEND, REASON
from tests.acceptance.stage import incident


async def test_the_shop_is_restored_by_the_commands_of_the_file_in_the_thread() -> None:
    async with incident() as (stage, people, _):
        text = await _until_decided(stage, people)
        finish = text.split("## To take it back instead")[0]
        await without_bot.typed(stage, *without_bot.commands(finish))
        truth = await verdict.resting(stage, lambda t: t.serves("2.4.0"))
        assert truth.serves("2.4.0") and truth.paused == ("eu-1/application/shop", "us-1/application/shop"), text
        stage.shop.push("2.4.0")  # whoever went on by hand puts it right in Git, and runs the last commands again
        await without_bot.typed(stage, without_bot.commands(finish)[-1])
        assert list(verdict.faults(await verdict.settled(stage, "2.4.0"), "2.4.0")) == [], text


async def test_what_was_begun_is_taken_back_by_the_commands_of_the_file_outside_the_database() -> None:
    async with incident() as (stage, people, _):
        await _until_decided(stage, people, kill=False)
        await people.press("cho", BACKEND)
        await people.reads("Pause workers: done")
        await stage.kill()
        (file,) = (stage.folder / "files").rglob("by-hand/*.md")
        text = file.read_text()
        back = text.split("## To take it back instead")[1].split("## What was run so far")[0]
        await without_bot.typed(stage, *without_bot.commands(back))
        truth = await verdict.resting(stage, lambda t: t.serves("2.4.1") and not t.paused)
        assert truth.serves("2.4.1") and not truth.paused, text
        assert "rollback-bot " not in text.split("## What was run so far")[0], "guards have it as a label; no command"


async def _until_decided(stage: Stage, people: People, *, kill: bool = True) -> str:
    """A rollback whose backend is to be decided; the text of the newest file in its thread. kill: the bot is gone."""
    await people.open("ana", f"shop because {REASON}")
    await people.press("ana", "Start rollback")
    await people.card(BACKEND)
    await people.reads("Prepare: 5 of 5")  # what stands by then is in the file, and no guard comes after it
    await stage.workspace.driver.wait_for(
        lambda: [f for f in without_bot.texts(stage) if "rollback-freeze-shop" in f], 30
    )
    if kill:
        await stage.kill()
    return without_bot.texts(stage)[-1]
