"""Holds the world's journal against the event log: nothing lost, nothing overlapping, nothing twice, undo data whole.

Each rule is a function of a `Case` and independent of the product's fold. What is not a fault, but is to be told
honestly (a post repeated because the process died between the effect and its record, a request that landed after its
sender was dead), is counted.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from bot.contract import Json
from tests.torture.eyes import Row, broken, cut
from tests.torture.permission import permitted
from tests.torture.trace import Application, Attempt, Trace
from tests.torture.verdicts import Case, Finding
from tests.torture.world import Entry, initial

SLOW = 0.5
"""Seconds that a commit may take on a busy machine: between a moment and when it was really written down."""


def audit(case: Case) -> list[Finding]:
    """Every rule over everything; the findings are kept in the case as well."""
    for rule in RULES:
        rule(case)
    return case.findings


# -- the log by itself -----------------------------------------------------------------------------------------------


def chain(case: Case) -> None:
    """No gaps, every hash follows, no checkpoint knows more than the log."""
    for run, rows in case.rows.items():
        for text in broken(rows):
            case.fault("chain", run, text)
    for text in cut(case.rows, case.checkpoints):
        case.fault("chain", "-", text)


def sequence(case: Case) -> None:
    """Attempts follow one another, and none speaks after its end."""
    for run, trace in case.traces.items():
        for text in trace.faults:
            case.fault("sequence", run, text)


def closing(case: Case) -> None:
    """Every run ends, with nothing in flight and no debt that nobody has."""
    for run, why in case.stuck.items():
        case.fault("stuck", run, why)
    for run, trace in case.traces.items():
        if trace.closed is None:
            continue
        for a in trace.in_flight:
            case.fault("closing", run, f"closed while attempt {a.n} of {a.step} was in flight")
        for step in _debts(trace):
            case.fault("debts", run, f"closed as {trace.closed.body['outcome']!r}, and {step} is still in place")


def _debts(trace: Trace) -> list[str]:
    """Temporary steps in place that are nobody's."""
    owed: set[str] = set()
    for r in trace.rows:
        step = r.body.get("step", "")
        spec = trace.specs.get(step)
        if r.kind == "apply started" and spec and spec["temporary"] and r.body["change"]["edits"]:
            if trace.attempts[step, r.body["n"]].doing == "apply":
                owed.add(step)
        elif r.kind == "handed over":
            owed.discard(step)
        else:
            owed.discard(trace.paid(r))
    return sorted(owed)


def said_once(case: Case) -> None:
    """What one person said once stands in one append, however often it was delivered."""
    for run, trace in case.traces.items():
        heard: dict[str, list[Row]] = defaultdict(list)
        for r in trace.rows[1:]:
            by = r.body.get("by")
            if isinstance(by, dict) and r.kind not in ("skipped", "accepted", "retargeted"):  # as first proposed
                heard[by["via"]].append(r)
        for key, rows in heard.items():
            if len({r.at for r in rows}) > 1:
                case.fault("said once", run, f"{key} was carried out at events {[r.seq for r in rows]}")


# -- the log against the journal -------------------------------------------------------------------------------------


def recorded(case: Case) -> None:
    """Every request that changes something was in the log, as a command of its attempt, before it was sent."""
    sent: Counter[object] = Counter()
    for e in sorted((e for e in case.journal if e.what in ("put", "post")), key=lambda e: e.arrived):
        sent[e.attempt] += 1
        case.counts["requests"] += 1
        if e.recorded < sent[e.attempt]:
            what = f"request {sent[e.attempt]} of {e.attempt} for {e.path} arrived, {e.recorded} were recorded"
            case.fault("recorded", e.attempt.run if e.attempt else "-", what)


def written_down(case: Case) -> None:
    """What was done is what the attempt's application said it would do, over the value that it named."""
    for e, trace, a in _effects(case):
        app = trace.applications[a.step, a.application]
        begun = [r for r in app.began if r.seq <= e.seen]
        if not begun:
            case.fault("written down", trace.id, f"{e.path} changed by {e.attempt} before any `apply started`")
            continue
        edits = {x["target"]: x for r in begun for x in r.body["change"]["edits"]}
        if e.what == "post":
            if not begun[-1].body["change"]["effects"]:
                case.fault("written down", trace.id, f"{e.attempt} posted, which it had not announced")
            continue
        edit = edits.get(e.path)
        if edit is None or edit["after"] != e.after:
            case.fault("written down", trace.id, f"{e.path} became {e.after!r} by {e.attempt}; written was {edit}")
        elif edit["bound"] and edit["before"] != e.before:
            case.fault("written down", trace.id, f"{e.path} was {e.before!r} when {e.attempt} changed it, not {edit}")


def fenced(case: Case) -> None:
    """No effect of an attempt after the log has ended it, but for what was on the wire by then."""
    for e, trace, a in _effects(case):
        case.counts["effects"] += 1
        if a.ended is None or e.seq < a.ended.seq:
            continue
        if e.seen < a.ended.seq:
            case.counts["landed after the end of their attempt"] += 1
        elif case.frozen_since(e.pid, e.at):
            case.fault("thawed", trace.id, f"{e.attempt} changed {e.path} after it was thawed, ended as {a.ended.kind}")
        else:
            case.fault("fenced", trace.id, f"{e.attempt} changed {e.path}, but {a.ended.kind} is event {a.ended.seq}")


def quiet(case: Case) -> None:
    """While a run is stopped nothing is changed; after an abort only debts are restored."""
    for run, trace in case.traces.items():
        stopped = aborted = False
        for r in trace.rows:
            stopped = r.kind == "stopped" or (stopped and r.kind not in ("resumed", "aborted"))
            aborted = aborted or r.kind == "aborted"
            if r.kind != "recorded" or not (stopped or aborted):
                continue
            doing = trace.attempts[r.body["step"], r.body["n"]].doing
            if stopped or doing != "undo":
                how = "stopped" if stopped else "aborted"
                case.fault("quiet", run, f"{r.body['step']} was changed at event {r.seq} while {how}")


def once(case: Case) -> None:
    """Each document changes once a key (an application, or what people made of it half-way); each post is made once,
    or its repetition is explained."""
    writes: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for e, trace, a in _effects(case):
        key, _ = trace.key_of(a)
        if e.key != key:
            case.fault("once", trace.id, f"{e.attempt} used the key {e.key!r}, its own is {key!r}")
        writes[key, e.path].append(e)
    for (key, path), found in writes.items():
        for one, two in itertools.pairwise(found):
            if one.what == "post":
                _twice(case, key, one, two)
            elif not any(x.path == path and one.at < x.at < two.at and x.key != key for x in _writes(case)):
                case.fault(
                    "once", key.split("/")[0], f"{path} was changed twice by {key}: {one.attempt}, {two.attempt}"
                )


def _writes(case: Case) -> Iterable[Entry]:
    return (e for e in case.journal if e.what == "foreign" or (e.what == "put" and e.changed))


def _twice(case: Case, key: str, one: Entry, two: Entry) -> None:
    """A post that was repeated: only if nobody can have noted the first."""
    assert one.attempt is not None
    trace = case.traces[one.attempt.run]
    a = trace.attempts[one.attempt.step, one.attempt.n]
    _, since = trace.key_of(a)
    noted = [r for r in trace.applications[a.step, a.application].of("noted") if since < r.seq <= two.seen]
    ended = a.ended.kind if a.ended else "nothing"
    if noted:
        case.fault("once", trace.id, f"{key} posted again by {two.attempt} although event {noted[0].seq} notes it")
    elif case.gone(one.pid) <= two.arrived or case.died(one.pid, one.arrived, two.at):
        case.counts["posts repeated: died before the note"] += 1
    elif ended in ("cancelled", "failed"):
        case.counts[f"posts repeated: {'cancelled' if ended == 'cancelled' else 'no answer'} before the note"] += 1
    else:
        case.fault("once", trace.id, f"{key} posted twice, by {one.attempt} ({ended}) and {two.attempt}")


def in_place(case: Case) -> None:
    """When a step says it is applied, its documents are what it said; nothing of it is lost."""
    for trace in case.traces.values():
        for app in trace.applications.values():
            if app.undoing or app.ended is None or not app.began or _fresh_noop(app):
                continue
            case.counts["steps applied"] += 1
            for target, edit in app.last.items():
                if not _stood(case, target, edit["after"], app.began[0].seconds, app.ended.seconds):
                    now = _value(case, target, app.ended.seconds)
                    case.fault(
                        "lost", trace.id, f"{app.key} is applied, but {target} is {now!r}, not {edit['after']!r}"
                    )
            key, _ = trace.key_of(app.attempts[-1])
            posts = [e for e in case.journal if e.what == "post" and e.key == key]
            if app.began[-1].body["change"]["effects"] and not posts:
                case.fault("lost", trace.id, f"{app.key} is applied, but its post was never made")


def _fresh_noop(app: Application) -> bool:
    """It looked anew after a halt, and found that nothing was left to do."""
    return not app.of("planned")[-1].body["change"]["edits"] if app.of("planned") else False


def put_back(case: Case) -> None:
    """Undo data are what was there before the first effect; and when a step says it is undone, it is."""
    for trace in case.traces.values():
        for app in trace.applications.values():
            if app.undoing:
                _undone(case, trace, app)
            else:
                _undo_data(case, trace, app)


def _undo_data(case: Case, trace: Trace, app: Application) -> None:
    first = _first_writes(case, app)
    for target, edit in app.first.items():
        said = next(r for r in app.began if target in {e["target"] for e in r.body["change"]["edits"]})
        looked = trace.attempts[app.step, said.body["n"]].started.seconds
        stood = _values(case, target, looked, said.seconds) + ([first[target].before] if target in first else [])
        if edit["before"] not in stood:
            text = f"{app.key}: {target} was {stood}, the undo data say {edit['before']!r}"
            case.fault("undo data", trace.id, text)
    mine = [a for (s, _), a in trace.applications.items() if s == app.step and not a.undoing and a.began]
    made = case.made.get((trace.id, app.step))
    if made is not None and mine and mine[-1] is app:
        want = befores(trace, app)
        if made != want:
            case.fault("undo data", trace.id, f"{app.key}: the run keeps {made} to put back, it must be {want}")


def _undone(case: Case, trace: Trace, app: Application) -> None:
    if app.ended is None or app.source is None:
        return
    case.counts["undos"] += 1
    left = {t for r in app.of("planned") for t in r.body["left"]}
    for target, want in befores(trace, app.source).items():
        if target in left or _stood(case, target, want, app.attempts[0].started.seconds, app.ended.seconds):
            continue
        now = _value(case, target, app.ended.seconds)
        case.fault("put back", trace.id, f"{app.key} is undone, but {target} is {now!r}; it was {want!r}")


def befores(trace: Trace, app: Application) -> dict[str, Json]:
    """Target -> what an undo puts back: what was there before the first application whose work was still in place."""
    found: dict[str, Json] = {}
    for a in trace.standing(app):
        for target, edit in a.first.items():
            found.setdefault(target, edit["before"])
    return found


def _first_writes(case: Case, app: Application) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for e in case.journal:
        if e.what == "put" and e.changed and app.owns(e.key):
            found.setdefault(e.path, e)
    return found


def _stood(case: Case, path: str, value: Json, since: float, until: float) -> bool:
    """Whether a document is this at the end of the time; or was, and somebody else has changed it meanwhile."""
    if _value(case, path, until) == value:
        return True
    later = [e for e in _writes(case) if e.path == path and since <= e.at <= until]
    return (
        bool(later)
        and later[-1].what == "foreign"
        and (any(e.after == value for e in later[:-1]) or later[0].before == value)
    )


def _value(case: Case, path: str, at: float) -> Json:
    found = initial(path)
    for e in _writes(case):
        if e.path == path and e.at <= at:
            found = e.after
    return found


def _values(case: Case, path: str, since: float, until: float) -> list[Json]:
    """Everything that a document was within that time."""
    return [_value(case, path, since), *(e.after for e in _writes(case) if e.path == path and since < e.at <= until)]


def alone(case: Case) -> None:
    """Two attempts of one step are never inside its handler at the same time."""
    inside: dict[str, list[Entry]] = defaultdict(list)
    for e in case.journal:
        if e.what == "leave":
            inside[e.path] = [x for x in inside[e.path] if x.attempt != e.attempt]
        elif e.what == "enter":
            case.counts["passes"] += 1
            others = [x for x in inside[e.path] if case.gone(x.pid) > e.at and x.attempt != e.attempt]
            for x in others:
                case.fault("overlap", e.path.split("/")[0], f"{e.attempt} entered while {x.attempt} was inside")
            inside[e.path] = [*others, e]
        if e.pid and (freeze := case.frozen_since(e.pid, e.at)) and e.at > freeze.until:
            case.counts["requests by thawed processes"] += 1


def in_order(case: Case) -> None:
    """A step acts only when those that it waits for have ended."""
    over = ("applied", "undone", "checked", "skipped", "accepted", "not needed", "adopted", "failed")
    for run, trace in case.traces.items():
        ended: dict[str, int] = {}
        for r in trace.rows:
            if r.kind in over or (r.kind == "cancelled" and trace.specs[r.body["step"]]["on_fail"] == "continue"):
                ended.setdefault(r.body["step"], r.seq)
            elif r.kind in ("approved", "broke glass", "taken"):
                for s in trace.decisions.get(r.body["decision"], {}).get("members", ()):
                    if trace.specs[s]["kind"] == "gate":
                        ended.setdefault(s, r.seq)
        for app in trace.applications.values():
            if app.began and not (app.undoing and trace.specs[app.step]["kind"] != "undo"):
                for a in trace.specs[app.step]["after"]:
                    if ended.get(a, 1 << 60) > app.began[0].seq:
                        case.fault("order", run, f"{app.step} acted at event {app.began[0].seq}, before {a} had ended")


def _effects(case: Case) -> Iterable[tuple[Entry, Trace, Attempt]]:
    """Every change that an attempt made, with its run and attempt in the log."""
    for e in case.journal:
        if e.changed and e.attempt is not None:
            trace = case.traces.get(e.attempt.run)
            a = trace.attempts.get((e.attempt.step, e.attempt.n)) if trace else None
            if trace is None or a is None:
                case.fault("written down", e.attempt.run, f"{e.path} was changed by {e.attempt}, unknown to the log")
                continue
            yield e, trace, a


def approved(case: Case) -> None:
    """What needed people's consent had it, all of it, for exactly this, before it was done."""
    for e, trace, a in _effects(case):
        app = trace.applications[a.step, a.application]
        if why := permitted(trace, app, e):
            case.fault("approved", trace.id, f"{e.path} was changed by {e.attempt}: {why}")


def placed(case: Case) -> None:
    """Each effect is made at the place that its run was pinned to, when it was asked for or when it took effect."""
    for e, trace, _ in _effects(case):
        pinned = [r for r in trace.of("created", "relocated") if r.body.get("places")]
        then = [r for r in pinned if r.seq <= e.seen][-1:] + [r for r in pinned if e.seen < r.seq <= e.seq]
        meant = {w["at"] for r in then for w in r.body["places"].values()}
        if meant and e.place not in meant:
            case.fault("placed", trace.id, f"{e.path} was changed by {e.attempt} at {e.place}, not at {sorted(meant)}")


def in_time(case: Case) -> None:
    """No step runs out of time before it is up, whatever a clock says."""
    for trace in case.traces.values():
        for r in trace.of("failed", "cancelled"):
            a = trace.attempts.get((r.body["step"], r.body["n"]))
            if "timeout" not in (r.body.get("cause"), r.body.get("why")) or a is None:
                continue
            app = trace.applications.get((a.step, a.application))
            first = app.attempts[0] if app is not None else a
            alone = first.node == "local"  # on SQLite, where no other clock tells
            if alone and any(first.started.seconds < d.at < r.seconds for d in case.deaths):
                continue  # time that passes while nobody is there, and a clock that is set meanwhile, look the same
            took, may = r.seconds - first.started.seconds, trace.specs[a.step]["timeout"]
            if took < 0.9 * may - SLOW:
                case.fault("in time", trace.id, f"{a.step} ran out of its {may:g} s after {took:.1f} s (event {r.seq})")


def probed(case: Case) -> None:
    """Whatever floods a node, it says that it is alive."""
    for f in case.floods:
        frozen = any(x.pid == f.pid and x.since < f.until and x.until > f.since for x in case.freezes)
        if f.alive and f.asked and not f.answered and not frozen:
            case.fault("probed", "-", f"process {f.pid} answered none of {f.asked} probes in a flood")
        case.counts["probes in floods"] += f.asked
        case.counts["probes in floods that were answered"] += f.answered


RULES: tuple[Callable[[Case], None], ...] = (
    chain, sequence, closing, said_once, recorded, written_down, fenced, quiet, once, in_place, put_back, alone,
    in_order, approved, placed, in_time, probed,
)  # fmt: skip
