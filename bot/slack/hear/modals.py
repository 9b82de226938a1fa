"""The forms: opening a rollback, and what a command still has to be told (a reason, a phrase, a person). Pure.

Invariants:
- a form carries the press that it stands for, with the card that was looked at, and where its answer is to go;
- a field's block is named like the field, so that a refusal can be shown under it;
- what is chosen in a form is a choice only: whoever carries it out looks and asks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.catalogue import Catalogue, Release
from bot.releases.ledger import Candidate
from bot.run import commands as cmd
from bot.run.commands import TABLE, VALUES
from bot.run.declared import FIELDS, PLAIN, PLAIN_MOST, SUBJECTS, TEXTS, Field
from bot.run.possible import possible
from bot.run.state import Run
from bot.slack.draw.blocks import Mrkdwn, cut, escape, joined, mark, section
from bot.slack.draw.press import ACTION, NotOurs, Press, carried

View = dict[str, Any]

ASK, ROLLBACK, SHOWN = "ask", "rollback", "shown"
"""callback_id: a command's missing words; opening a rollback; nothing to be sent off."""
PICK_SERVICE = f"{ACTION}:pick-service"
DESPITE = "despite"
"""The field by which a rollback is opened although nobody could pass some of its decisions."""
OPTIONS, OPTION, OPTION_VALUE, TITLE = 100, 75, 150, 24
HAND_OVER = 4 * 3600.0
"""Seconds from now that a hand-over proposes."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a form is for. channel, thread: where it was asked for, and is answered."""

    press: Press
    channel: str
    thread: str = ""

    @property
    def metadata(self) -> str:
        """As the view carries it."""
        return "\n".join((self.press.whole, self.channel, self.thread))

    @classmethod
    def of(cls, metadata: str) -> Form:
        """The form that a view's metadata stand for. NotOurs."""
        parts = metadata.split("\n")
        if len(parts) != 3:
            raise NotOurs("this form is none of ours")
        return cls(carried(parts[0]), parts[1], parts[2])


def complete(
    do: str, subject: str = "", *, reason: str = "", to: str = "", until: str = "", phrase: str = "", impact: str = "",
    at: str = "",
) -> bool:  # fmt: skip
    """Whether nothing has to be asked any more before this can be carried out."""
    have = {"reason": reason, "note": reason, "to": to, "until": until, "phrase": phrase, "impact": impact, "at": at}
    form = TABLE[do].form if do in TABLE else ()
    return all(have.get(f.name, subject) or not f.needed for f in form)


# -- a command's missing words -----------------------------------------------------------------------------------------


def ask(
    form: Form, run: Run, now: float, *, releases: Sequence[Candidate] = (), plans: Sequence[str] = (), to: str = "",
    at: float = 0.0,
) -> View:  # fmt: skip
    """Asks for what the press does not say. releases, plans: those to choose from; to: a person already named; at: the
    moment that is proposed."""
    declared, blocks = TABLE[form.press.do], [section(_about(form.press, run))]
    for field in fields(form.press.do, form.press.subject):
        element = _element(field.name, form.press, run, at or now + HAND_OVER, releases, plans, to)
        if element is None:
            return notice(declared.title, mark("There is nothing in {} that this could be said of now.", run.id))
        label = f'Type "{run.phrase(form.press.subject)}"' if field.name == "phrase" else FIELDS[field.name].asked
        blocks.append(_input(field.name, label, element, optional=not field.needed))
    return _view(ASK, declared.title, blocks, form.metadata, declared.title)


def fields(do: str, subject: str) -> tuple[Field, ...]:
    """What has to be asked, where a subject is known or is not. What is chosen from a list is shown as chosen."""
    listed = ("release", "plan")
    form = TABLE[do].form if do in TABLE else ()
    return tuple(f for f in form if f.name not in SUBJECTS or not subject or f.name in listed)


def command(form: Form, values: Mapping[str, str]) -> cmd.Command:
    """The command that a form, filled in like this, stands for. NotOurs."""
    p = form.press
    subject = p.subject or (values.get(TABLE[p.do].subject, "") if p.do in TABLE else "")
    reason = next((values[t].strip() for t in TEXTS if t in values), "")
    return build(p.do, subject, card=p.card, reason=reason, phrase=values.get("phrase", ""),
                 to=values.get("to", ""), until=_moment(values.get("until", "")),
                 **{name: values.get(name, "").strip() for name in PLAIN})  # fmt: skip


def build(
    do: str, subject: str = "", *, card: str = "", reason: str = "", phrase: str = "", to: str = "", until: float = 0.0,
    impact: str = "", workaround: str = "",
) -> cmd.Command:  # fmt: skip
    """A command of a run from its parts. NotOurs where there is no such command."""
    value = VALUES.get(do)
    if value is None:
        raise NotOurs(f"there is no command {do[:40]!r}")
    have: dict[str, Any] = dict.fromkeys(SUBJECTS, subject) | dict.fromkeys(TEXTS, reason)
    have |= {"impact": impact, "workaround": workaround}
    have |= {"card": card, "phrase": phrase, "to": to or subject, "until": until, "release": Release(subject)}
    made: cmd.Command = value(**{f.name: have[f.name] for f in TABLE[do].fields})
    return made


def _about(p: Press, run: Run) -> Mrkdwn:
    name = run.steps[p.subject].spec.title if p.subject in run.steps else ""
    asked = run.asked.get(p.subject)
    title = name or (asked.spec.title if asked is not None else "")
    head = mark("*{}* · {}", title, run.id) if title else mark("*{}*", run.id)
    debts = ", ".join(run.debts) if p.do == "abort" else ""
    still = mark("Still in place: {}.", debts) if debts else Mrkdwn("")
    return joined([head, escape(TABLE[p.do].about), still])


def _element(
    field: str, p: Press, run: Run, at: float, releases: Sequence[Candidate], plans: Sequence[str], to: str
) -> View | None:
    """What a field is filled in with; None where there is nothing to choose from."""
    match field:
        case "phrase":
            return _text_input("", multiline=False)
        case "reason" | "note":
            return _text_input("")
        case "impact" | "workaround":
            return _text_input(run.impact if field == "impact" else run.workaround, most=PLAIN_MOST)
        case "release":
            return _choice(list(_versions(p.do, releases)), p.subject)
        case "plan":
            return _choice([(name, name) for name in plans if name != run.plan.name], p.subject)
        case "to":
            known = {"initial_user": to} if to[:1] in ("U", "W") else {}
            return {"type": "users_select", "action_id": "value", **known}
        case "until" | "at":
            return {"type": "datetimepicker", "action_id": "value", "initial_date_time": int(at)}
        case _:
            return _choice(_subjects(p, run))


def _subjects(p: Press, run: Run) -> list[tuple[str, str]]:
    """(what people call it, id) of what this could be said of now. Without a step, the card is the decision that is
    meant."""
    could = {x.subject for x in possible(run) if x.do == p.do}
    if p.do == "skip" and p.card in run.asked:
        could &= set(run.asked[p.card].spec.members)
    called: Mapping[str, str] = {}
    match TABLE[p.do].subject:
        case "step":
            called = {i: s.spec.title for i, s in run.steps.items()}
        case "decision":
            called = {n: a.spec.title for n, a in run.asked.items()}
        case "proposal":
            called = {k: f"{x.what} {x.step or x.part}: {x.reason}" for k, x in run.proposals.items()}
    return [(called.get(i, i), i) for i in (*(i for i in called if i in could), *sorted(could - called.keys()))]


def _versions(do: str, releases: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
    for c in releases:
        if c.over is None or do == "admit":
            yield f"{c.release.version}: {(c.why or (c.passed_over,))[0]}", c.release.version


def picked_moment(values: Mapping[str, str], field: str) -> float:
    """What was picked there, in seconds since the epoch; 0 where nothing was. NotOurs."""
    return _moment(values.get(field, ""))


def _moment(word: str) -> float:
    try:
        return float(word or 0)
    except ValueError:
        raise NotOurs("the time cannot be read") from None


# -- opening a rollback ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Draft:
    """A rollback that is being thought about. releases: of the service, best first; plans: their names; stuck: why
    nobody could pass some of its decisions, which is then asked about."""

    service: str = ""
    to: str = ""
    reason: str = ""
    releases: tuple[Candidate, ...] = ()
    plans: tuple[str, ...] = ()
    plan: str = ""
    note: str = ""
    stuck: str = ""
    impact: str = ""
    workaround: str = ""


def loading() -> View:
    """What is shown until there is something to fill in."""
    return notice("Roll back", escape("Looking at releases…"))


def rollback(catalogue: Catalogue, draft: Draft, channel: str) -> View:
    """The form that opens a rollback; without a service it asks for that first."""
    services = [(f"{s.title} ({s.name})", s.name) for s in catalogue.services.values()]
    which = _choice(services, draft.service) or {}
    blocks = [_input("service", "Service", which | {"action_id": PICK_SERVICE}) | {"dispatch_action": True}]
    if draft.service:
        blocks += list(_target(draft))
        plan = _choice([(p, p) for p in draft.plans], draft.plan)
        blocks += [_input(f"plan.{draft.service}", "Plan", plan)] if plan is not None else []
    blocks.append(_input("reason", "Reason", _text_input(draft.reason), hint="Read in the incident channel only."))
    told = "Read by stakeholders, in their channels. Plain words, no names of ours."
    for field, text in (("impact", draft.impact), ("workaround", draft.workaround)):
        typed = _text_input(text, multiline=False, most=PLAIN_MOST)
        blocks.append(_input(field, FIELDS[field].asked, typed, optional=True, hint=told))
    if draft.stuck:
        anyway = _choice([("Open it; those decisions need broken glass", DESPITE)]) or {}
        blocks = [section(escape(draft.stuck)), *blocks, _input(DESPITE, "All the same?", anyway)]
    return _view(ROLLBACK, "Roll back", blocks, channel, "Open")


def _target(draft: Draft) -> Iterator[View]:
    good = [c for c in draft.releases if c.over is None]
    over = [f"{c.release.version}: {c.passed_over}" for c in draft.releases if c.over is not None]
    choice = _choice([(c.release.version, c.release.version) for c in good], draft.to)
    if choice is not None:
        initial = choice.get("initial_option") or choice["options"][0]
        yield _input(f"to.{draft.service}", "Back to", choice | {"initial_option": initial})
    lines = [mark("*{}*: {}", c.release.version, ". ".join(c.why)) for c in good[:5]]
    lines += [mark("Passed over: {}", x) for x in over[:8]]
    lines += [escape(draft.note)] if draft.note else []
    yield section(joined(lines or [escape("No release to go back to is known.")]))


# -- how ---------------------------------------------------------------------------------------------------------------


def notice(title: str, text: Mrkdwn) -> View:
    """Something to read, with nothing to send off."""
    return {"type": "modal", "callback_id": SHOWN, "title": _plain(title, TITLE), "close": _plain("Close", TITLE),
            "blocks": [section(text) | {"block_id": "text"}]}  # fmt: skip


def _view(callback: str, title: str, blocks: Sequence[View], metadata: str, submit: str) -> View:
    placed = [{"block_id": f"b{i}", **b} for i, b in enumerate(blocks)]
    return {
        "type": "modal", "callback_id": callback, "title": _plain(title, TITLE), "submit": _plain(submit, TITLE),
        "close": _plain("Cancel", TITLE), "private_metadata": metadata, "blocks": placed,
    }  # fmt: skip


def _input(field: str, label: str, element: View, *, optional: bool = False, hint: str = "") -> View:
    made = {"type": "input", "block_id": field, "label": _plain(label, 2000), "element": element, "optional": optional}
    return made | ({"hint": _plain(hint, 2000)} if hint else {})


def _choice(entries: Sequence[tuple[str, str]], chosen: str = "") -> View | None:
    fitting = [(text, value) for text, value in entries if len(value) <= OPTION_VALUE][:OPTIONS]
    options = [{"text": _plain(text, OPTION), "value": value} for text, value in fitting]
    if not options:
        return None
    found = next((o for o in options if o["value"] == chosen), None)
    element = {"type": "static_select", "action_id": "value", "options": options}
    return element | ({"initial_option": found} if found else {})


def _text_input(text: str, *, multiline: bool = True, most: int = 1500) -> View:
    element: View = {"type": "plain_text_input", "action_id": "value", "multiline": multiline, "max_length": most}
    return element | ({"initial_value": text[:most]} if text else {})


def _plain(text: str, most: int) -> View:
    return {"type": "plain_text", "text": cut(text, most) or "-", "emoji": False}
