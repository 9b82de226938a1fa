"""Who counts: over random role changes, hand-overs and proposals nobody fills two seats, nobody barred fills one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from bot.catalogue import Release
from bot.policy import Gate, Requirement
from bot.policy.approval import satisfied, seats
from bot.run import events as ev
from bot.run.commands import Admit, Agree, Approve, Command, Offer, Retarget, Skip, Take
from tests.run.played import BOTH, PEOPLE, TWO, Play, act, gate, plan

GATES = (TWO, BOTH, Gate((Requirement("commander"), Requirement("approver"))), Gate((Requirement("commander", 2),)))


def commands(play: Play, r: Random) -> Iterator[Command]:
    yield from (Approve(n, play.run.card(n)) for n in play.run.asked)
    yield from (Agree(p) for p in play.run.proposals)
    release = Release(f"2.3.{r.randrange(9)}")
    yield from (Retarget(release, "bad too"), Admit(release, "the fix"), Skip("two", "not needed tonight"))
    yield from (Take(), Offer(r.choice(PEOPLE).id))


@given(st.integers(0, 2**32))
def test_nobody_fills_two_seats_and_nobody_barred_fills_one(seed: int) -> None:
    r = Random(seed)
    gates = [gate("one", by=r.choice(GATES)), gate("two", by=r.choice(GATES))]
    play = Play(plan(act("one", decision="one"), act("two", after=["one"], decision="two"), decisions=gates))
    for _ in range(40):
        play.look()
        roles = frozenset(x for x in ("commander", "approver", "dba") if r.random() < 0.6)
        play.say(replace(r.choice(PEOPLE), roles=roles), r.choice(list(commands(play, r))))
        play.wait(r.choice((1.0, 301.0)))
        for a in play.run.asked.values():
            voters = [v.by.id for v in a.votes]
            assert len(set(voters)) == len(voters)
            assert a.decided is not None or not play.run.barred & set(voters)
    for m in play.moments:
        if isinstance(m.event, ev.Approved):
            assert m.event.by.id not in m.before.barred and m.event.role in m.event.by.roles
    for past in (p for p in play.run.past if p.done):
        p = past.proposal
        filled = seats(p.gate, p.ballots)
        assert satisfied(p.gate, p.ballots) and Counter(filled.values()) == {q.role: q.count for q in p.gate.by}
        own = {q.role for q in p.gate.by if q.own}
        assert all(role in own for who, role in filled.items() if who in p.barred)
