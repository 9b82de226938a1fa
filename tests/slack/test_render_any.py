"""Whatever happens in whatever plan: Slack takes every message, and what can be pressed means something."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import pytest
from hypothesis import example, given, settings

from bot.catalogue import Channels, Release, Role
from bot.contract import Change, Edit, Effect, Fact, Json
from bot.playground.workspace.blockkit import refuse_message
from bot.policy import Actor, Person
from bot.run.answering import Answer, Asking, answer, may
from bot.run.commands import TABLE
from bot.run.state import Halt, Run
from bot.slack.draw import blocks
from bot.slack.draw.post import Message, Post, Screen
from bot.slack.draw.press import LOOKS, OF_A_DECISION, Press, pressed
from bot.slack.draw.screen import screen
from bot.slack.hear import modals
from bot.store.rows import Notice, Progress
from bot.telling.eta import Eta
from tests.run.played import PEOPLE, Play, act, check, plan
from tests.run.stories import Story, moves, stories
from tests.slack.scenes import CHANNELS, ROLES, SCENES, Tape
from tests.slack.scenes import PEOPLE as TEAM

SHOWN = ("text", "title")


def shown(run: Run, now: float, **more: object) -> Screen:
    eta = Eta(10.0, 20.0, 0, 1, "soon", (run.at + 10, run.at + 20))
    return screen(run, now=now, eta=eta, channels=CHANNELS, roles=ROLES, **more)  # type: ignore[arg-type]


def texts(value: Json | Mapping[str, Json]) -> Iterator[str]:
    """Every text that a block shows."""
    if isinstance(value, Mapping):
        for k, v in value.items():
            if isinstance(v, str) and k in SHOWN:
                yield v
            else:
                yield from texts(v)
    elif isinstance(value, list | tuple):
        for v in value:
            yield from texts(v)


def must_be_fine(run: Run, s: Screen, people: Sequence[Person] = PEOPLE) -> None:
    slots = [p.slot for p in s.posts]
    assert len(set(slots)) == len(slots)
    assert all(not p.under or p.under in slots for p in s.posts)
    for p in s.posts:
        _must_be_fine(run, p, people)


def _must_be_fine(run: Run, p: Post, people: Sequence[Person]) -> None:
    m = p.message
    refusal = refuse_message([dict(b) for b in m.blocks])
    assert refusal is None, f"{p.slot}: {refusal}"
    assert m.text.strip() and len(m.text) <= blocks.FALLBACK
    assert p.slot.count("|") == 0
    if not m.text.endswith("(more in the message)"):
        for t in (t for b in m.blocks for t in texts(b)):
            assert t.strip() in m.text or blocks.escape(t).strip() in m.text, f"{p.slot}: {t!r} is not in the text"
    found = list(blocks.buttons_of(m))
    assert len({(value, block) for _, value, block in found}) == len(found), p.slot
    for label, value, block in found:
        press = pressed(value, block)
        assert press.run == run.id and press.command in {*TABLE, *LOOKS, OF_A_DECISION}
        assert label.endswith("…") == press.asks, f"{p.slot}: {label} {press}"
        assert not people or _somebody_can(run, press, people), f"{p.slot}: {label} is refused to everybody"
        assert run.open or _still_open(run, press), f"{p.slot}: {label} on an ended run"
    assert not (p.fixed and found), f"{p.slot} is fixed and has buttons that nobody takes away"


def _somebody_can(run: Run, press: Press, people: Sequence[Person]) -> bool:
    """Whether anybody who presses this, and says what its form asks, is answered other than by a refusal."""
    do, subject = press.command, press.subject
    if do in LOOKS:
        return True
    if do == OF_A_DECISION:
        members = (s.spec.id for s in run.members(subject))
        return any(_somebody_can(run, Press("ask-skip", run.id, i), people) for i in members)
    asking = [Asking(p, "slack", people, run.at, "p99") for p in people]
    if not TABLE[do].of_run:
        return any(may(run, do, "", a) is None for a in asking)
    said = {"phrase": run.phrase(subject) if subject in run.asked else "", "reason": "because of this",
            "until": run.at + 60}  # fmt: skip
    commands = [modals.build(do, subject or "9.9", card=press.card, to=p.id, **said) for p in people]  # type: ignore[arg-type]
    return any(isinstance(answer(run, c, a), Answer) for c in commands for a in asking)


def _still_open(run: Run, press: Press) -> bool:
    """Whether what a button asks for can be done when a run is over: what it has left behind, rolling forward, its
    postmortem."""
    what = {"ask-restore": run.debts, "ask-hand-over": run.debts, "ask-undo": run.steps, "ask-review": run.reviews}
    return press.do in ("ask-forward", "ask-postmortem") or press.subject in what.get(press.do, ())


def test_forty_checks_that_say_a_lot_are_one_table_and_its_first_line_is_enough() -> None:
    names = [f"v{n}" for n in range(40)]
    play = Play(plan(act("deploy"), *(check(name, ["deploy"], phase="verify") for name in names)))
    play.go("deploy")
    for name in names:
        play.go(name, "bad" if name == "v7" else "well")
    long = {n: dataclasses.replace(s, verdict=s.verdict and dataclasses.replace(s.verdict, observed="é<&" * 700,
                                                                              expected="x" * 2000))
            for n, s in play.run.steps.items()}  # fmt: skip
    for run in (play.run, dataclasses.replace(play.run, steps=long)):
        seen = shown(run, play.now)
        must_be_fine(run, seen)
        (table,) = [p.message for p in seen.posts if p.slot == "checklist"]
        assert table.text.splitlines()[0] == "*Verification: 39 of 40 pass.* Look at: V7."
        (rows,) = [b["rows"] for b in table.blocks if b["type"] == "table"]
        assert isinstance(rows, list) and len(rows) == 41


@settings(max_examples=150)
@given(stories())
def test_any_state_of_any_run_can_be_shown(story: Story) -> None:
    play = Play(story.plan)
    for i, _ in enumerate(moves(play, story.numbers)):
        if i % 10 == 0 or not play.run.open:
            must_be_fine(play.run, shown(play.run, play.now))
    must_be_fine(play.run, shown(play.run, play.now))


@settings(max_examples=40)
@given(stories())
def test_a_screen_changes_only_when_something_happens_or_when_it_says_so(story: Story) -> None:
    play = story.played()
    one = shown(play.run, play.now)
    assert one == shown(play.run, play.now)
    later = play.now + 86_400 if one.again is None else (play.now + one.again) / 2
    assert shown(play.run, later).posts == one.posts
    if one.again is not None:
        assert shown(play.run, one.again) != one


@settings(max_examples=50)
@example(Story(236588, (0, 0, 42153)))  # a way that nobody had to be asked about any more once another one was there
@given(stories())
def test_a_card_that_could_be_answered_stays_and_loses_its_buttons(story: Story) -> None:
    play = Play(story.plan)
    asked: set[str] = set()
    for _ in moves(play, story.numbers):
        now = {p.slot: p.message for p in shown(play.run, play.now).posts}
        gone = {s for s in asked - set(now) if not s.startswith("decision.undo.")}  # these go with another target
        assert not gone
        asked |= {s for s, m in now.items() if list(blocks.buttons_of(m))}


@pytest.mark.parametrize("scene", SCENES, ids=lambda f: f.__name__)
def test_every_scene_can_be_shown(scene: object) -> None:
    assert callable(scene)
    tape = scene()
    assert isinstance(tape, Tape)
    must_be_fine(tape.run, tape.screen(), TEAM)


# -- hostile and huge ------------------------------------------------------------------------------------------------

HUGE = "<!channel> & `*_~ <@UANA>|<https://evil> \n" * 200


def _huge(run: Run, text: str) -> Run:
    """The same run, where everything that is said is this text, and there is a lot of it."""
    assert run.created is not None
    edits = tuple(Edit(f"{text[:900]}{i}", text, text[::-1]) for i in range(300))
    facts = tuple(Fact(f"{text[:300]}{i}", text, text[:50], 5.0) for i in range(40))
    change = Change(text, edits, tuple(Effect(text + str(i)) for i in range(40)), facts, (text,) * 20, False)
    steps = {}
    for i, s in run.steps.items():
        spec = dataclasses.replace(s.spec, title=text, track=text)
        halt = dataclasses.replace(s.halt, error=text, hint=text, observed={text: text}) if s.halt else None
        verdict = dataclasses.replace(s.verdict, observed=text, expected=text, data={text: text}) if s.verdict else None
        receipt = dataclasses.replace(s.receipt, detail=text, links=((text, text),)) if s.receipt else None
        steps[i] = dataclasses.replace(
            s, spec=spec, change=change if s.change else None, made=change if s.made else None, halt=halt, why=text,
            note=text, verdict=verdict, receipt=receipt, commands=(text,) * 30,
        )  # fmt: skip
    asked = {
        n: dataclasses.replace(
            a, spec=dataclasses.replace(a.spec, title=text), taken=text,
            dropped=dataclasses.replace(a.dropped, differences=(text,) * 99) if a.dropped else None,
            declined=((Actor("UANA", text), text, run.at),) * 9,
        )
        for n, a in run.asked.items()
    }  # fmt: skip
    halts = tuple(dataclasses.replace(h, halt=steps[h.step].halt or _halt(h.halt, text)) for h in run.halts)
    created = dataclasses.replace(run.created, reason=text, evidence=(text,) * 9, service=text, by=Actor("x", text))
    proposals = {i: dataclasses.replace(p, reason=text) for i, p in run.proposals.items()}
    return dataclasses.replace(
        run, created=created, steps=steps, asked=asked, halts=halts, abort_reason=text, proposals=proposals,
        target=Release(text), commander=Actor("someone", text), tried=((Release(text), text),) * 5,
        impossible={text: text} if run.impossible else {},
    )  # fmt: skip


def _halt(halt: Halt, text: str) -> Halt:
    return dataclasses.replace(halt, error=text, hint=text)


@pytest.mark.parametrize("scene", SCENES, ids=lambda f: f.__name__)
def test_nothing_that_anybody_says_breaks_a_message(scene: object) -> None:
    assert callable(scene)
    tape: Tape = scene()
    for text in (HUGE, "x" * 9000, "&" * 5000, "`" * 4000, "", " ", "\n"):
        try:
            _must_stay_whole(tape.run, text)
        except Exception as e:
            e.add_note(f"where everything that is said is {text[:9]!r}, {len(text)} characters")
            raise


def _must_stay_whole(said: Run, text: str) -> None:
    run = _huge(said, text)
    progress = {i: Progress(run.id, i, text, 1, 2, run.at) for i in run.steps}
    notices = [Notice(run.id, "n", "#edge", text, run.at)]
    found = shown(run, run.at, progress=progress, notices=notices)
    must_be_fine(run, found, ())  # whoever they are called by now, nobody of them may
    for p in found.posts:
        assert "<!channel>" not in p.message.text and "<https" not in p.message.text
        assert not any(
            "<!channel>" in t for b in p.message.blocks if b["type"] in ("section", "context") for t in texts(b)
        )


def test_a_run_without_a_channel_shows_nothing() -> None:
    tape = SCENES[0]()
    assert screen(tape.run, now=tape.now, channels=Channels()) == Screen(())


def test_where_it_was_asked_for_comes_before_the_catalogue() -> None:
    tape = SCENES[0]()
    assert tape.run.created is not None
    run = dataclasses.replace(tape.run, created=dataclasses.replace(tape.run.created, channel="C0PS"))
    assert screen(run, now=tape.now, channels=CHANNELS).posts[0].channel == "C0PS"


def test_roles_without_people_are_called_by_nobody() -> None:
    tape = SCENES[2]()
    found = screen(tape.run, now=tape.now, channels=CHANNELS, roles={"dba": Role("dba")})
    must_be_fine(tape.run, found, TEAM)


def test_messages_of_the_same_run_are_the_same_bytes() -> None:
    one, two = SCENES[3]().screen(), SCENES[3]().screen()
    assert [p.message.digest for p in one.posts] == [p.message.digest for p in two.posts]
    assert isinstance(one.posts[0].message, Message)
