"""Everything that Slack shows of a run, from its state alone: `screen`. Pure.

Invariants:
- the same run gives the same screen; time alone changes it only at `again` (a promised update, a reminder);
- a slot's name never means something else later, and a card that people can answer stays on the screen, without
  buttons, once it is answered;
- calls that mention people are posted once (`fixed`); nothing that is redrawn would have to notify anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.catalogue import Channels, Role
from bot.run.state import Run
from bot.slack.draw import cards, decisions, ends, stakeholders
from bot.slack.draw.blocks import cut, escape, fit, joined, message, person, section
from bot.slack.draw.phrases import MENTIONED, Scene
from bot.slack.draw.post import Message, Post, Screen
from bot.slack.draw.root import root
from bot.store.chain import Checkpoint
from bot.store.rows import Notice, Progress
from bot.telling.eta import Eta
from bot.telling.remains import made_up

ROOT = "root"
LINKED = 15.0
"""Seconds that a call waits for the card that it links to; then it goes without."""
NOTICE = 2_800
"""Characters of one block of a notice."""


def screen(
    run: Run,
    *,
    now: float,
    eta: Eta | None = None,
    progress: Mapping[str, Progress] | None = None,
    channels: Channels,
    notices: Sequence[Notice] = (),
    roles: Mapping[str, Role] | None = None,
    marks: Mapping[float, Checkpoint] | None = None,
    links: Mapping[str, str] | None = None,
) -> Screen:
    """The messages of a run. progress: last line by step; channels: of the service; roles: of the catalogue, for
    whom to call; marks: the run's checkpoints by moment (`Store.marks`). Empty where it has no channel."""
    channel = incident_channel(run, channels)
    if run.created is None or not channel:
        return Screen(())
    scene = Scene(run, eta, progress or {}, roles or {}, marks or {}, links)
    told, again = stakeholders.posts(scene, channels.stakeholders, now, channels.support)
    called = list(_calls(scene, channel))
    held = [c for c in called if _unlinked(scene, c, now)]
    posts = [Post(ROOT, channel, root(scene)), *_thread(scene, channel), *told]
    posts += [c.post for c in called if c not in held]
    later = [n.due for n in notices if n.due is not None and n.due > now]
    posts += [_notice(n, channel) for n in notices if n.due is None or n.due <= now]
    posts += _ends(scene, channel, dict.fromkeys(n.channel for n in notices if n.channel and n.due is None))
    posts += _reminders(scene, channel)
    soon = [now] if held else []
    return Screen(tuple(posts), min([*soon, *later, *([again] if again is not None else [])], default=None))


@dataclass(frozen=True, slots=True)
class _Call:
    """A post that calls people to a card. card: its slot; since: when it was wanted."""

    post: Post
    card: str
    since: float


def _unlinked(scene: Scene, call: _Call, now: float) -> bool:
    """Whether it waits a moment for its card to be posted, so that it can carry the link to it."""
    return scene.links is not None and not scene.links.get(call.card) and now < call.since + LINKED


def incident_channel(run: Run, channels: Channels) -> str:
    """Where the run is shown: where it was asked for, else the service's first incident channel."""
    asked_in = run.created.channel if run.created is not None else ""
    return asked_in or next(iter(channels.incident), "")


def _thread(scene: Scene, channel: str) -> Iterator[Post]:
    """What stands under the root card, in the order in which it came up."""
    run = scene.run

    def post(slot: str, shown: Message) -> Post:
        return Post(slot, channel, shown, ROOT, "decision")

    newest = _newest_card(scene)

    def by_hand(name: str) -> Iterator[Post]:
        if name == newest:
            yield Post(f"by-hand.{name}", channel, ends.by_hand(), ROOT, "news", True, files=ends.by_hand_file())

    for s, files in ends.kept(run):
        yield Post(f"step.{s.spec.id}", channel, ends.evidence(scene, s, files), ROOT, "news", True, files=files)
    for c in decisions.cards(scene):
        yield post(f"decision.{c.name}", decisions.card(scene, c))
        yield from by_hand(c.name)
    for slot, h in cards.halts(run):
        yield post(slot, cards.halt(scene, h, slot))
        yield from by_hand(slot)
    for p in run.proposals.values():
        yield post(f"proposal.{p.id}", cards.proposed(scene, p))
    for past in run.past:
        if not cards.at_once(past):
            yield post(f"proposal.{past.proposal.id}", cards.settled(scene, past))
    for i, s_ in enumerate(run.successions, 1):
        yield post(f"command.{i}", cards.succession(scene, s_, f"command.{i}"))
    if run.doubt:
        yield from by_hand(f"doubt.{run.seq}")
    if run.aborted:
        yield post("debts", cards.owed(scene))
        yield from by_hand("debts")
    if any(s.verdict is not None or not s.open for s in ends.checks(run)):
        yield Post("checklist", channel, ends.checklist(scene), ROOT)


def _newest_card(scene: Scene) -> str:
    """Below which card the by-hand file stands: the newest that waits or waited. One that was posted for an earlier
    card stays there; several at once would only be several copies."""
    run = scene.run
    if run.doubt:
        return f"doubt.{run.seq}"
    if run.aborted or not run.open:
        return "debts" if run.aborted else ""
    found = [(h.halt.since, slot) for slot, h in cards.halts(run)]
    found += [(max(a.opened or a.decided or 0.0 for a in c.ways), c.name)
              for c in decisions.cards(scene) if c.ways and _reached(run, c)]  # fmt: skip
    return max(found)[1] if found else ""


def _reached(run: Run, c: decisions.DecisionCard) -> bool:
    """Whether everything that comes before it has ended: a by-hand text of before would not know of it."""
    members = (run.steps[m] for a in c.ways for m in a.spec.members)
    return any(all(not run.steps[a].open for a in s.spec.after) for s in members)


def _calls(scene: Scene, channel: str) -> Iterator[_Call]:
    """Posts in the channel that mention people: each once, while it is still true."""
    run = scene.run
    start = scene.start.spec.name if scene.start is not None else ""
    for slot, h in cards.halts(run):
        if h.over is None and run.open and h.halt.cause != "undone":
            shown = cards.halt_call(scene, h, slot)
            yield _Call(Post(f"{slot}.call", channel, shown, urgency="decision", fixed=True), slot, h.halt.since)
    for c in decisions.every(scene):
        paged = [a.paged for a in c.open if a.paged is not None]
        called = paged or [a.reminded for a in c.open if a.reminded is not None]
        if called:
            card = ROOT if start == c.name else f"decision.{c.name}"
            shown = cards.wanted(scene, c.open, c.title, card, everybody=bool(paged))
            slot = f"{'page' if paged else 'remind'}.{c.name}.{min(called):.0f}"
            yield _Call(Post(slot, channel, shown, urgency="decision", fixed=True), card, min(called))
        if (a := c.decided) is not None and a.glass is not None:
            shown = cards.glass(scene, a, c.title)
            post = Post(f"glass.{c.name}.{a.decided:.0f}", channel, shown, urgency="decision", fixed=True)
            yield _Call(post, f"decision.{c.name}", a.decided or 0.0)


def _reminders(scene: Scene, channel: str) -> Iterator[Post]:
    """What was promised and is overdue: a post for each time that somebody is reminded; and what must not be missed."""
    if scene.run.doubt:
        yield Post(f"doubt.{scene.run.seq}", channel, cards.doubted(scene), ROOT, "decision", fixed=True)
    for d in scene.run.debts.values():
        if d.reminded is not None and d.owner:
            slot = f"overdue.{d.step}.{d.reminded:.0f}"
            yield Post(slot, channel, cards.overdue(scene, d), urgency="decision", fixed=True)
    for d in scene.run.debts.values():
        if d.missing and d.missed is not None:
            slot = f"lifted.{d.step}.{d.missed:.0f}"
            yield Post(slot, channel, cards.lifted(scene, d), ROOT, "decision", fixed=True)
    if scene.run.back and scene.run.back_at is not None:
        slot = f"back.{scene.run.back_at:.0f}"
        yield Post(slot, channel, cards.came_back(scene), ROOT, "decision", fixed=True)
    for r in scene.run.reviews.values():
        if r.reminded is not None and r.reviewed is None:
            slot = f"review.{r.decision}.{r.reminded:.0f}"
            yield Post(slot, channel, cards.to_review(scene, r), urgency="decision", fixed=True)


def _notice(n: Notice, channel: str) -> Post:
    """What an action had to say, in a channel of its own choice; or the bot of itself, in the run's thread."""
    said = cut(n.text.strip(), 4 * NOTICE) or "(an empty notice)"
    parts = [escape(said[i : i + NOTICE]) for i in range(0, len(said), NOTICE)][:4]
    called = [joined([person(id) for id in n.people.split()[:MENTIONED]], " ")] if n.people else []
    shown = message(*(section(fit(p, NOTICE)) for p in [*called, *parts] if p.strip()))
    under = "" if n.channel else ROOT
    return Post(f"notice.{n.name}", n.channel or channel, shown, under, urgency="news", fixed=True)


def _ends(scene: Scene, channel: str, told: Iterable[str]) -> Iterator[Post]:
    """How it ends, wherever it was told of. told: channels of notices."""
    run = scene.run
    if run.restored is not None and run.open:  # where the end came first, that says it
        shown = ends.restored(scene)
        yield Post(f"restored.{run.restored:.0f}", channel, shown, urgency="news", fixed=True)
        if late := [p.back for p in made_up(run) if p.back is not None and p.back > run.restored]:
            yield Post(f"everywhere.{max(late):.0f}", channel, ends.everywhere(scene), urgency="news", fixed=True)
    if run.closed is not None:
        yield Post("end", channel, ends.end(scene), urgency="decision", files=ends.files())
        for other in told:
            if other != channel:
                yield Post(f"end.{other}", other, ends.elsewhere(scene), urgency="news", fixed=True)
