"""Words that several cards share: who, whether, since when, what became of it. Pure.

`Scene` is all that a card may look at. Nothing here depends on the clock: what has happened says when, and the
reader's client says how long ago that is; so a card changes when something happened, and at no other time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bot.catalogue import Role
from bot.policy import Actor, Gate
from bot.policy.approval import missing
from bot.run.afterwards import leftovers
from bot.run.commands import TABLE
from bot.run.possible import Possible, possible
from bot.run.state import Asked, PastHalt, Proposal, Run, Step
from bot.slack.draw.blocks import Mrkdwn, cut, fit, group, joined, mark, person, when
from bot.slack.draw.press import ASKS, Press
from bot.store.chain import Checkpoint
from bot.store.rows import Progress
from bot.telling import remains, times, view
from bot.telling.eta import Eta

MENTIONED = 8
"""People and groups in one call for help."""


@dataclass(frozen=True)
class Scene:
    """What is to be drawn. roles: of the catalogue, for whom to call; marks: checkpoints of the record by moment;
    links: addresses of the cards that are posted, by slot, None where Slack has not said where it lives."""

    run: Run
    eta: Eta | None = None
    progress: Mapping[str, Progress] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    marks: Mapping[float, Checkpoint] = field(default_factory=dict)
    links: Mapping[str, str] | None = None

    def link(self, slot: str) -> Mrkdwn:
        """The card of this slot, to be opened at once where its address is known."""
        url = (self.links or {}).get(slot, "")
        return Mrkdwn(f"<{url}|the card>") if url else Mrkdwn("the card is in the thread" if slot != "root" else
                                                              "the card is above")  # fmt: skip

    @cached_property
    def possible(self) -> frozenset[Possible]:
        """What can be asked of the run now."""
        return possible(self.run)

    def press(self, do: str, subject: str = "") -> Press | None:
        """The press that asks for a command, with the card where it is about a decision; it opens a form first unless
        the command acts at once. None for what would be refused now."""
        if Possible(do, subject) not in self.possible:
            return None
        gate = self.run.asked[subject].spec.gate if do == "approve" else None
        asks = not TABLE[do].at_once or (gate is not None and gate.typed_phrase)
        card = self.run.card(subject) if any(f.name == "card" for f in TABLE[do].fields) else ""
        return Press(f"{ASKS}{do}" if asks else do, self.run.id, subject, card)

    @cached_property
    def steps(self) -> Mapping[str, view.StepView]:
        """The steps as every way in shows them, as of the last event."""
        return {s.id: s for s in view.steps(self.run, self.run.at)}

    @cached_property
    def changes(self) -> Mapping[str, tuple[view.ChangeView, ...]]:
        """What each open decision of people would do."""
        return {
            a.spec.name: view.changes(self.run, a)
            for a in self.run.asked.values()
            if a.opened is not None and a.spec.gate is not None
        }

    def title(self, step: str) -> str:
        """What people call a step."""
        return self.run.steps[step].spec.title

    @cached_property
    def start(self) -> Asked | None:
        """The decision that is taken on the root card: the first one, if it only lets the rest begin."""
        gated = [a for a in self.run.asked.values() if a.spec.gate is not None]
        first = gated[0] if gated else None
        only_asks = (
            first is not None
            and first.spec.choice is None
            and all(self.run.steps[m].spec.kind == "gate" for m in first.spec.members)
        )
        return first if only_asks else None

    def named(self, a: Asked) -> str:
        """What people call a decision: of a choice, the choice."""
        titles = (c.title for c in self.run.plan.choices if c.id == a.spec.choice)
        return next(titles, a.spec.title)

    def call(self, roles: Iterable[str], everybody: bool = False) -> Mrkdwn:
        """Mentions of who is on call for these roles, of all who hold them if nobody is (or `everybody`)."""
        found: list[Mrkdwn] = []
        for name in roles:
            role = self.roles.get(name)
            if role is None:
                continue
            crew = role.on_call if (role.on_call.people or role.on_call.groups) and not everybody else role
            found += [person(p) for p in crew.people if p not in self.run.barred]
            found += [group(g) for g in crew.groups]
        return joined(list(dict.fromkeys(found))[:MENTIONED], " ")


def recorded(scene: Scene, at: float | None) -> str:
    """How far the record was at a moment, and its heads: what `docs/audit.md` compares. Empty where none was kept."""
    mark_ = scene.marks.get(at) if at is not None else None
    if mark_ is None:
        return ""
    return f"Record: {mark_.seq} entries, head {mark_.hash[:12]} · checkpoint {mark_.n}, {mark_.chain[:12]}"


def who(actor: Actor | None) -> Mrkdwn:
    """A mention of somebody; "nobody"."""
    return person(actor.id, actor.name) if actor is not None else Mrkdwn("nobody")


def people(actors: Iterable[Actor]) -> Mrkdwn:
    """ "@ben, @cho and @eli"."""
    return listed([who(a) for a in actors])


def listed(words: Sequence[str]) -> Mrkdwn:
    """ "a, b and c"."""
    return joined([joined(words[:-1], ", "), words[-1]], " and ") if len(words) > 1 else joined(words)


def unrestored(run: Run) -> Mrkdwn:
    """What this does not bring back: one list, on the first card and in the last post. What is told there already by
    name, as changed or owed, is not said twice."""
    told = {*(remains.stays(run, x) for x in leftovers(run)), *(remains.owed_part(run, p) for p in run.owed_parts)}
    found = [what.rstrip(".") for what in remains.unrestored(run) if what not in told]
    return fit(mark("Not restored by this: {}.", "; ".join(found)), 700) if found else Mrkdwn("")


def because(reason: str) -> str:
    """ ": reason", or nothing."""
    return f": {reason}" if reason else ""


def sentence(text: str) -> str:
    """Text that begins with a capital and ends with a full stop; a name of a place or a thing stays as it is."""
    plain = text.split(" ", 1)[0].rstrip(",:;").isalpha()
    return stopped((text[:1].upper() if plain else text[:1]) + text[1:])


def stopped(text: str) -> str:
    """Text that ends with a full stop."""
    text = text.strip()
    return f"{text}{'' if text.endswith(('.', '…', '?')) else '.'}" if text else ""


def barred(run: Run) -> str:
    """ "@ana or @dee": whose yes does not count, by name: a mention would call them."""
    names = {a.id: a.name for a in run.barred_people}
    return " or ".join(f"@{names.get(i, i)}" for i in sorted(run.barred))


def needed(gate: Gate, asked: Asked) -> str:
    """Whose yes is still wanted: "a dba and an approver"."""
    return Gate(missing(gate, asked.ballots) or gate.by).words


def worked(s: Step) -> str:
    """ " in 48 s", where a step has begun and ended."""
    seconds = s.ended - s.began if s.ended is not None and s.began is not None else 0.0
    return f" in {times.duration(seconds)}" if seconds >= 1 else ""


def standing_of(scene: Scene, s: Step) -> str:
    """Its state in the words of `StepView`; one that is only looked at again stands as it did before."""
    asked = scene.run.decision_of(s)
    again = s.attempt is not None and s.attempt.doing == "plan" and s.change is not None and not s.adopting
    waits = again and asked is not None and asked.opened is not None
    return "to be decided" if waits else scene.steps[s.spec.id].state


def step_state(scene: Scene, s: Step) -> str:
    """Its state in words: "done in 48 s"."""
    state = standing_of(scene, s)
    return state + (worked(s) if state == "done" and s.spec.kind != "gate" else "")


def outcome(scene: Scene, step: str) -> Mrkdwn:
    """What came of a step, in one line."""
    s = scene.run.steps[step]
    detail = scene.steps[step].detail if not s.open or s.halt is not None else _waits(scene, s)
    return mark("{}: {}{}", s.spec.title, step_state(scene, s), f" ({detail})" if detail else "")


def _waits(scene: Scene, s: Step) -> str:
    """What it waits for while it is at work, in words; what is counted stands on the root card."""
    row = scene.progress.get(s.spec.id)
    if not s.applying:
        return ""
    if s.attempt is not None and row is not None and row.at >= s.attempt.since:
        return cut(row.text, 300) if row.total is None else ""
    return cut(s.note, 300) if s.total is None else ""


def debts(scene: Scene) -> Mrkdwn:
    """What is temporarily in place, in one sentence; empty where nothing is."""
    found = [scene.title(d.step) for d in scene.run.debts.values()]
    return mark("Still in place: {}.", listed(found)) if found else Mrkdwn("")


def resolved(h: PastHalt) -> Mrkdwn:
    """What people did about a halt."""
    over = h.over
    if over is None:
        return Mrkdwn("")
    words = {
        "retried": "tried again by {}{}", "skipped": "skipped by {}{}", "accepted": "accepted as it is by {}{}",
        "undo asked": "to be undone, asked by {}{}", "adopt asked": "done by hand, says {}{}",
        "retargeted": "another release was chosen by {}{}", "went without": "goes on without it, by {}{}",
    }  # fmt: skip
    if over.by is None:
        return mark("Over since {}.", when(over.at))
    how = mark(words.get(over.kind, "over: {}{}"), who(over.by), because(over.words))
    return mark("At {}: {}", when(over.at), how)


def proposal(scene: Scene, p: Proposal) -> str:
    """What a proposal is about: "go back to 2.3.9 instead of 2.4.0"."""
    version = p.release.version if p.release else "another release"
    step = scene.title(p.step) if p.step in scene.run.steps else p.step
    way = "change" if scene.run.purpose == "forward" else "go back"
    words: dict[str, str] = {
        "retarget": f"{way} to {version} instead", "admit": f"let release {version} through the freeze",
        "without": f"go on without {p.part}",
        "skip": f"skip {step}", "accept": f"accept {step} as it is", "forward": "roll forward again",
    }  # fmt: skip
    return words.get(p.what, p.what)
