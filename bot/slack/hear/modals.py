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

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "approve": ("phrase",), "decline": ("reason",), "break-glass": ("reason",), "abort": ("reason",),
    "skip": ("step", "reason"), "accept": ("step", "reason"), "undo": ("step", "reason"), "adopt": ("step", "reason"),
    "retry": ("step",), "restore": ("step", "reason"), "hand-over": ("step", "person", "until", "reason"),
    "retarget": ("release", "reason"), "admit": ("release", "reason"), "offer": ("person",), "close": ("reason",),
    "forward": ("reason",), "replan": ("plan", "reason"), "agree": ("proposal",),
    "review": ("decision", "reason"), "without": ("part", "reason"), "back": ("part",),
}  # fmt: skip
_TITLES = {
    "approve": "Approve", "decline": "Not now", "break-glass": "Break the glass", "abort": "Abort",
    "skip": "Skip a step", "accept": "Accept as it is", "undo": "Undo a step", "adopt": "Done by hand",
    "retry": "Try again", "restore": "Restore now", "hand-over": "Hand over", "retarget": "Another release",
    "admit": "Admit a fix", "replan": "Smaller plan",
    "offer": "Hand over the command", "close": "Close", "review": "Review broken glass",
    "without": "Go on without it", "back": "It is back",
    "forward": "Roll forward again", "agree": "Agree",
}  # fmt: skip
_WHAT = {
    "break-glass": "You decide this alone. It is posted in the incident channel with your reason, and calls those who "
    "could have decided; to be reviewed within two working days.",
    "abort": "Nothing more is done. What is temporary is then restored, or handed to somebody.",
    "skip": "The step is left out. Its approvers agree first; if it has none, one approver.",
    "accept": "It goes on as if this were well. Its approvers agree first; if it has none, one approver.",
    "undo": "What the step did is taken back. It asks the same people as the step did.",
    "adopt": "You did this by hand. It is looked at, and recorded if it is so.",
    "restore": "This is undone now, outside its turn.",
    "hand-over": "This stays as it is, and becomes somebody's to put back by then.",
    "retarget": "The rest of this run brings another release. One approver agrees first.",
    "admit": "One release, the fix, passes the freeze. One approver agrees first.",
    "offer": "They command once they take it. You stay barred from approving.",
    "close": "It ends as it is.",
    "without": "From here on no step sees this part: it stays owed until it is back. One approver agrees.",
    "back": "What this part is owed is planned now, and asked for.",
    "review": "You have looked at what was decided alone. It is recorded, and nobody is reminded any more.",
    "replan": "Nothing has begun yet: this run is given up for one of another plan, which asks for its own decisions.",
    "forward": "A new run of the same plan, to the release that this one removed, with gates of its own.",
}
_OPTIONAL = frozenset({("decline", "reason"), ("undo", "reason"), ("close", "reason")})


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


def complete(do: str, subject: str = "", *, reason: str = "", to: str = "", until: str = "", phrase: str = "") -> bool:
    """Whether nothing has to be asked any more before this can be carried out."""
    have = dict.fromkeys(("step", "proposal", "release", "plan", "decision", "part"), subject)
    have |= {"reason": reason, "person": to, "until": until, "phrase": phrase}
    return all(have[f] or (do, f) in _OPTIONAL for f in _FIELDS.get(do, ()))


# -- a command's missing words -----------------------------------------------------------------------------------------


def ask(
    form: Form, run: Run, now: float, *, releases: Sequence[Candidate] = (), plans: Sequence[str] = (), to: str = ""
) -> View:
    """Asks for what the press does not say. releases, plans: those to choose from; to: a person already named."""
    do, blocks = form.press.do, [section(_about(form.press, run))]
    for field in fields(do, form.press.subject):
        choice = _field(field, form.press, run, now, releases, plans, to)
        if choice is None:
            return notice(_TITLES[do], mark("There is nothing in {} that this could be said of now.", run.id))
        blocks.append(_input(field, *choice, optional=(do, field) in _OPTIONAL))
    return _view(ASK, _TITLES[do], blocks, form.metadata, _TITLES[do])


def fields(do: str, subject: str) -> tuple[str, ...]:
    """What has to be asked, where a subject is known or is not."""
    return tuple(f for f in _FIELDS.get(do, ()) if not (subject and f in ("step", "proposal", "decision", "part")))


def command(form: Form, values: Mapping[str, str]) -> cmd.Command:
    """The command that a form, filled in like this, stands for. NotOurs."""
    p, reason = form.press, values.get("reason", "").strip()
    subject = p.subject or values.get("step", "") or values.get("proposal", "") or values.get("release", "")
    subject = subject or values.get("decision", "") or values.get("part", "")
    return build(p.do, subject, card=p.card, reason=reason, phrase=values.get("phrase", ""),
                 to=values.get("person", ""), until=_moment(values.get("until", "")))  # fmt: skip


def build(
    do: str, subject: str = "", *, card: str = "", reason: str = "", phrase: str = "", to: str = "", until: float = 0.0
) -> cmd.Command:
    """A command of a run from its parts. NotOurs where there is no such command."""
    makers: Mapping[str, Any] = {
        "approve": lambda: cmd.Approve(subject, card, phrase), "decline": lambda: cmd.Decline(subject, reason),
        "break-glass": lambda: cmd.BreakGlass(subject, card, reason), "stop": lambda: cmd.Stop(reason),
        "resume": cmd.Resume, "abort": lambda: cmd.Abort(reason), "retry": lambda: cmd.Retry(subject),
        "skip": lambda: cmd.Skip(subject, reason), "accept": lambda: cmd.Accept(subject, reason),
        "undo": lambda: cmd.Undo(subject, reason), "restore": lambda: cmd.Restore(subject, reason),
        "hand-over": lambda: cmd.HandOver(subject, to, until, reason), "adopt": lambda: cmd.Adopt(subject, reason),
        "retarget": lambda: cmd.Retarget(Release(subject), reason),
        "admit": lambda: cmd.Admit(Release(subject), reason), "agree": lambda: cmd.Agree(subject),
        "offer": lambda: cmd.Offer(to or subject), "take": cmd.Take, "close": lambda: cmd.Close(reason),
        "review": lambda: cmd.Review(subject, reason),
        "without": lambda: cmd.Without(subject, reason), "back": lambda: cmd.Back(subject),
    }  # fmt: skip
    if do not in makers:
        raise NotOurs(f"there is no command {do[:40]!r}")
    made: cmd.Command = makers[do]()
    return made


def _about(p: Press, run: Run) -> Mrkdwn:
    name = run.steps[p.subject].spec.title if p.subject in run.steps else ""
    asked = run.asked.get(p.subject)
    title = name or (asked.spec.title if asked is not None else "")
    head = mark("*{}* · {}", title, run.id) if title else mark("*{}*", run.id)
    debts = ", ".join(run.debts) if p.do == "abort" else ""
    still = mark("Still in place: {}.", debts) if debts else Mrkdwn("")
    return joined([head, escape(_WHAT.get(p.do, "")), still])


def _field(
    field: str, p: Press, run: Run, now: float, releases: Sequence[Candidate], plans: Sequence[str], to: str
) -> tuple[str, View] | None:
    """(label, element); None where there is nothing to choose from."""
    match field:
        case "phrase":
            return f'Type "{run.phrase(p.subject)}"', _text_input("", multiline=False)
        case "reason":
            return "Why, so that others understand it later", _text_input("")
        case "step":
            return _choice("Which step", _steps(p, run))
        case "proposal":
            return _choice("Which one", [(f"{x.what} {x.step}: {x.reason}", x.id) for x in run.proposals.values()])
        case "part":
            away = {p for s in run.halted if s.halt is not None for p in s.halt.parts} - run.left_out
            found = sorted(away) if p.do == "without" else [x.name for x in run.owed_parts]
            return _choice("Which part", [(name, name) for name in found])
        case "decision":
            open_ = [r.decision for r in run.reviews.values() if r.reviewed is None]
            return _choice("Which decision", [(run.asked[d].spec.title, d) for d in open_ if d in run.asked])
        case "release":
            return _choice("Which release", list(_versions(p.do, releases)), p.subject)
        case "plan":
            return _choice("Which plan", [(name, name) for name in plans if name != run.plan.name], p.subject)
        case "person":
            known = {"initial_user": to} if to[:1] in ("U", "W") else {}
            return "Whom", {"type": "users_select", "action_id": "value", **known}
        case _:
            moment = {"type": "datetimepicker", "action_id": "value", "initial_date_time": int(now + HAND_OVER)}
            return "Until", moment


def _steps(p: Press, run: Run) -> list[tuple[str, str]]:
    """(title, id) of the steps that this could be said of. Without a step, the card is the decision that is meant."""
    of = run.asked[p.card].spec.members if p.do == "skip" and p.card in run.asked else None
    match p.do:
        case "restore" | "hand-over":
            found = [run.steps[d] for d in run.debts]
        case "undo":
            found = [s for s in run.steps.values() if s.made is not None]
        case "retry" | "accept":
            found = list(run.halted) or [s for s in run.steps.values() if s.open and p.do == "accept"]
        case _:
            found = [s for s in run.steps.values() if s.open and (of is None or s.spec.id in of)]
    return [(s.spec.title, s.spec.id) for s in found]


def _versions(do: str, releases: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
    for c in releases:
        if not c.passed_over or do == "admit":
            yield f"{c.release.version}: {(c.why or (c.passed_over,))[0]}", c.release.version


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
    _, which = _choice("", services, draft.service) or ("", {})
    blocks = [_input("service", "Service", which | {"action_id": PICK_SERVICE}) | {"dispatch_action": True}]
    if draft.service:
        blocks += list(_target(draft))
        plan = _choice("", [(p, p) for p in draft.plans], draft.plan)
        blocks += [_input(f"plan.{draft.service}", "Plan", plan[1])] if plan is not None else []
    blocks.append(_input("reason", "Reason", _text_input(draft.reason), hint="Read in the incident channel only."))
    told = "Read by stakeholders, in their channels. Plain words, no names of ours."
    for field, label, text in (("impact", "What customers notice", draft.impact),
                               ("workaround", "What works all the same", draft.workaround)):  # fmt: skip
        blocks.append(_input(field, label, _text_input(text, multiline=False), optional=True, hint=told))
    if draft.stuck:
        _, anyway = _choice("", [("Open it; those decisions need broken glass", DESPITE)]) or ("", {})
        blocks = [section(escape(draft.stuck)), *blocks, _input(DESPITE, "All the same?", anyway)]
    return _view(ROLLBACK, "Roll back", blocks, channel, "Open")


def _target(draft: Draft) -> Iterator[View]:
    good = [c for c in draft.releases if not c.passed_over]
    over = [f"{c.release.version}: {c.passed_over}" for c in draft.releases if c.passed_over]
    choice = _choice("", [(c.release.version, c.release.version) for c in good], draft.to)
    if choice is not None:
        initial = choice[1].get("initial_option") or choice[1]["options"][0]
        yield _input(f"to.{draft.service}", "Back to", choice[1] | {"initial_option": initial})
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


def _choice(label: str, entries: Sequence[tuple[str, str]], chosen: str = "") -> tuple[str, View] | None:
    fitting = [(text, value) for text, value in entries if len(value) <= OPTION_VALUE][:OPTIONS]
    options = [{"text": _plain(text, OPTION), "value": value} for text, value in fitting]
    if not options:
        return None
    found = next((o for o in options if o["value"] == chosen), None)
    element = {"type": "static_select", "action_id": "value", "options": options}
    return label, element | ({"initial_option": found} if found else {})


def _text_input(text: str, *, multiline: bool = True) -> View:
    element: View = {"type": "plain_text_input", "action_id": "value", "multiline": multiline, "max_length": 1500}
    return element | ({"initial_value": text[:1500]} if text else {})


def _plain(text: str, most: int) -> View:
    return {"type": "plain_text", "text": cut(text, most) or "-", "emoji": False}
