"""What people ask by Slack, carried out: the commands that are the same everywhere, by the same engine and policy.

Invariants:
- who asks is known and an active member of our team before anything else is looked at;
- nothing is decided here: forms are shown only for what policy and the run's rules would let this person do now, and
  they are asked again when the form comes back;
- one act counts once: its key goes into the inbox with what it does; delivered again it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.opening.rollbacks import Wanted
from bot.policy import Person, Refusal, Why, stranger
from bot.releases.ledger import Candidate
from bot.run.answering import Answer
from bot.run.commands import TABLE, Command
from bot.run.declared import Heading, Who
from bot.run.state import Run
from bot.slack.draw.blocks import Mrkdwn, escape, joined, mark, when
from bot.slack.draw.press import LOOKS, OF_A_DECISION, NotOurs, Press
from bot.slack.hear import modals, replies, slash
from bot.slack.hear.home import Homes
from bot.slack.hear.looks import Looks
from bot.slack.hear.modals import Draft, Form
from bot.slack.hear.payloads import Act, Clicked, Picked, Pointed, Submitted, Typed
from bot.slack.hear.places import Places, SlackServes
from bot.slack.workspace.channels import SHARED, words
from bot.slack.workspace.directory import SlackDirectory
from bot.telling.view import title
from bot.words import Unclear, moment

VIA = "slack"
NOT_OURS = (
    "This is not from one of my messages, or from an older version of them; nothing was changed. "
    "`/rollback status` shows where it stands."
)

_OUT_OF_DATE = (Why.STALE, Why.ALREADY, Why.NOT_NOW)
"""Refusals of what may have been pressed on a card that is not drawn anew yet."""


@dataclass(frozen=True, slots=True)
class Asks:
    """Carries out what was read from payloads. hint: told of a run whose messages are to be drawn again."""

    bot: SlackServes
    people: SlackDirectory
    client: AsyncWebClient
    places: Places
    looks: Looks
    tells: replies.Tells
    homes: Homes
    hint: Callable[[str], None]

    # -- who asks --------------------------------------------------------------------------------------------------

    async def who(self, act: Act) -> Person | Refusal:
        """The person, or why they are refused before anything is looked at."""
        person = await self.people.person(act.user)
        if not self.people.at_home(act.user, act.team):
            person = replace(person, kind="stranger")
        return stranger(person) or person

    async def tell(self, act: Act, said: str | Refusal | Answer) -> None:
        """Tells them, with people as mentions; of a repeated delivery nothing."""
        if isinstance(said, Refusal) and await self.bot.store.seen(act.key):
            return
        text = said if isinstance(said, str) else said.text
        shown = text if isinstance(text, Mrkdwn) else replies.named(text, await self.people.everyone())
        await self.tells.tell(act, shown)

    # -- typed -----------------------------------------------------------------------------------------------------

    async def typed(self, t: Typed, person: Person) -> None:
        """A slash command."""
        try:
            said = slash.said(t.text, self.bot.catalogue.services)
        except Unclear as e:
            await self.tell(t.act, f"{e} Nothing was changed.")
            return
        if said.do == "open":
            await self._open(t.act, said, person)
        elif TABLE[said.do].who is Who.ANYBODY:
            await self.tell(t.act, await self.looks.look(t.act, said, person))
        elif TABLE[said.do].heading is Heading.FREEZE:
            await self.tell(t.act, await self._hold(t.act, said, person))
        else:
            await self._say(t.act, said, person)

    async def _hold(self, act: Act, said: slash.SlashCommand, person: Person) -> str | Refusal:
        """Freezes a service without a rollback, or lifts that."""
        service = said.run or await self.places.service_of(act.channel)
        if not service or not said.reason:
            raise Unclear(f"Which service, and why? `{slash.COMMAND} {said.do} shop because ...`.")
        place = await self.places.card_at(act.channel, self.bot.catalogue.services.get(service))
        if isinstance(place, Refusal):
            return place
        rollbacks = self.bot.rollbacks
        if said.do == "freeze":
            held = await rollbacks.hold(service, said.reason, person, VIA, key=act.key, channel=place.id)
            run_id = held.id if isinstance(held, Run) else held
        else:
            run_id = await rollbacks.thaw(service, said.reason, person, VIA, key=act.key, channel=place.id)
        doing = "New releases of" if said.do == "freeze" else "The freeze of"
        end = "are refused from now on" if said.do == "freeze" else "is being lifted"
        return run_id if isinstance(run_id, Refusal) else mark("{} {} {}: `{}`.", doing, service, end, run_id)

    async def _open(self, act: Act, said: slash.SlashCommand, person: Person, draft: str = "") -> None:
        """A rollback, or the form for one. draft: a reason to begin with in the form."""
        if said.run and said.reason:
            wanted = Wanted(said.run, said.reason, said.subject or None, plan=said.plan or None)
            opened = await self.open(act, wanted, person)
            if not (_stuck(opened) and await self._shown(act, await self._again(wanted, opened, act.channel))):
                await self.tell(act, opened)
            return
        if no := await self.bot.rollbacks.may_open(person):
            await self.tell(act, no)
            return
        try:
            shown = await self.client.views_open(trigger_id=act.trigger, view=modals.loading())
        except SlackApiError as e:
            text = f"Slack did not open the form ({words(e)}). Type it instead: `{slash.EXAMPLE}`."
            await self.tell(act, Mrkdwn(text))
            return
        service = said.run or await self.places.service_of(act.channel)
        filled = Draft(service, said.subject, said.reason or draft, plan=said.plan)
        view = await self._form(filled, act.channel)
        await self._update(str(shown["view"]["id"]), view)

    async def open(self, act: Act, wanted: Wanted, person: Person) -> str | Refusal:
        """Opens a rollback; its card goes to the channel where it was asked for, or to the service's own."""
        place = await self.places.card_at(act.channel, self.bot.catalogue.services.get(wanted.service))
        if isinstance(place, Refusal):
            return place
        wanted = replace(wanted, channel=place.id)
        run = await self.bot.rollbacks.open(wanted, person, VIA, key=act.key)
        if isinstance(run, Refusal):
            return run
        where = "in this channel" if place.id == act.channel else f"in {place.id}"
        where = Mrkdwn(f"in <#{place.id}>") if place.id[:1] in ("C", "G") and place.id != act.channel else escape(where)
        told = [mark("{}, opened as `{}`. Its card is {}.", title(run), run.id, where)]
        if place.trouble is SHARED:
            told.append(escape("Careful: that channel is shared with another organisation; its people read along."))
        return joined(told)

    async def _say(self, act: Act, said: slash.SlashCommand, person: Person) -> None:
        """A command of a run."""
        found = await self.places.run(act.channel, said.run, ended=said.do in ("forward", "postmortem"))
        if isinstance(found, Refusal):
            await self.tell(act, found)
            return
        until = self._moment(said.until)
        have = {"reason": said.reason, "to": said.to, "until": said.until, "impact": said.impact, "at": said.at}
        if not modals.complete(said.do, said.subject, **have):
            await self._ask(act, Form(Press(said.do, found, said.subject), act.channel), person, said.to)
        elif said.do == "postmortem":
            await self.tell(act, await self._meet(act, found, await self._when(found, said.at), person))
        elif not TABLE[said.do].of_run:
            await self.tell(act, await self._opens(act, said.do, found, said.subject, said.reason, person))
        else:
            command = modals.build(said.do, said.subject, reason=said.reason, to=self._id(said.to), until=until,
                                   impact=said.impact, workaround=said.workaround)  # fmt: skip
            await self.carry_out(act, found, command, person)

    async def carry_out(self, act: Act, run_id: str, command: Command, person: Person) -> Answer | Refusal:
        """Sends a command to the engine, and tells what became of it."""
        said = await self.bot.rollbacks.command(run_id, command, person, VIA, key=act.key)
        await self.tell(act, said)
        if isinstance(said, Refusal) and said.why in _OUT_OF_DATE:
            self.hint(run_id)
        return said

    async def _opens(self, act: Act, do: str, run_id: str, plan: str, reason: str, person: Person) -> str | Refusal:
        """What opens another run in place of, or after, one that there is."""
        if do == "replan":
            run = await self.bot.rollbacks.replan(run_id, plan, reason, person, VIA, key=act.key)
        else:
            run = await self.bot.rollbacks.forward(run_id, reason, person, VIA, key=act.key)
        return run if isinstance(run, Refusal) else mark("{}, opened as `{}`.", title(run), run.id)

    async def _meet(self, act: Act, run_id: str, at: float, person: Person) -> str | Refusal:
        """The postmortem of an ended run, at another time."""
        found = await self.bot.rollbacks.postmortems.hold(run_id, at, person, VIA, key=act.key)
        if isinstance(found, Refusal):
            return found
        return mark("The postmortem of {} is moved to {}: `{}`.", run_id, when(at, day=True), found.id)

    async def _when(self, run_id: str, word: str) -> float:
        """A moment in words, in the zone of the team whose postmortem it is."""
        zone = await self.bot.rollbacks.postmortems.zone(run_id)
        return moment(word, datetime.fromtimestamp(self.bot.clock(), zone))

    # -- the home tab, and a message that was pointed at -------------------------------------------------------------

    async def home(self, act: Act) -> None:
        """Somebody looks at the app's home tab."""
        person = await self.who(act)
        await self.homes.show(act.user, person if isinstance(person, Refusal) else None)

    async def from_home(self, c: Clicked, person: Person) -> None:
        """The button there: the form of a rollback."""
        if c.press.do != "ask-open":
            raise NotOurs(f"nothing on the home tab is called {c.press.do[:40]!r}")
        await self._open(c.act, slash.SlashCommand("open"), person)

    async def pointed(self, p: Pointed, person: Person) -> None:
        """A message, an alert mostly: the form of a rollback, with its words as the reason."""
        words = set(p.text.lower().replace(":", " ").replace(",", " ").split())
        named = [name for name in self.bot.catalogue.services if name.lower() in words]
        await self._open(p.act, slash.SlashCommand("open", named[0] if len(named) == 1 else ""), person, p.text)

    # -- clicked ---------------------------------------------------------------------------------------------------

    async def clicked(self, c: Clicked, person: Person) -> None:
        """A button or a menu of one of our messages."""
        asks, press = c.press.asks, replace(c.press, do=c.press.command)
        run = await self.bot.store.load(press.run)
        if run.created is None:
            raise NotOurs(f"there is no run {press.run[:40]!r}")
        if press.do in LOOKS:
            await self.tell(c.act, await self._looked(run, press))
            return
        if press.do == OF_A_DECISION:
            if press.subject not in run.asked:
                raise NotOurs(f"there is no decision {press.subject[:40]!r}")
            press = Press("skip", press.run, "", press.subject)
        asked = run.asked.get(press.subject)
        typed = asked is not None and asked.spec.gate is not None and asked.spec.gate.typed_phrase
        if asks or not modals.complete(press.do, press.subject, phrase="" if typed else "none"):
            await self._ask(c.act, Form(press, c.act.channel, c.act.thread), person)
            return
        await self.carry_out(c.act, run.id, modals.build(press.do, press.subject, card=press.card), person)

    async def _looked(self, run: Run, press: Press) -> Mrkdwn:
        if press.do == "preview":
            return await self.looks.changes(run, press.subject)
        if press.do == "steps":
            return replies.steps(run, self.bot.clock())
        return replies.commands(run, press.subject)

    async def _ask(self, act: Act, form: Form, person: Person, to: str = "") -> None:
        """Shows a form, if what it asks for could be done at all. NotOurs where nothing is ever asked."""
        if form.press.do not in TABLE or not TABLE[form.press.do].title:
            raise NotOurs(f"there is no form for {form.press.do[:40]!r}")
        run = await self.bot.store.load(form.press.run)
        p = form.press
        if no := await self.bot.rollbacks.may(run, p.do, person, VIA, p.subject, p.card):
            self.hint(run.id)
            await self.tell(act, no)
            return
        subject = TABLE[p.do].subject
        releases = await self._releases(run.service) if subject == "release" else ()
        plans = self._plans(run.service) if subject == "plan" else ()
        at = self.bot.rollbacks.postmortems.proposed(run) if p.do == "postmortem" else 0.0
        view = modals.ask(form, run, self.bot.clock(), releases=releases, plans=plans, to=self._id(to), at=at)
        try:
            await self.client.views_open(trigger_id=act.trigger, view=view)
        except SlackApiError as e:
            text = f"Slack did not open the form ({words(e)}). Press again, or type it: `/rollback help`."
            await self.tell(act, Mrkdwn(text))

    # -- forms -----------------------------------------------------------------------------------------------------

    async def picked(self, p: Picked) -> None:
        """Another service was picked: its releases are shown."""
        if p.action != modals.PICK_SERVICE or p.chosen not in self.bot.catalogue.services:
            raise NotOurs("this form is none of ours")
        await self._update(p.view, await self._form(Draft(p.chosen), p.metadata), p.hash)

    async def submitted(self, s: Submitted, person: Person) -> Mapping[str, Any]:
        """A form that was sent off. What Slack is to do with it: close it, or show what is wrong in it."""
        if s.form == modals.ROLLBACK:
            return await self._opened(s, person)
        form, act = Form.of(s.metadata), self.answered_at(s)
        do, values = form.press.do, s.values
        if do not in TABLE or not TABLE[do].title:
            raise NotOurs(f"there is no form for {do[:40]!r}")
        command = modals.command(form, values) if TABLE[do].of_run else None
        if do == "postmortem":
            at = modals.picked_moment(values, "at")
            said: Answer | Refusal | str = await self._meet(act, form.press.run, at, person)
        elif command is None:
            plan, reason = form.press.subject or values.get("plan", ""), values.get("reason", "")
            said = await self._opens(act, do, form.press.run, plan, reason, person)
        else:
            said = await self.bot.rollbacks.command(form.press.run, command, person, VIA, key=act.key)
        if isinstance(said, Refusal):
            return await self._refused(s, form, said)
        await self.tell(act, said)
        return {}

    def answered_at(self, s: Submitted) -> Act:
        """The act, where it is answered: there the form was asked for. NotOurs."""
        if s.form == modals.ROLLBACK:
            return replace(s.act, channel=s.metadata)
        form = Form.of(s.metadata)
        return replace(s.act, channel=form.channel, thread=form.thread)

    async def _refused(self, s: Submitted, form: Form, no: Refusal) -> Mapping[str, Any]:
        if await self.bot.store.seen(s.act.key):
            return {}
        self.hint(form.press.run)
        shown = [f.name for f in modals.fields(form.press.do, form.press.subject)]
        field = no.field if no.field in shown else next(iter(shown), "reason")
        return {"response_action": "errors", "errors": {field: no.text[:2000]}}

    async def _opened(self, s: Submitted, person: Person) -> Mapping[str, Any]:
        values = s.values
        service = values.get("service", "")
        wanted = Wanted(service, values.get("reason", "").strip(), values.get(f"to.{service}"),
                        values.get(f"plan.{service}"), despite=modals.DESPITE in values,
                        impact=values.get("impact", "").strip(),
                        workaround=values.get("workaround", "").strip())  # fmt: skip
        act = self.answered_at(s)
        said = await self.open(act, wanted, person)
        if isinstance(said, Refusal):
            if await self.bot.store.seen(act.key):
                return {}
            if _stuck(said):
                return {"response_action": "update", "view": await self._again(wanted, said, act.channel)}
            field = said.field if said.field in (*values, "reason", "impact", "workaround") else "service"
            return {"response_action": "errors", "errors": {field: said.text[:2000]}}
        await self.tell(act, said)
        return {}

    async def _again(self, wanted: Wanted, no: str | Refusal, channel: str) -> modals.View:
        """The form once more, which now asks whether to open it although nobody can pass some decision."""
        why = no if isinstance(no, str) else no.text
        draft = Draft(wanted.service, wanted.to or "", wanted.reason, plan=wanted.plan or "", stuck=why,
                      impact=wanted.impact, workaround=wanted.workaround)  # fmt: skip
        return await self._form(draft, channel)

    async def _shown(self, act: Act, view: modals.View) -> bool:
        """Whether Slack opened the form: too late after the words, it does not."""
        try:
            await self.client.views_open(trigger_id=act.trigger, view=view)
        except SlackApiError:
            return False
        return True

    async def _form(self, draft: Draft, channel: str) -> modals.View:
        """The form that opens a rollback, with what is known of the service."""
        service = self.bot.catalogue.services.get(draft.service)
        if service is None:
            return modals.rollback(self.bot.catalogue, replace(draft, service=""), channel)
        removed = await self.bot.releases.current(service.name)
        note = "" if removed is not None else "I do not know which release serves now."
        draft = replace(draft, releases=await self._releases(service.name), plan=draft.plan or service.plan, note=note,
                        plans=self._plans(service.name))  # fmt: skip
        return modals.rollback(self.bot.catalogue, draft, channel)

    def _plans(self, name: str) -> tuple[str, ...]:
        service = self.bot.catalogue.services.get(name)
        return tuple(self.bot.rollbacks.fitting(service)) if service is not None else ()

    async def _update(self, view_id: str, view: modals.View, hash: str = "") -> None:
        more = {"hash": hash} if hash else {}
        try:
            await self.client.views_update(view_id=view_id, view=view, **more)
        except SlackApiError as e:
            if words(e) not in ("not_found", "hash_conflict"):  # closed, or changed again meanwhile
                raise

    async def _releases(self, name: str) -> tuple[Candidate, ...]:
        service = self.bot.catalogue.services.get(name)
        removed = await self.bot.releases.current(name)
        if service is None or removed is None:
            return ()
        return tuple(await self.bot.releases.candidates(
            name, removed=removed.version, floor=service.floor, now=self.bot.clock(), stable_after=service.stable_after
        ))  # fmt: skip

    # -- words -----------------------------------------------------------------------------------------------------

    def _moment(self, word: str) -> float:
        if not word:
            return 0.0
        return moment(word, datetime.fromtimestamp(self.bot.clock(), UTC))

    def _id(self, word: str) -> str:
        """A person's id, from their name where it is not an id already."""
        return self.people.id_of(word)


def _stuck(said: object) -> bool:
    return isinstance(said, Refusal) and said.why is Why.IMPOSSIBLE
