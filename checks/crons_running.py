"""V4: the service's CronJobs run when they are due and end well, and no Job of it hangs or has failed.

What counts is a run since the release that came back stands there and the schedule is on again: a success of before is
the removed release's. So a schedule that was not due since then has shown nothing: unknown where it is due soon, a
warning where it is not, for a run need not wait for tomorrow night.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Json, Unreachable, told
from bot.ports.kubernetes import IMAGE, OURS, Cluster, Denied, Thing
from bot.ports.schedules import due

EXPECTED = "every CronJob ran when it was due and ended well, and no Job hangs or has failed"
DAY = timedelta(days=1)


class CronsRunningParams(Params):
    """What is late."""

    grace: float = Field(120.0, ge=0, description="Seconds that a run may take to start and to end.")
    hangs: float = Field(3600.0, gt=0, description="Seconds that a job may run.")
    soon: float = Field(900.0, ge=0, description="Seconds ahead within which a schedule that is due is waited for.")


class CronsRunningOutput(Output):
    """How they run."""

    success: dict[str, str] = Field(description="CronJob -> when it ended well last (RFC 3339).")
    faults: dict[str, str] = Field(description="CronJob or Job -> what is wrong; empty where nothing is.")
    unknown: dict[str, str] = Field(description="Cluster or CronJob -> why nothing is known of it.")


@dataclass(frozen=True, slots=True)
class JudgedCron:
    """What is to be said of one of them."""

    status: Status
    words: str


class CronsRunning(Check[CronsRunningParams]):
    """Passes when every CronJob of the service ran when it was due and ended well, and no Job hangs or has failed."""

    name = "crons.running"
    needs = frozenset({"kubernetes"})
    Params = CronsRunningParams
    Output = CronsRunningOutput

    async def run(self, ctx: ReadCtx, p: CronsRunningParams) -> Verdict:
        clusters = ctx.ports.kubernetes.clusters
        answers = await asyncio.gather(*(_of(ctx, p, c) for c in clusters))
        judged, success = dict[str, JudgedCron](), dict[str, str]()
        for cluster, answer in zip(clusters, answers, strict=True):
            if isinstance(answer, str):
                judged[cluster.name] = JudgedCron(Status.UNKNOWN, answer)
                continue
            judged |= answer[0]
            success |= answer[1]
        worst = next((s for s in _ORDER if any(j.status is s for j in judged.values())), Status.PASS)
        shown = {place: j.words for place, j in judged.items() if j.status is worst}
        seen = CronsRunningOutput(
            success=success,
            faults={place: j.words for place, j in judged.items() if j.status is Status.FAIL},
            unknown={place: j.words for place, j in judged.items() if j.status is Status.UNKNOWN},
        )
        return Verdict(worst, told(shown) or "the service has no CronJobs", EXPECTED, seen.model_dump())


_ORDER = (Status.FAIL, Status.UNKNOWN, Status.WARN)


async def _of(ctx: ReadCtx, p: CronsRunningParams, c: Cluster) -> tuple[dict[str, JudgedCron], dict[str, str]] | str:
    """Place -> what is to be said, and CronJob -> last success; or why nothing is known of the cluster."""
    try:
        crons, jobs = await asyncio.gather(
            ctx.ports.kubernetes.list(c.name, "cronjob"), ctx.ports.kubernetes.list(c.name, "job")
        )
    except (Unreachable, Denied) as error:
        return str(error).removeprefix(f"{c.name}: ")
    there = {f"cronjob/{t.place.name}" for t in crons}
    found = {
        f"{c.name}/{worker}": JudgedCron(Status.FAIL, "is not there")
        for worker in c.workers
        if worker.startswith("cronjob/") and worker not in there
    }
    found |= {str(t.place): judge(t, [j for j in jobs if _made_by(j, t)], ctx.now, p) for t in crons}
    for job in jobs:
        if not any(_made_by(job, t) for t in crons) and (fault := _fault(job, ctx.now, p)):
            found[str(job.place)] = JudgedCron(Status.FAIL, fault)
    return found, {str(t.place): str(t.facts["last_success"]) for t in crons if t.facts.get("last_success")}


def judge(cron: Thing, jobs: Sequence[Thing], now: datetime, p: CronsRunningParams) -> JudgedCron:
    """What is to be said of one CronJob. jobs: that it made."""
    if cron.fields.get("suspend") is True:
        who = cron.by.get("suspend")
        ours = who is not None and who.manager.startswith(OURS)
        by = f", by {who.manager} at {who.at:%H:%M} UTC" if who is not None else ""
        return JudgedCron(Status.FAIL if ours else Status.WARN, f"is suspended{by}")
    for job in jobs:
        if job.facts.get("running") and (fault := _fault(job, now, p)):
            return JudgedCron(Status.FAIL, fault)
    since = _since(cron, jobs, now)
    zone = cron.facts.get("time_zone")
    zone = zone if isinstance(zone, str) else None
    schedule = str(cron.facts.get("schedule", ""))
    try:
        ticks = due(schedule, zone, since, now - timedelta(seconds=p.grace), limit=1_000_000)
        ahead = due(schedule, zone, max(since, now - timedelta(seconds=p.grace)), now + 370 * DAY, limit=1)
    except ValueError as error:
        return JudgedCron(Status.UNKNOWN, str(error))
    success = _time(cron, "last_success")
    last = f"last success {_clock(success, now)}" if success is not None else "it never ended well"
    if success is not None and (success >= ticks[-1] if ticks else success > since):
        return JudgedCron(Status.PASS, last)
    if not ticks:
        return _not_due(ahead[0] if ahead else None, last, since, now, p)
    own = _newest_first([j for j in jobs if _runs(j, cron)])
    if failed := next((str(j.facts["failed"]) for j in own if j.facts.get("failed")), ""):
        return JudgedCron(Status.FAIL, f"the run of {_clock(ticks[-1], now)} failed ({failed}); {last}")
    if any(j.facts.get("running") for j in jobs):
        return JudgedCron(Status.UNKNOWN, f"the run of {_clock(ticks[-1], now)} has not ended yet; {last}")
    scheduled = _time(cron, "last_schedule")
    if scheduled is None or scheduled < ticks[-1]:
        missed = sum(scheduled is None or t > scheduled for t in ticks)
        return JudgedCron(Status.FAIL, f"{missed} runs missed, the last at {_clock(ticks[-1], now)}; {last}")
    return JudgedCron(Status.FAIL, f"the run of {_clock(scheduled, now)} did not end well; {last}")


def _not_due(ahead: datetime | None, last: str, since: datetime, now: datetime, p: CronsRunningParams) -> JudgedCron:
    """Nothing has shown since the release stands there."""
    when = f"due {_clock(ahead, now)}" if ahead is not None else "never due"
    words = f"not due since {_clock(since, now)}, {when}; {last}"
    soon = ahead is not None and ahead <= now + timedelta(seconds=p.soon)
    return JudgedCron(Status.UNKNOWN if soon else Status.WARN, words)


def _since(cron: Thing, jobs: Sequence[Thing], now: datetime) -> datetime:
    """Since when what runs there is what counts: it was made, its images or its schedule were changed, or a job of it
    still ran other images. A day ago at most.

    Its jobs tell where the cluster no longer says who set its images: the bot gives up what it owns at a run's end."""
    times = [w.at for name, w in cron.by.items() if name == "suspend" or name.startswith(IMAGE)]
    times += [at for j in jobs if not _runs(j, cron) and (at := _time(j, "ended") or _time(j, "started"))]
    created = _time(cron, "created")
    return min(max([*times, *([created] if created is not None else []), now - DAY]), now)


def _runs(job: Thing, cron: Thing) -> bool:
    """Whether a job runs what its CronJob says by now."""
    return sorted(map(str, _list(job, "images"))) == sorted(cron.images.values())


def _fault(job: Thing, now: datetime, p: CronsRunningParams) -> str:
    """What is wrong with a Job; "" where nothing is."""
    started = _time(job, "started")
    if job.facts.get("running") and started is not None and (now - started).total_seconds() > p.hangs:
        return f"job {job.place.name} hangs: it runs since {_clock(started, now)}"
    if (why := job.facts.get("failed")) and started is not None and now - started < DAY:
        return f"job {job.place.name} of {_clock(started, now)} failed ({why})"
    return ""


def _made_by(job: Thing, cron: Thing) -> bool:
    return f"cronjob/{cron.place.name}" in _list(job, "owners")


def _list(thing: Thing, name: str) -> list[Json]:
    said = thing.facts.get(name)
    return said if isinstance(said, list) else []


def _newest_first(jobs: Sequence[Thing]) -> list[Thing]:
    return sorted(jobs, key=lambda j: str(j.facts.get("started", "")), reverse=True)[:1]


def _time(thing: Thing, name: str) -> datetime | None:
    said = thing.facts.get(name)
    return datetime.fromisoformat(said) if isinstance(said, str) else None


def _clock(at: datetime, now: datetime) -> str:
    return f"{at:%H:%M}" if abs(at - now) < DAY else f"{at:%Y-%m-%d %H:%M}"
