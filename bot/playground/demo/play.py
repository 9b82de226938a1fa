"""One story from the first word to the last, told as it goes, with what is true before and after."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import textwrap
from pathlib import Path

from bot.playground.demo import duties, verdict
from bot.playground.demo.live import WIDTH, Live, payments
from bot.playground.demo.stage import HERE, SHORT_WATCH, DemoFailed, Stage
from bot.playground.demo.story import STORIES, Story
from bot.playground.demo.titles import TITLES
from bot.playground.demo.trouble import TROUBLES, Trouble
from bot.playground.prometheus import installed
from bot.playground.shop.truth import Truth


def say(text: str) -> None:
    """One piece of it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def play(name: str = "rollback", *, trouble: bool = False) -> None:
    """Plays a story. trouble: the bot is killed in the middle. DemoFailed where something did not come out right."""
    story, title = STORIES[name], TITLES[name]
    say(f"== {title[0].upper()}{title[1:]} ==")
    say("A Slack workspace, two Kubernetes clusters, a shop and the bot, on this machine; nothing else is touched.")
    watch = SHORT_WATCH.split(",")[0].removeprefix("for: ")
    say(f"The plan is {story.plan}, with a short watch ({watch}).")
    if story.second and not installed():
        say("NOT LOOKED AT: numbers and alerts. For them: apt-get install prometheus prometheus-alertmanager")
    async with Stage(second=story.second, paged=story.paged) as stage:
        try:
            async with Live(stage, say) as live:
                say("")
                await story.before(stage, live)
                before = await _standing(stage)
                await _told(stage, live, story, TROUBLES[name] if trouble else None)
                truth = await verdict.settled(stage, story.serves)
                live.look()
            await _afterwards(stage, story, before, truth)
        except DemoFailed:
            say(f"\n--- the end of the bot's log ---\n{stage.log_end()}")
            raise


async def _told(stage: Stage, live: Live, story: Story, trouble: Trouble | None) -> None:
    """The story, and the trouble beside it: both must come to their end."""
    if trouble is None:
        await story.tell(stage, live)
        return
    beside = asyncio.ensure_future(trouble(stage, live))
    try:
        await story.tell(stage, live)
        await beside
    finally:
        beside.cancel()


async def _standing(stage: Stage) -> str:
    """Health and traffic in a line."""
    pages = {c: await stage.shop.health(c) for c in stage.shop.clusters}
    said = {c: sorted({f"{page['release']} {page['status']}" for page in found}) for c, found in pages.items()}
    health = ", ".join(f"{c} {' and '.join(words) or 'no pod is ready'}" for c, words in said.items())
    browsers = f"; browsers get {await stage.front.serves()}" if stage.front is not None else ""
    return f"{health}; {payments(stage, verdict.LATE)}{browsers}"


def _checklist(stage: Stage) -> list[str]:
    """The newest one, a row for each check: what it is called, and what was seen."""
    posts = (p for p in reversed(stage.workspace.driver.read(HERE)) if p.plain.startswith("Verification:"))
    head, _, *rows = next((p.plain.splitlines() for p in posts), ["No check has run.", ""])
    found = [[cell.strip() for cell in row.split(" | ")] for row in rows]
    shown = [f"  {name:<31}{textwrap.shorten(now, WIDTH - 33, placeholder=' …')}" for name, now, *_ in found]
    return [head, *shown]


def _thread(stage: Stage) -> list[str]:
    """The first line of each card of the newest run, as the thread reads now."""
    posts = [p for p in stage.workspace.driver.read(HERE) if p.by == "rollback"]
    root = next(p.ts for p in reversed(posts) if not p.is_reply and "plan" in {b["type"] for b in p.blocks})
    heads = (p.plain.partition("\n")[0] for p in posts if root in (p.ts, p.thread_ts))
    told = dict.fromkeys(h for h in heads if h and not h.startswith(("[file: ", "By hand", "Decision ")))
    return [textwrap.shorten(head, WIDTH - 2, placeholder=" …") for head in told]


def _postmortem(stage: Stage) -> str:
    """When it is, in the invitation's words."""
    posts = (p.plain for p in reversed(stage.workspace.driver.read(HERE)))
    found = (re.search(r"Postmortem of shop: ([^,\n]+, \d\d:\d\d \([^)]+\))", words) for words in posts)
    return next((f[1] for f in found if f), "")


async def _duties(stage: Stage, story: Story, folder: Path) -> list[str]:
    """What the last run did of all that a rollback has to do, told; what it missed, a sentence each."""
    record = (folder / f"{await stage.last_run()}.jsonl").read_text(encoding="utf-8")
    found = duties.read(record)
    told = any(p.plain.count("Resolved") for p in stage.workspace.driver.read("status"))
    done = (*found.done, *(["C1"] if told else []), "C2")
    say(f"\n== Duties: {len(done)} done ==\n{textwrap.fill(' '.join(sorted(done)), WIDTH)}")
    if found.absent:
        why = "No target for it in this shop" if story.plan == "standard" else "Not in this plan"
        say(textwrap.fill(f"{why}: {duties.told(found.absent)}", WIDTH))
    if not story.whole:
        return []
    missed = [f"{duty} was not done: {', '.join(steps)}" for duty, steps in found.missed.items()]
    missed += [f"{duty} is not in the plan, and this shop has all there is" for duty in found.absent if stage.watched]
    return [*missed, *([] if told else ["C1 was not done: stakeholders were not told that it is resolved"])]


async def _afterwards(stage: Stage, story: Story, before: str, truth: Truth) -> None:
    folder = Path(tempfile.mkdtemp(prefix="rollback-demo-"))
    pages = await stage.records(folder)
    thread = folder / "thread.txt"
    thread.write_text(stage.workspace.driver.transcript(HERE), encoding="utf-8")
    say("\n== The thread, in short ==")
    for line in _thread(stage):
        say(f"  {line}")
    say(f"All of it: {thread}")
    say("\n== The checklist ==\n" + "\n".join(_checklist(stage)))
    found = await _duties(stage, story, folder)
    say(f"\n== Before and after ==\nbefore: {before}\nafter:  {await _standing(stage)}")
    found += [*verdict.faults(truth, story.serves), *verdict.twice(stage, story.deploys, story.runs)]
    found += [*verdict.posted_twice(stage), *verdict.beside(truth, story.serves, story.bad, story.revision)]
    found += await verdict.frontend(stage, story.serves)
    found += await _ci(stage, story)
    found += [f"afterwards: {x}" for x in verdict.faults(await stage.shop.truth(verdict.LATE), story.serves)]
    date = _postmortem(stage)
    say(f"\n== The record ==\n{await verdict.chain(stage)}\nPostmortem: {date or 'none'}")
    for page in pages:
        say(f"Timeline, a page for your browser: {page}")
    if not date and story.plan == "standard":
        found.append("no postmortem was scheduled")
    if found:
        raise DemoFailed("it did not end right:\n" + verdict.listed(found))
    ci = f"CI cannot bring {story.bad} back" if story.bad else f"CI may deploy {story.serves} again"
    say(
        f"\n{story.serves} serves in {' and '.join(stage.shop.clusters)} and takes payments. Nothing is paused, lost or"
    )
    say(f"done twice, {ci}, and the record verifies.")


async def _ci(stage: Stage, story: Story) -> list[str]:
    """CI asks about the release that was removed, and tries all the same; what of it is wrong."""
    if not story.bad:
        return await verdict.let_in(stage, story.serves)
    _, why = await stage.may_deploy(story.bad)
    say(f"\n== CI tries {story.bad} again ==\nasks first: {why}")
    for cluster, words in (await stage.shop.deploy(story.bad)).items():
        say(textwrap.shorten(f"{cluster} says: {words or 'deployed'}", WIDTH, placeholder=" …"))
    return await verdict.kept_out(stage, story.bad)
