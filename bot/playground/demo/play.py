"""One story from the first word to the last, told as it goes, with what is true before and after."""

from __future__ import annotations

import sys

from bot.playground.demo import verdict
from bot.playground.demo.live import WIDTH, Live, payments
from bot.playground.demo.stage import HERE, SHORT_WATCH, DemoFailed, Stage
from bot.playground.demo.story import STORIES, Story
from bot.playground.prometheus import installed
from bot.playground.shop.truth import Truth


def say(text: str) -> None:
    """One piece of it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def play(name: str = "rollback") -> None:
    """Plays a story. DemoFailed where something did not come out as it must."""
    story = STORIES[name]
    say(f"== {story.title[0].upper()}{story.title[1:]} ==")
    say("A Slack workspace, two Kubernetes clusters, a shop and the bot, on this machine; nothing else is touched.")
    watch = SHORT_WATCH.split(",")[0].removeprefix("for: ")
    say(f"The plan is the standard one, with a short watch ({watch}, not 15m).")
    if story.second and not installed():
        say("NOT LOOKED AT: numbers and alerts. For them: apt-get install prometheus prometheus-alertmanager")
    async with Stage(second=story.second) as stage:
        try:
            async with Live(stage, say) as live:
                say("")
                await story.before(stage, live)
                before = await _standing(stage)
                await story.tell(stage, live)
                truth = await verdict.settled(stage, story.serves)
                live.look()
            await _afterwards(stage, story, before, truth)
        except DemoFailed:
            say(f"\n--- the end of the bot's log ---\n{stage.log_end()}")
            raise


async def _standing(stage: Stage) -> str:
    """Health and traffic in a line."""
    pages = {c: await stage.shop.health(c) for c in stage.shop.clusters}
    said = {c: sorted({f"{page['release']} {page['status']}" for page in found}) for c, found in pages.items()}
    health = ", ".join(f"{c} {' and '.join(words) or 'no pod is ready'}" for c, words in said.items())
    return f"{health}; {payments(stage, verdict.LATE)}"


def _checklist(stage: Stage) -> str:
    """The newest one, a line for each check."""
    posts = (p for p in reversed(stage.workspace.driver.read(HERE)) if p.plain.startswith("Verification:"))
    lines = next((p.plain.splitlines() for p in posts), ["No check has run."])
    return "\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines)


async def _afterwards(stage: Stage, story: Story, before: str, truth: Truth) -> None:
    files = await stage.timelines()
    thread = files[0].with_name("thread.txt")
    thread.write_text(stage.workspace.driver.transcript(HERE), encoding="utf-8")
    say(f"\n== The verification, as it stands in the thread ==\n{_checklist(stage)}")
    say(f"The channel with its thread stays here: {thread}")
    say(f"\n== Before and after ==\nbefore: {before}\nafter:  {await _standing(stage)}")
    say(f"\n== The record ==\n{await verdict.chain(stage)}")
    for file in files:
        say(f"The timeline, a page for your browser, stays here: {file}")
    found = [*verdict.faults(truth, story.serves), *verdict.twice(stage, story.deploys, story.runs)]
    found += [*verdict.posted_twice(stage), *verdict.beside(truth, story.serves, story.bad, story.revision)]
    if story.bad:
        say(f"\n== CI tries to deploy {story.bad} again ==")
        _, why = await stage.may_deploy(story.bad)
        say(f"asks first: {why}")
        for cluster, words in (await stage.shop.deploy(story.bad)).items():
            say(f"tries all the same, {cluster}: {words or 'it was deployed'}")
        found += await verdict.kept_out(stage, story.bad)
    else:
        found += await verdict.let_in(stage, story.serves)
    found += [f"afterwards: {x}" for x in verdict.faults(await stage.shop.truth(verdict.LATE), story.serves)]
    if found:
        raise DemoFailed("it did not end right:\n" + verdict.listed(found))
    clusters = " and ".join(stage.shop.clusters)
    say(f"\nThe shop serves {story.serves} in {clusters} and takes payments. Nothing is paused, lost or")
    ci = f"CI cannot bring {story.bad} back" if story.bad else f"CI may deploy {story.serves} again"
    say(f"done twice, {ci}, and the record verifies.")
