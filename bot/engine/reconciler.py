"""Drives runs: appends what people and attempts say, together with everything that follows from it.

A reconciler, not a script: `decide` says from the log alone what is to be done next, and this module does it, again
and again, on every node. It keeps no state of its own that a crash could lose.

Invariants:
- one way in: `_append` writes events, what follows from them and the `Started` of every attempt they set free in one
  transaction; losing the race for the next `seq` means loading and deciding again;
- what an append sets free is started right behind it, by the node that wrote it; what a crash or a lack of room keeps
  from being started, `reconcile` of any node starts;
- nothing is done in a run whose record is not believed (`Run.doubt`): people are told, once, and again when it is;
- an attempt whose process is gone is first declared `Lost` in the log, then begun anew under the next number;
- prose is redacted here, once, before it reaches the log; an edit that holds a secret is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from bot import policy
from bot.engine.attempt import Execution, PortsOf, Superseded
from bot.engine.attempt_id import AttemptId
from bot.engine.ground import Anywhere, Ground, Grounds
from bot.handlers.registry import Registry
from bot.people import Directory
from bot.policy import Person, Refusal, Why
from bot.ports import Unreachable
from bot.redaction.redactor import Redactor
from bot.run import events as ev
from bot.run.answering import Answer, Asking, answer
from bot.run.commands import Command
from bot.run.decide import Next, Start, decide, lapsed
from bot.run.fold import evolve
from bot.run.moments import AHEAD, sooner
from bot.run.rules import refused
from bot.run.state import Run, Step
from bot.steady.clock import Steady
from bot.steady.outage import Outage
from bot.store.log import AlreadyOpen, Conflict, Duplicate, Notice, Progress, Store, StoreUnavailable, away, told

log = logging.getLogger(__name__)

ROUNDS = 200
"""More follow-ups than this from one event mean that decide() does not come to rest: a fault of ours."""
LOOK_FOR = 15.0
"""Seconds between two looks whether a part that a run goes on without answers again, and whether the log holds what no
bot has written."""
PATIENCE, AGAIN = 60.0, 0.5
"""Seconds for which an attempt insists that its word is written down while the database does not answer, and between
two tries. A node that cannot renew its lease ends before that."""
SLOWEST = 3.0
"""Seconds between two looks at what is due while it cannot be seen, at most; a run that goes on waits no longer."""
TIDY, KEEP = 3600.0, 7 * 24 * 3600.0
"""Seconds between two clear-outs, and seconds for which the key of a command is remembered: nobody sends one again
after that."""


class Hands(Protocol):
    """The executor, as far as the reconciler needs it."""

    async def dispatch(self, attempts: Iterable[AttemptId]) -> None: ...
    async def cancel(self, attempt: AttemptId) -> None: ...
    async def lost(
        self, attempts: Sequence[AttemptId], now: float, *, repair: bool = True
    ) -> list[tuple[AttemptId, str]]: ...
    async def rest(self, seconds: float) -> bool: ...
    def live(self) -> bool: ...


Watcher = Callable[[Run, Sequence[ev.Event]], Awaitable[None]]
"""Told after each append, for what is outside the database (by-hand files, the anchor). Its failures are logged."""


class Engine:
    """Runs runs. clock: seconds since the epoch; tick: seconds between looks at what is due; ping: (run) -> target ->
    what is wrong with it, empty where it answers; grounds: how this node stands to where a run is pinned; glass: the
    roles that may break the glass now, empty where each may."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        ports_of: PortsOf,
        people: Directory,
        *,
        redactor: Redactor,
        node: str,
        glass: Callable[[], frozenset[str]] = frozenset,
        watchers: Iterable[Watcher] = (),
        ping: Callable[[Run], Awaitable[Mapping[str, str]]] | None = None,
        grounds: Grounds | None = None,
        clock: Callable[[], float] = time.time,
        tick: float = 1.0,
    ) -> None:
        self.store, self.registry, self.ports_of, self.people = store, registry, ports_of, people
        self.redactor, self.node, self.clock, self.tick = redactor, node, clock, tick
        self.glass, self.watchers = glass, tuple(watchers)
        self.ping, self._looked = ping, float("-inf")
        self.grounds: Grounds = grounds or Anywhere()
        self._hands: Hands | None = None
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._said: dict[tuple[str, str], float] = {}
        self._blind = Outage("What is due", log, words=("cannot be seen", "is seen again"))
        self._stuck: dict[str, Outage] = {}
        self._doubts: dict[str, Outage] = {}
        self._elsewhere: dict[str, Outage] = {}
        self._tidied = 0.0

    def use(self, hands: Hands) -> None:
        """Gives the engine its executor (which needs the engine's `run_pass` first)."""
        self._hands = hands

    @property
    def hands(self) -> Hands:
        """The executor."""
        if self._hands is None:
            raise RuntimeError("the engine has no executor yet")
        return self._hands

    # -- the one way in --------------------------------------------------------------------------------------------

    async def create(self, run_id: str, created: ev.Created, *inherited: ev.Inherited, key: str | None = None) -> Run:
        """Opens a run, with debts of ended ones. AlreadyOpen where the service has an open rollback, Duplicate where
        `key` was seen."""
        async with self._turn(run_id):
            run = await self.store.load(run_id)
            if why := refused(run, created):
                raise ValueError(why.text)
            return await self._append(run, [created, *inherited], key=key)

    async def command(
        self, run_id: str, command: Command, person: Person, via: str, ref: str, *, key: str | None = None
    ) -> Answer | Refusal:
        """Carries out what a person asks, against the run as it is now. key: the click's identity, so that a
        delivery that comes twice is answered once."""
        everyone = await self.people.everyone()
        while True:
            async with self._turn(run_id):
                run = await self.store.load(run_id)
                found = answer(run, command, Asking(person, via, everyone, self.clock(), ref, self.glass()))
                if isinstance(found, Refusal):
                    return found
                try:
                    await self._append(run, found.events, key=key)
                except Conflict:
                    continue
                except Duplicate:
                    return Refusal(Why.ALREADY, "This was received already; nothing was done twice.")
                except AlreadyOpen as e:
                    return Refusal(
                        Why.NOT_NOW, f"{e.run} of {e.service} is at work: let it end first. Nothing was changed."
                    )
                return found

    async def submit(self, run_id: str, *events: ev.Event) -> str | None:
        """Appends what an attempt says. Returns why it is refused, or may no longer be relied on; or None. While the
        database does not answer it tries again: what was done must not be forgotten over a short absence."""
        until, load, asked = asyncio.get_running_loop().time() + PATIENCE, self.store.recent, self.clock()
        while True:
            try:
                return await self._submit(run_id, events, load, asked)
            except Conflict:
                load = self.store.load
            except StoreUnavailable as e:
                if not self.hands.live() or asyncio.get_running_loop().time() > until:
                    raise
                log.warning("run %s: what an attempt says cannot be written down yet: %s", run_id, e)
                await asyncio.sleep(AGAIN)

    async def _submit(
        self, run_id: str, events: Sequence[ev.Event], load: Callable[[str], Awaitable[Run]], asked: float
    ) -> str | None:
        async with self._turn(run_id):
            run = now = await load(run_id)
            for e in events:
                if why := refused(now, e):
                    if load == self.store.recent:
                        raise Conflict("perhaps not any more, by what others have written since")
                    return why.text
                now = evolve(now, e, self.clock())
            await self._append(run, events, asked=asked)
        # A process that stood still since it asked is dead to the others: it may change nothing any more.
        return None if self.hands.live() else "this node has lost its lease"

    async def recent(self, run_id: str) -> Run:
        """The run with all that this process wrote."""
        return await self.store.recent(run_id)

    async def voters(self, run: Run, step: Step) -> tuple[str, tuple[str, ...]]:
        """Whether those who let a step pass still may, asked of the directory at this moment: why one of them may not,
        or that it is too long ago, empty where all may; the names of those that could not be asked."""
        asked = run.decision_of(step)
        if asked is not None and (late := lapsed(run, asked, self.clock())) is not None:
            return late.why, ()
        unasked = []
        for a in asked.said_by if asked is not None else ():
            try:
                person = await self.people.still(a.id)
            except Unreachable as e:
                log.warning("run %s: whether %s may still decide cannot be asked: %s", run.id, a.id, e)
                unasked.append(f"@{a.name}")
                continue
            if policy.stranger(person) is not None:
                return f"@{a.name}, who approved it, is no active member any more", ()
        return "", tuple(unasked)

    async def progress(self, run: str, step: str, text: str, done: int | None, total: int | None) -> None:
        """Keeps a step's latest line; at most one write a second, the rest is dropped."""
        now = self.clock()
        if abs(now - self._said.get((run, step), 0.0)) >= 1.0:
            self._said[run, step] = now
            await self.store.put_progress(Progress(run, step, self.redactor.text(text), done, total, now))

    async def rest(self, seconds: float) -> bool:
        """Lets a pass wait so long. False, and at once, where this process is about to end."""
        return await self.hands.rest(seconds)

    async def _append(
        self, run: Run, events: Sequence[ev.Event], *, key: str | None = None, asked: float | None = None
    ) -> Run:
        """Writes events, what follows from them, and the attempts they set free: all or nothing. asked: what the clock
        said when they were made."""
        at = self.clock()
        back = asked - at if asked is not None and asked - at > AHEAD else 0.0  # it was ahead, and is right by now
        clean = [self.redactor.event(sooner(e, back)) for e in events]
        after = run
        for e in clean:
            after = evolve(after, e, at)
        clean, decision = self._settle(after, clean, at)
        ground = await self._ground(after) if decision.start else Ground()
        starts = [self._started(s) for s in decision.start if not ground.why_not(after)]
        stops = [_attempt(run.id, s.application, s.spec.id, s.n) for s in after.in_flight if s.spec.id in decision.stop]
        if clean or starts or key:
            ids = [_attempt(run.id, s.application, s.step, s.n) for s in starts]
            every = [*clean, *starts]
            decided = Next(due=at) if starts else decision  # with an attempt in flight it is due at once
            after = await self.store.append(run, every, at, key=key, decided=decided)
            await self.hands.dispatch(ids)
            await self._tell(after, every)
        elif not run.in_flight:  # only its next moment has changed
            await self.store.append(run, [], at, decided=decision)
        for attempt in stops:
            await self.hands.cancel(attempt)
        return after

    def _settle(self, run: Run, events: list[ev.Event], at: float) -> tuple[list[ev.Event], Next]:
        """Adds whatever follows, until nothing more does."""
        for _ in range(ROUNDS):
            decision = decide(run, at)
            if not decision.record:
                return events, decision
            for e in decision.record:
                if refused(run, e) is None:
                    run = evolve(run, e, at)
                    events = [*events, e]
        raise RuntimeError(f"run {run.id} does not come to rest after {events[-1].kind!r}")

    def _started(self, s: Start) -> ev.Started:
        return ev.Started(s.step, s.n, s.application, s.doing, self.node)

    async def _tell(self, run: Run, events: Sequence[ev.Event]) -> None:
        for watcher in self.watchers:
            try:
                await watcher(run, events)
            except Exception:
                log.exception("a watcher of run %s failed", run.id)

    def _turn(self, run_id: str) -> asyncio.Lock:
        """One append a run at a time in this process; other processes are met by `Conflict`."""
        return self._turns.setdefault(run_id, asyncio.Lock())

    # -- attempts --------------------------------------------------------------------------------------------------

    async def run_pass(self, attempt: AttemptId) -> None:
        """One pass of an attempt; nothing if the log knows a newer one, or its end."""
        at_work = await self._at_work(attempt)
        if at_work is None:
            return
        if why := (await self._ground(at_work.run)).why_not(at_work.run):  # since it was handed over
            await self.submit(attempt.run, ev.Lost(attempt.step, attempt.n, f"on {self.node}, {why}"))
            return
        if at_work.stopped:  # before it began
            await at_work.cancelled()
            return
        try:
            await at_work.go()
        except Superseded as e:
            log.info("attempt %s is superseded: %s", attempt, e)
            await self.on_cancelled(attempt)  # if people wanted it to end, it has: nobody need wait to hear it

    async def on_cancelled(self, attempt: AttemptId) -> None:
        """A cancelled attempt has ended."""
        at_work = await self._at_work(attempt)
        if at_work is not None:
            await at_work.cancelled()

    async def _at_work(self, attempt: AttemptId) -> Execution | None:
        run = await self.store.load(attempt.run)
        step = run.steps.get(attempt.step)
        if step is None or step.attempt is None or step.attempt.n != attempt.n:
            return None
        return Execution(self, self.registry, self.ports_of, self.clock, run, step)

    # -- where -----------------------------------------------------------------------------------------------------

    async def _ground(self, run: Run) -> Ground:
        """How this node stands to where the run is pinned. That it takes no attempt of it is told once, and its end."""
        ground = await self.grounds.ground(run)
        if (why := ground.why_not(run)) and ground.moves(run) is None:
            words = ("takes no part here", "takes part here again")
            self._elsewhere.setdefault(run.id, Outage(f"Run {run.id}", log, words=words)).down(why)
        elif run.id in self._elsewhere:
            self._elsewhere.pop(run.id).up()
        return ground

    @property
    def elsewhere(self) -> Mapping[str, str]:
        """Run -> why this node takes no attempt of it."""
        return {run: outage.why for run, outage in self._elsewhere.items()}

    async def places_changed(self) -> None:
        """Looks, for every open run, whether this node's catalogue stands by its places; drift where none does."""
        heads = await self.store.heads(open=True, limit=None)
        for run_id in self._elsewhere.keys() - {h.run for h in heads}:
            run = await self.store.load(run_id)
            if run.created is not None and not run.at_work:  # nor is it about to be created
                self._elsewhere.pop(run_id).up()
        for head in heads:
            run = await self.store.load(head.run)
            if run.doubt:
                continue
            ground = await self._ground(run)
            if (moves := ground.moves(run)) is not None:
                await self.submit(run.id, moves)
            elif text := self.redactor.text(ground.told(run)):
                name = f"node.catalogue.{hashlib.sha256(text.encode()).hexdigest()[:12]}"
                await self.store.put_notice(Notice(run.id, name, "", text, self.clock()))

    # -- level-triggered repair ------------------------------------------------------------------------------------

    async def loop(self) -> None:
        """Looks after every run that is due, about once a tick, until cancelled."""
        wait = self.tick
        while True:
            wait = self.tick if await self.round() else min(max(SLOWEST, self.tick), 2 * wait)
            await asyncio.sleep(wait * random.uniform(0.7, 1.3))  # noqa: S311

    async def round(self) -> bool:
        """One look at everything that is due; a run that cannot be looked after holds up no other. False where what is
        due cannot be seen. Each fault is told once, and its end."""
        try:
            await self._tell_of_jump()
            due = await self.store.due(self.clock())
            await self._tidy()
        except Exception as e:
            if away(e):
                log.debug("cannot see which runs are due: %s", e)  # the store tells of the outage
                return False
            self._blind.down(f"{type(e).__name__}: {e}", exc_info=True)
            return False
        self._blind.up()
        for run_id in due:
            await self._look_after(run_id)
        if time.monotonic() - self._looked >= LOOK_FOR:
            self._looked = time.monotonic()
            ahead = await self.store.ahead(self.clock() + AHEAD)
            for run_id in {*await self.store.beyond(), *self._doubts, *ahead}:
                await self._look_after(run_id)
            await self._look_where()
            await self._look_for_parts()
        return True

    async def _look_after(self, run_id: str) -> None:
        try:
            await self.reconcile(run_id)
        except Conflict:
            return  # another node was first
        except Exception as e:
            if away(e):
                log.debug("cannot look after run %s: %s", run_id, e)
                return
            words = ("cannot be looked after", "is looked after again")
            fault = self._stuck.setdefault(run_id, Outage(f"Run {run_id}", log, words=words))
            fault.down(f"{type(e).__name__}: {e}", exc_info=True)
            return
        if run_id in self._stuck:
            self._stuck.pop(run_id).up()

    async def _tidy(self) -> None:
        """Now and then: forgets keys of commands that nobody sends again."""
        now = self.clock.old() if isinstance(self.clock, Steady) else self.clock()
        if abs(now - self._tidied) >= TIDY:
            self._tidied = now
            await self.store.prune_inbox(now - KEEP)

    async def _tell_of_jump(self) -> None:
        """The clock has gone ahead, and not this machine's alone: runs are told before it shows, so that nothing ends
        by it. Another node may have told them, of the same jump."""
        if not isinstance(self.clock, Steady):
            return
        await self.clock.refer()
        if self.clock.held <= 0:
            return
        by, now, backs = self.clock.held, self.clock(), self.clock.backs
        log.warning("the clock went ahead by %.0f s; what is under way keeps its time", by)
        for head in [*await self.store.heads(open=True, limit=None), *await self.store.owing()]:
            run = await self.store.load(head.run)
            if not self._told(run, by, now):
                await self.submit(run.id, ev.ClockJumped(by, self.node))
        if self.clock.backs == backs:  # else what is held by now is a jump that nobody was told of
            self.clock.show(by)

    def _told(self, run: Run, by: float, now: float) -> bool:
        """Whether another node has told the run of this jump: the same one, of a clock that both go by."""
        last = run.jumped
        if last is None or last.node == self.node or abs(last.by - by) > AHEAD:
            return False
        return abs(now - last.at) <= by / 2 + AHEAD

    async def _look_where(self) -> None:
        with told(log, "cannot look where runs are worked on"):
            await self.places_changed()

    async def _look_for_parts(self) -> None:
        """Tells runs that what they go on without answers again. About every `LOOK_FOR` seconds."""
        if self.ping is None:
            return
        with told(log, "cannot look whether what runs go on without is back"):
            for head in await self.store.heads(open=True, limit=None):
                run = await self.store.load(head.run)
                looks = run.left_out and not run.over and run.id not in self._elsewhere
                faults = await self.ping(run) if looks else {}
                for part in run.left_out:
                    if faults.get(part) == "":
                        await self.submit(run.id, ev.PartBack(part))

    async def reconcile(self, run_id: str) -> None:
        """Declares lost what will never report, then goes on with whatever is to be done."""
        run = await self.store.load(run_id)
        if await self._doubted(run):
            return
        ground = await self._ground(run)
        if (moves := ground.moves(run)) is not None:
            await self.submit(run_id, moves)
            run = await self.store.load(run_id)
            ground = await self._ground(run)
        ids = {_attempt(run_id, s.application, s.spec.id, s.n): s for s in run.in_flight}
        may = not ground.why_not(run)
        lost = await self.hands.lost(list(ids), asyncio.get_running_loop().time(), repair=may) if ids else []
        async with self._turn(run_id):
            run = await self.store.load(run_id)
            if run.doubt:
                return
            events: list[ev.Event] = []
            for attempt, why in lost:
                gone = ev.Lost(attempt.step, attempt.n, why)
                if refused(run, gone) is None:
                    events.append(gone)
            await self._append(run, events)
        for attempt, why in lost:
            log.warning("attempt %s is lost: %s", attempt, why)
            with contextlib.suppress(Exception):
                await self.hands.cancel(attempt)

    @property
    def doubted(self) -> Mapping[str, str]:
        """Run -> why its record is not believed."""
        return {run_id: doubt.why for run_id, doubt in self._doubts.items()}

    async def _doubted(self, run: Run) -> bool:
        """Whether the record is not believed; people are told when that begins, and when it ends."""
        if not run.doubt:
            if (over := self._doubts.pop(run.id, None)) is not None:
                over.up()
                await self._anew(run)
            return False
        words = ("is not believed, and nothing is done in it", "is believed again")
        doubt = self._doubts.setdefault(run.id, Outage(f"The record of run {run.id}", log, words=words))
        news = doubt.why != run.doubt
        doubt.down(run.doubt)
        if news:
            await self._anew(run)
        return True

    async def _anew(self, run: Run) -> None:
        """Whoever shows the run, or pages for it, looks at it again."""
        await self.store.show_anew(run.id)
        await self._tell(run, ())

    async def people_changed(self) -> None:
        """Proves again, for every open run, that each decision can be passed by people who exist."""
        everyone = await self.people.everyone()
        for head in await self.store.heads(open=True, limit=1000):
            run = await self.store.load(head.run)
            if await self._doubted(run):
                continue
            faults = run.plan.impossible(everyone, run.barred, decided={n for n, a in run.asked.items() if a.decided})
            if faults != dict(run.impossible):
                await self.submit(run.id, ev.PeopleChanged(faults))


def _attempt(run: str, application: int, step: str, n: int) -> AttemptId:
    return AttemptId(run, step, application, n)
