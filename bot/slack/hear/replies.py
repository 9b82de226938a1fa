"""What one person is told, and nobody else: refusals, where a run stands, what would be done, the record.

`Tells` says it; the rest is pure. Text of others is escaped; people are named by mention. Long answers are cut, with
where the rest is.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Iterator, Sequence

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.audit import Verification
from bot.engine.preview import Forecast
from bot.policy import Person
from bot.run.state import Run
from bot.slack.draw.blocks import Mrkdwn, code, escape, fit_lines, joined, mark, mentioned, person, when
from bot.slack.draw.phrases import stopped
from bot.slack.hear import slash
from bot.slack.hear.payloads import Act
from bot.slack.workspace.channels import words
from bot.store.log import Head
from bot.telling import owing
from bot.telling.diff import diff, edit, fact
from bot.telling.eta import Eta
from bot.telling.owing import Owed
from bot.telling.view import DecisionView, view

log = logging.getLogger(__name__)

LONG = 3500
"""Characters of an answer."""
_SEND = 10.0
_FAULTS = (SlackClientError, aiohttp.ClientError, asyncio.TimeoutError, OSError)


class Tells:
    """Tells one person something, where they asked."""

    def __init__(self, client: AsyncWebClient) -> None:
        self.client = client

    async def tell(self, act: Act, text: Mrkdwn) -> bool:
        """Whether they were told; where nothing works, that is logged."""
        try:
            if act.response_url and await self._respond(act, text):
                return True
            return await self._whisper(act, text)
        except _FAULTS as error:
            log.warning("could not answer %s: %s", act.user[:40], error)
            return False

    async def _respond(self, act: Act, text: Mrkdwn) -> bool:
        body = {"text": text, "response_type": "ephemeral", "replace_original": False}
        body |= {"thread_ts": act.thread} if act.thread else {}
        sent = await AsyncWebhookClient(
            act.response_url, timeout=int(_SEND), logger=log, ssl=self.client.ssl
        ).send_dict(body)
        if sent.status_code != 200:
            log.info("a response URL was refused: %s %s", sent.status_code, sent.body[:100])
        return bool(sent.status_code == 200)

    async def _whisper(self, act: Act, text: Mrkdwn) -> bool:
        if act.channel:
            thread = act.thread or None
            try:
                await self.client.chat_postEphemeral(channel=act.channel, user=act.user, text=text, thread_ts=thread)
                return True
            except SlackApiError as error:
                log.info("no ephemeral message in %s: %s", act.channel[:40], words(error))
        await self.client.chat_postMessage(channel=act.user, text=text)
        return True


def named(text: str, people: Iterable[Person]) -> Mrkdwn:
    """A text of ours with everybody in it mentioned, by name (`@ben`) or id."""
    known = {p.name: p.id for p in people} | {p.id: p.id for p in people}
    if not known:
        return escape(text)
    names = "|".join(re.escape(n) for n in sorted(map(escape, known), key=len, reverse=True))
    ids = {str(escape(name)): id for name, id in known.items()}
    one = re.compile(rf"(?<![\w@])(?:@({names})|([UW][A-Z0-9]{{6,}}))(?!\w)")

    def mention(m: re.Match[str]) -> str:
        id = ids.get(m[1] or m[2])
        return person(id) if id else m[0]

    return Mrkdwn(one.sub(mention, escape(text)))


# -- where it stands ---------------------------------------------------------------------------------------------------


def standing(run: Run, now: float, eta: Eta | None, link: str = "") -> Mrkdwn:
    """A run in a few lines."""
    v = view(run, now)
    head = f"<{link}|{escape(v.title)}>" if link else f"*{escape(v.title)}*"
    lines = [Mrkdwn(f"{head} · {code(run.id)}"), escape(v.status)]
    if run.open and eta is not None:
        lines.append(mark("{}: {}", "Verified" if run.restored is not None else "Back", eta.text))
    lines.append(mark("Reason: {} · Commander {}", v.reason, _commander(run)))
    lines += [mark("• Decision {} of {}: {}. Asked: {}.", d.number, d.of, d.title, d.needs) for d in _open(v.decisions)]
    told = (" ".join(map(stopped, h.splitlines())) for h in (*v.halts, *v.debts, *v.left, *v.proposals, *v.reviews))
    lines += [mark("• {}", mentioned(t)) for t in told]
    return fit_lines(lines, LONG, f"and {{}} more: `rollback-bot show {run.id}`")


def steps(run: Run, now: float) -> Mrkdwn:
    """Every step by its track, with its state and what it says of itself."""
    lines: list[Mrkdwn] = []
    track = ""
    for s in view(run, now).steps:
        if s.track != track:
            track = s.track
            lines.append(mark("*{}*", track.capitalize()))
        lines.append(mark("• {}: {}{}", s.title, s.state, f" ({s.detail})" if s.detail else ""))
    return fit_lines(lines, LONG, f"and {{}} more: `rollback-bot show {run.id}`")


def history(rows: Sequence[tuple[Head, str, str]]) -> Mrkdwn:
    """Runs in a line each: (head, title, status)."""
    if not rows:
        return escape("There are no runs yet.")
    parts = ((when(h.created, day=True), title, status, code(h.run)) for h, title, status in rows)
    lines = [mark("• {} · {} · {} · {}", *p) for p in parts]
    return joined([*lines, Mrkdwn("`rollback-bot history` shows all of them.")])


def debts(found: Sequence[Owed], now: float) -> Mrkdwn:
    """What is still owed, a line each."""
    if not found:
        return escape(owing.lines((), now)[0])
    lines = [
        mark("• {}{}: {}{}", Mrkdwn("*Overdue* · ") if x.overdue(now) else "", x.service, mentioned(stopped(x.text)),
             _typed(x.next))
        for x in found
    ]  # fmt: skip
    return fit_lines(lines, LONG, "and {} more: `rollback-bot debts`")


def _typed(command: str) -> Mrkdwn:
    """What is typed in a terminal, as it is typed here; words that are no command stay as they are."""
    if not command.startswith("rollback-bot "):
        return mark(" ({})", command) if command else Mrkdwn("")
    here = command.replace("rollback-bot", slash.COMMAND).replace("--reason '...'", "because ...")
    return mark(" {}", code(here))


def changes(run: Run, now: float, decision: str = "") -> Mrkdwn:
    """What the steps of a run would do, as they were last planned; of one decision, or of all."""
    found = [d for d in view(run, now).decisions if decision in ("", d.name)]
    lines: list[str] = []
    for d in found:
        lines.append(mark("*Decision {} of {}: {}* ({})", d.number, d.of, d.title, d.state))
        for c in d.changes:
            lines.append(mark("{}: {}{}", c.title, c.summary, "" if c.reversible else " Cannot be undone."))
            lines += [mark("    {}", code(str(x))) for x in (*c.edits, *c.effects, *c.facts)]
            lines += [mark("    Careful: {}", w) for w in c.warnings]
        if not d.changes:
            lines.append("    Nothing is known of it yet.")
    where = f"and {{}} more lines: `rollback-bot show {run.id}`"
    return fit_lines(lines or ["Nothing is decided in this run."], LONG, where)


def commands(run: Run, decision: str = "") -> Mrkdwn:
    """What was run so far, as a person would have typed it; of one decision's steps, or of all."""
    steps = run.asked[decision].spec.members if decision in run.asked else tuple(run.steps)
    lines: list[str] = []
    for s in (run.steps[i] for i in steps):
        lines += [mark("{}: {}", s.spec.title, code(c)) for c in s.commands]
        if not s.commands and s.change is not None:
            lines += [mark("{} would set {}", s.spec.title, code(edit(e))) for e in s.change.edits]
    where = f"and {{}} more: `rollback-bot audit {run.id} export`"
    return fit_lines(lines or ["Nothing was run yet, and nothing is planned yet."], LONG, where)


def forecast(steps: Sequence[Forecast], service: str) -> Mrkdwn:
    """What a plan would do now."""
    head = Mrkdwn("*A forecast of what would be done now.* It binds nothing, and nothing was changed.")
    lines = [head, *(line for n, f in enumerate(steps, 1) for line in _forecast(n, f))]
    return fit_lines(lines, LONG, f"and {{}} more lines: `rollback-bot preview {service}`")


def record(run: Run, found: Verification) -> Mrkdwn:
    """What the audit says of a run, and where all of it is."""
    rest = Mrkdwn(f"All of it: `rollback-bot audit {run.id} export`.")
    return joined([mark("*The record of {}*", run.id), mark("{}.", found.text.rstrip(".")), rest])


def token(value: str, until: float, url: str) -> Mrkdwn:
    """A token, for the one person it stands for."""
    return joined([
        Mrkdwn("A personal token for the command line. It stands for you alone: nobody else may have it."),
        Mrkdwn(f"Good until {when(until, day=True)}; `/rollback token revoke` ends it now. In your shell:"),
        Mrkdwn(f"```export ROLLBACK_URL={escape(url)}\nexport ROLLBACK_TOKEN={value}\nrollback-bot status```"),
        Mrkdwn("It is shown this once."),
    ])  # fmt: skip


def token_for_you(issuer: str, until: float) -> Mrkdwn:
    """That somebody else has issued one: who did not expect it ends it."""
    return joined([
        mark("A personal token for the command line was issued for you, by {}.", code(issuer)),
        Mrkdwn(f"Whoever has it acts in your name until {when(until, day=True)}. You do not know of it?"),
        Mrkdwn("`/rollback token revoke` ends it now, and every other one of yours; then tell your security people."),
    ])  # fmt: skip


def _forecast(n: int, f: Forecast) -> Iterator[Mrkdwn]:
    said = f.why_not
    if f.verdict is not None:
        said = f"{f.verdict.status}: {f.verdict.observed} (expected {f.verdict.expected})"
    elif f.change is not None:
        said = f.change.summary + ("" if f.change.reversible else " Cannot be undone.")
    yield mark("{}. *{}*: {}", n, f.step.title, said)
    if f.change is not None:
        yield from (mark("    {}", code(str(line))) for line in diff(f.change.edits))
        yield from (mark("    {}", x.what) for x in f.change.effects)
        yield from (mark("    {}", fact(x)) for x in f.change.facts)
        yield from (mark("    Careful: {}", w) for w in f.change.warnings)


def _open(decisions: Iterable[DecisionView]) -> Iterator[DecisionView]:
    return (d for d in decisions if d.state == "open")


def _commander(run: Run) -> Mrkdwn:
    return person(run.commander.id, run.commander.name) if run.commander is not None else escape("nobody")
