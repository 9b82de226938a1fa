"""One pass of one attempt: call the handler once, and record what came of it.

Order is everything here: intent first (`ApplyStarted`, which is also the undo data), each command before its call
(`Recorded`), the outcome last. Every one of these is an append that is refused once the attempt is superseded, so a
process that comes back from the dead writes nothing and changes nothing.

A handler may say NotYet, Retryable or Fatal. Anything else is an unknown outcome: look where the targets stand,
halt, show people. `Unreachable` while only looking (planning, observing) is Retryable: nothing can have been done. An
exception in a check is `unknown`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import ValidationError

from bot.contract import (
    AnyAction,
    Change,
    Fatal,
    Json,
    NotYet,
    Params,
    Receipt,
    Retryable,
    Scope,
    Status,
    Value,
    Verdict,
)
from bot.engine import bounded
from bot.handlers.narrow import narrow
from bot.handlers.registry import Registry
from bot.plan.model import StepSpec, resolve
from bot.ports import Ports, ReadOnly, Record, Unreachable
from bot.redaction.redactor import SecretInChange
from bot.run import events as ev
from bot.run.deadlines import why_stop
from bot.run.state import Run, Step, underneath

log = logging.getLogger(__name__)

IN_STEP = 60.0
"""Seconds that a pass may spend waiting for effects before it ends and a timer takes over."""
LOOK_WITHIN = 20.0
"""Seconds for finding out where a step stands that was given up."""
LOOK_AFTER = 2.0
"""Seconds between looks whether an undo has arrived."""


NOWHERE: Mapping[str, str] = {}


class Away(Retryable):
    """Places did not answer while only looking: nothing can have been done."""

    def __init__(self, error: Unreachable) -> None:
        super().__init__(str(error))
        self.parts = error.parts


class Superseded(Exception):
    """Another attempt owns this step now, or people stopped it: nothing more may be written or changed."""


class Log(Protocol):
    """What a pass needs of the reconciler."""

    async def recent(self, run: str) -> Run: ...
    async def submit(self, run: str, *events: ev.Event) -> str | None: ...
    async def progress(self, run: str, step: str, text: str, done: int | None, total: int | None) -> None: ...
    async def rest(self, seconds: float) -> bool: ...
    async def voters(self, run: Run, step: Step) -> tuple[str, tuple[str, ...]]: ...


PortsOf = Callable[[Run, Record], Ports]
"""(run, record) -> the ports of the run's service, as things stand in the run; writing only through `record`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """ReadCtx."""

    ports: Ports
    now: datetime
    baseline: Mapping[str, Json] | None = None


@dataclass(slots=True)
class Acting:
    """Ctx: what `apply` gets. clock: gives the present moment, aware, in UTC."""

    ports: Ports
    clock: Callable[[], datetime]
    baseline: Mapping[str, Json] | None
    key: str
    note: Callable[[str, Json], Awaitable[None]]
    say: Callable[[str, int | None, int | None], Awaitable[None]]
    memo: dict[str, Json] = field(default_factory=dict)
    insisted: str = ""

    @property
    def now(self) -> datetime:
        """The present moment: an attempt that waits within one pass sees time go on."""
        return self.clock()

    async def report(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Shows progress."""
        await self.say(text, done, total)

    async def once(self, name: str, fn: Callable[[], Awaitable[Json]]) -> Json:
        """Calls `fn` unless its result is recorded."""
        if name not in self.memo:
            value = await fn()
            await self.note(name, value)
            self.memo[name] = value
        return self.memo[name]


@dataclass(frozen=True, slots=True)
class Execution:
    """Everything one pass works with: the run as it was when the pass began, and the step's handler."""

    log: Log
    registry: Registry
    ports_of: PortsOf
    clock: Callable[[], float]
    run: Run
    step: Step

    # -- what it is about ------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.step.spec.id

    @property
    def n(self) -> int:
        return self.step.n

    @property
    def scope(self) -> Scope:
        """What of the catalogue it sees, as the run was when the pass began."""
        return self.run.scope(self.step)

    def params(self, spec: StepSpec) -> Any:
        """The step's parameters with every reference resolved. Fatal where one has no value or does not fit."""
        handler = self.registry.get(spec.uses)
        if handler is None:
            raise Fatal(
                f"this version of the bot has no {spec.uses}", "install the version that has it, then try again"
            )
        kind: type[Params] = handler.Params
        try:
            return kind.model_validate(resolve(spec.params or {}, self.run.value))
        except LookupError as e:
            raise Fatal(f"needs a value that is not there: {e}", "look at the step it comes from") from e
        except ValidationError as e:
            bad = e.errors(include_url=False)[0]
            raise Fatal(f"{'.'.join(map(str, bad['loc']))}: {bad['msg']}", "the plan and this version differ") from e

    def fingerprint(self, change: Change) -> str:
        """What an approval of this change binds: what is done, and where."""
        return change.fingerprint(self.step.spec.uses, self.run.where(self.step.spec))

    def reading(self, spec: StepSpec) -> Reading:
        """A context that can read only what the step declares, and write nothing."""
        baseline = self.run.steps[spec.baseline].output if spec.baseline else None
        return Reading(self._ports(spec, _read_only), self._now(), baseline)

    def acting(self, spec: StepSpec, *, looking: bool = False) -> Acting:
        """A context that may write, each command recorded first. looking: it may not, for what is done already."""
        record, note = (_read_only, _no_note) if looking else (self._record, self._note)
        key = f"{self.run.id}/{self.id}/{self.step.turn}"
        baseline = self.run.steps[spec.baseline].output if spec.baseline else None
        return Acting(self._ports(spec, record), self._now, baseline, key, note, self._say,
                      dict(self.step.memo), self.step.insisted)  # fmt: skip

    def _ports(self, spec: StepSpec, record: Record) -> Ports:
        return narrow(self.ports_of(self.run, record), spec.needs, self.scope)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    # -- writing ---------------------------------------------------------------------------------------------------

    async def write(self, *events: ev.Event) -> None:
        """Appends, or raises Superseded."""
        if why := await self.log.submit(self.run.id, *events):
            raise Superseded(why)

    async def _record(self, command: str) -> None:
        await self.write(ev.Recorded(self.id, self.n, command))

    async def _note(self, name: str, value: Json) -> None:
        await self.write(ev.Noted(self.id, self.n, name, value))

    async def _say(self, text: str, done: int | None, total: int | None) -> None:
        await self.log.progress(self.run.id, self.id, text, done, total)

    # -- the pass --------------------------------------------------------------------------------------------------

    async def go(self) -> None:
        """Runs the attempt in flight to one recorded outcome."""
        attempt = self.step.attempt
        if attempt is None:
            return
        try:
            if attempt.doing == "check":
                await self._check()
            elif attempt.doing == "plan":
                await (self._see() if self.step.unseen else self._adopt() if self.step.adopting else self._plan())
            else:
                await self._act()
        except (Superseded, asyncio.CancelledError):
            raise
        except NotYet as e:
            await self.write(ev.Waiting(self.id, self.n, bounded.text(str(e)), self.clock() + e.after, e.done, e.total))
        except Retryable as e:
            parts = e.parts if isinstance(e, Away) else {}
            await self._fail("retryable", str(e), retry_at=self.clock() + e.after, parts=parts)
        except Fatal as e:
            await self._fail("fatal", str(e), e.hint)
        except Unreachable as e:
            hint = "try again when it is back" if e.parts else "see what is true now, then try again or undo"
            await self._fail("fatal" if e.parts else "unknown", str(e), hint, parts=e.parts)
        except SecretInChange as e:
            await self._fail("fatal", str(e), "hand secrets over by reference, never by value")
        except Exception as e:
            log.warning("attempt %s of %s/%s failed", self.n, self.run.id, self.id, exc_info=True)
            await self._fail("unknown", _words(e), "see what is true now, then try again or undo")

    async def _fail(
        self, cause: Any, error: str, hint: str = "", retry_at: float | None = None, parts: Mapping[str, str] = NOWHERE
    ) -> None:
        seen = {} if cause == "retryable" else await self._look(parts)
        error, hint = bounded.text(error), bounded.text(hint)
        parts = {name: bounded.text(why) for name, why in parts.items()}
        await self.write(ev.Failed(self.id, self.n, cause, error, hint, retry_at, seen, parts))

    async def _look(self, away: Collection[str] = ()) -> Mapping[str, Value]:
        """Where the targets stand after a failure, as far as can be seen; never a reason to fail again."""
        step = (await self.log.recent(self.run.id)).steps[self.id]
        if step.change is None or not step.applying:
            return {}
        there = Scope(frozenset(away)).of(self.scope.of(step.change))
        try:
            return await self._observe(step.spec, there.targets) if there.edits else {}
        except Exception:
            log.info("cannot look at %s of %s after its failure", self.id, self.run.id, exc_info=True)
            return {}

    # -- planning --------------------------------------------------------------------------------------------------

    async def fresh(self) -> tuple[Change, dict[str, Value]]:
        """What the step would change as the world is now, and what others changed meanwhile (undo only)."""
        source = self.run.undoes(self.step)
        if source is not None:
            made = self.scope.of(source.made) if source.made is not None else None
            if made is None or not (made.edits or made.effects):
                return Change(f"nothing of {source.spec.id} is left to undo"), {}
            return made.undo_from(await self._observe(source.spec, made.targets), self.step.leave)
        action = self._action(self.step.spec)
        params = self.params(self.step.spec)
        with _only_looking():
            async with asyncio.timeout(self.step.spec.timeout):
                change = await action.plan(self.reading(self.step.spec), params)
        return self.scope.of(change).on_top_of(()), {}  # as when planned ahead: an edit that alters nothing is none

    async def _observe(self, spec: StepSpec, targets: Collection[str]) -> Mapping[str, Value]:
        action = self._action(spec)
        with _only_looking():
            async with asyncio.timeout(spec.timeout):
                return await action.observe(self.reading(spec), self.params(spec), targets)

    def _action(self, spec: StepSpec) -> AnyAction:
        action = self.registry.actions.get(spec.uses)
        if action is None:
            raise Fatal(
                f"this version of the bot has no {spec.uses}", "install the version that has it, then try again"
            )
        return action

    async def _plan(self) -> None:
        change, left = await self.fresh()
        change = change.on_top_of(underneath(self.run, self.step))
        print_ = self.fingerprint(change)
        await self.write(ev.Planned(self.id, self.n, change, print_, left))

    async def _adopt(self) -> None:
        change, left = await self.fresh()
        if change.edits or left:
            there = "; ".join(
                [*(f"{e.target} is {e.before!r}" for e in change.edits), *(f"{t} is {v!r}" for t, v in left.items())]
            )
            raise Fatal(f"not done yet: {there}", "finish it by hand and adopt it again, or try again")
        known = self.step.change or change
        seen = await self._observe(self.step.spec, known.targets) if known.targets else {}
        if strayed := known.strayed(change, seen):
            raise Fatal(f"not done yet: {'; '.join(strayed)}", "finish it by hand and adopt it again, or try again")
        told = await self._told(change)
        await self.write(ev.Adopted(self.id, self.n, seen, change.summary, told.output))

    async def _see(self) -> None:
        """Where a step stands that was given up. Whatever goes wrong is said, and tried no more: an abort ends."""
        targets = self.scope.of(self.step.made).targets if self.step.made is not None else ()
        seen: Mapping[str, Value] = {}
        error = ""
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                seen = await self._observe(self.step.spec, targets)
        except asyncio.CancelledError:
            raise
        except Exception as e:
            error = _words(e)
        await self.write(ev.Seen(self.id, self.n, seen, error))

    # -- acting ----------------------------------------------------------------------------------------------------

    async def _act(self) -> None:
        change = await self._change()
        if change is None:
            return
        action, params = self._action(self.step.spec), self.params(self.step.spec)
        begun = replace(self, step=(await self.log.recent(self.run.id)).steps[self.id])  # its key and memo, as begun
        ctx = begun.acting(self.step.spec)
        if self.run.undoes(self.step) is not None:
            receipt = await self._in_step(ctx, lambda: action.apply(ctx, params, change))
            seen = await self._in_step(ctx, lambda: self._arrived(change))
            back = replace(receipt, detail=change.once_back(receipt.detail))
            await self.write(ev.Undone(self.id, self.n, back, seen))
            return
        end = Arrival(begun, change)

        async def once() -> Receipt:
            done: Receipt = await action.apply(ctx, params, change)
            await end.reached()
            return done

        try:
            receipt = await self._in_step(ctx, once)
        except WorldMoved as e:
            await self.write(ev.Drifted(self.id, self.n, e.change, self.fingerprint(e.change), e.how))
            return
        _fits(action.Output, receipt.output)
        await self.write(ev.Applied(self.id, self.n, receipt))

    async def _change(self) -> Change | None:
        """The change to make, written down as begun; None where there is nothing (more) to do in this pass."""
        step, undoing = self.step, self.run.undoes(self.step) is not None
        if step.applying and not step.replan and step.change is not None:
            return step.change
        fresh, left = await self.fresh()
        print_ = self.fingerprint(fresh)
        if left:
            await self.write(ev.Planned(self.id, self.n, fresh, print_, left))
            return None
        base = step.released or (step.change if step.replan else None)
        beyond = fresh.beyond(step.released) if step.released is not None else ()
        if base is not None:
            base = self.scope.of(base)
            base = replace(base, edits=tuple(e for e in base.edits if e.target not in step.leave))
            beyond = (*beyond, *await self.strayed(base, fresh))
        if beyond:
            await self.write(ev.Drifted(self.id, self.n, fresh, print_, beyond))
            return None
        there = tuple(e.target for e in base.missing_from(fresh)) if base is not None else ()
        change = base.whole(fresh) if base is not None else fresh
        if change.is_noop:
            done = await self._told(change)
            over = ev.Undone(self.id, self.n, done, {}) if undoing else ev.Applied(self.id, self.n, done)
            await self.write(ev.Planned(self.id, self.n, change, print_), over)
            return None
        gone, unasked = await self.log.voters(self.run, step) if not step.applying else ("", ())
        asked = self.run.decision_of(step)
        if gone and asked is not None:
            await self.write(ev.Lapsed(asked.spec.name, gone))
            return None
        begun = ev.ApplyStarted(self.id, self.n, change, print_, there, unasked)
        await self.write(*([] if step.change == fresh else [ev.Planned(self.id, self.n, fresh, print_)]), begun)
        return change

    async def strayed(self, approved: Change, fresh: Change) -> tuple[str, ...]:
        """What of a change is neither done nor in a fresh plan, in words."""
        missing = [e.target for e in approved.missing_from(fresh)]
        spec = (self.run.undoes(self.step) or self.step).spec
        return approved.strayed(fresh, await self._observe(spec, missing)) if missing else ()

    async def _told(self, change: Change) -> Receipt:
        """What a step hands on that has nothing (more) to do: where its action declares an Output, `apply` gives it,
        for a change that holds nothing and on ports that only read."""
        action, nothing = self._action(self.step.spec), Change(change.summary)
        if action.Output is None or self.run.undoes(self.step) is not None:
            return Receipt(change.summary)
        ctx, params = self.acting(self.step.spec, looking=True), self.params(self.step.spec)
        with _only_looking():
            receipt: Receipt = await self._in_step(ctx, lambda: action.apply(ctx, params, nothing))
        _fits(action.Output, receipt.output)
        return receipt

    async def _in_step(self, ctx: Acting, call: Callable[[], Awaitable[Any]]) -> Any:
        """Calls until it no longer says NotYet, for at most IN_STEP seconds of waiting and while this process
        goes on; then NotYet is how the pass ends, and whoever is there when it is due takes over."""
        until = self.clock() + IN_STEP
        while True:
            try:
                return await call()
            except NotYet as e:
                if self.clock() + e.after > until:
                    raise
                await ctx.report(str(e), e.done, e.total)
                if not await self.log.rest(e.after):
                    raise

    async def _arrived(self, change: Change) -> Mapping[str, Value]:
        seen = await self._observe(self.step.spec, change.targets)
        short = [e for e in change.edits if not e.arrived(seen.get(e.target))]
        if short:
            text = f"{short[0].target} is {seen.get(short[0].target)!r}, not yet {short[0].after!r}"
            raise NotYet(text, after=LOOK_AFTER, done=len(change.edits) - len(short), total=len(change.edits))
        return seen

    # -- checking --------------------------------------------------------------------------------------------------

    async def _check(self) -> None:
        spec = self.step.spec
        if spec.kind == "check":
            verdict = await self.look_once(spec)
        else:
            seen = await asyncio.gather(*(self.look_once(self.run.plan.by_id[i]) for i in spec.repeat))
            verdict = together(dict(zip(spec.repeat, seen, strict=True)))
        await self.write(ev.Checked(self.id, self.n, bounded.verdict(verdict)))

    async def look_once(self, spec: StepSpec) -> Verdict:
        """One look of one check. Whatever goes wrong is `unknown`."""
        check = self.registry.checks.get(spec.uses)
        if check is None:
            return Verdict(Status.UNKNOWN, f"this version of the bot has no {spec.uses}", "an answer")
        try:
            async with asyncio.timeout(spec.timeout):
                verdict = await check.run(self.reading(spec), self.params(spec))
            _fits(check.Output, verdict.data) if verdict.data else None
            return verdict
        except asyncio.CancelledError:
            raise
        except Exception as e:
            return Verdict(Status.UNKNOWN, _words(e), "an answer")

    # -- ending otherwise ------------------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Whether people, or the step's time, have ended the attempt already."""
        return bool(why_stop(self.step, self.clock()))

    async def cancelled(self) -> None:
        """A cancelled attempt reports itself, but only if people or its timeout wanted it to end: after a mere
        shutdown the step is taken over as it is."""
        if why := why_stop(self.step, self.clock()):
            await self.log.submit(self.run.id, ev.Cancelled(self.id, self.n, why))


class WorldMoved(Exception):
    """Somebody has changed something meanwhile, so that it would take more than was approved. change: what is left;
    how: the differences, a line each."""

    def __init__(self, change: Change, how: tuple[str, ...]) -> None:
        super().__init__("; ".join(how))
        self.change, self.how = change, how


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whether the world is where a change was to lead: what is done is judged by that, not by what `apply` says."""

    attempt: Execution
    change: Change

    async def reached(self) -> None:
        """NotYet while something of it is left to do; WorldMoved where that is more than was approved, at two looks
        in a row: some things show late, and nothing may be done about what others did before people were asked."""
        if not self.change.edits:  # it is not about the world
            return
        fresh, how = await self._look()
        if how:
            await self.attempt.log.rest(LOOK_AFTER)
            fresh, how = await self._look()
        if how:
            raise WorldMoved(fresh, how)
        if fresh.edits:
            done, total = max(0, len(self.change.edits) - len(fresh.edits)), len(self.change.edits)
            raise NotYet(f"{fresh.edits[0].target} is not at its end yet", after=LOOK_AFTER, done=done, total=total)

    async def _look(self) -> tuple[Change, tuple[str, ...]]:
        """What is left to do, and in which ways that is more than was approved."""
        fresh, _ = await self.attempt.fresh()
        approved = replace(self.attempt.step.released or self.change, facts=(), reversible=False)
        beyond = Change(fresh.summary, fresh.edits, reversible=False).beyond(approved)
        return fresh, (*beyond, *await self.attempt.strayed(self.change, fresh))


def together(seen: Mapping[str, Verdict]) -> Verdict:
    """One verdict over several checks: the worst status, and what was seen where it is not a pass."""
    order = [Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL]
    worst = max((v.status for v in seen.values()), key=order.index, default=Status.UNKNOWN)
    passed = sum(v.status is Status.PASS for v in seen.values())
    others = [f"{i}: {v.observed}" for i, v in seen.items() if v.status is not Status.PASS]
    text = "; ".join([f"{passed} of {len(seen)} pass", *others])
    return Verdict(worst, text, "every check passes", {i: v.status.value for i, v in seen.items()})


async def _read_only(command: str) -> None:
    raise ReadOnly(f"tried while only looking: {command}")


async def _no_note(name: str, value: Json) -> None:
    raise ReadOnly(f"tried while only looking: once({name!r})")


@contextlib.contextmanager
def _only_looking() -> Iterator[None]:
    """Who does not answer is asked again: nothing can have been done."""
    try:
        yield
    except Unreachable as e:
        raise Away(e) from e


def _fits(kind: Any, data: Mapping[str, Json]) -> None:
    if kind is not None:
        kind.model_validate(dict(data))


def _words(e: Exception) -> str:
    if isinstance(e, TimeoutError) and not str(e):
        return "no answer in time"
    return f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
