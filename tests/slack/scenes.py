"""One rollback of the shop, told by constructed events: the storyboard's words, and what may happen instead.

`Tape` is a run that is played as in tests/run, but what handlers say is said here, so that cards of handlers that do
not exist yet can be looked at as well. Ids of people are Slack's, as they are in Slack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import actions
import checks
from bot.catalogue import Channels, Crew, Release, Role
from bot.contract import Action, Change, Edit, Effect, Fact, Json, Receipt, Status, Verdict
from bot.handlers.registry import Registry
from bot.plan.model import REF, Choice, Decision, Plan, StepSpec
from bot.playground.workspace.plaintext import plain
from bot.policy import Actor, Gate, Person, Refusal, Requirement
from bot.run import answering
from bot.run import commands as c
from bot.run import events as ev
from bot.run.state import new_run
from bot.slack.draw.post import Post, Screen
from bot.slack.draw.screen import screen
from bot.store.chain import Checkpoint
from bot.store.rows import Notice, Progress
from bot.telling.eta import Eta
from tests.run.played import Play

T0 = 1_795_615_320.0
"""2026-11-25 14:02:00 UTC."""

ANA = Person("UANA", "ana", frozenset({"commander"}))
DEE = Person("UDEE", "dee", frozenset({"commander"}))
BEN = Person("UBEN", "ben", frozenset({"dba"}))
CHO = Person("UCHO", "cho", frozenset({"approver"}))
ELI = Person("UELI", "eli", frozenset({"dba", "approver"}))
PEOPLE = (ANA, DEE, BEN, CHO, ELI)
ROLES = {
    "commander": Role("commander", ("UANA", "UDEE")),
    "dba": Role("dba", ("UBEN", "UELI"), on_call=Crew(("UBEN",))),
    "approver": Role("approver", ("UCHO", "UELI"), ("SAPPROVERS",), on_call=Crew(groups=("SONCALL",))),
}
CHANNELS = Channels(("#inc-4211",), ("#status",), ("#edge",))
EVIDENCE = (
    "2.4.0 served 6 d 4 h, error rate 0.02 %; image, build, config and schema snapshot found",
    "Passed over: 2.4.0-rc2 (banned: INC-4188).",
)

TARGET: Mapping[str, Json] = {"release": {REF: "target.version"}}
START = Gate((Requirement("commander"),), self_approval=True)
APPROVER = Gate((Requirement("approver"),))
DBA = Gate((Requirement("dba"),))
BOTH = Gate((Requirement("dba"), Requirement("approver")), typed_phrase=True)


REGISTRY = Registry.discover(actions, checks, entry_points=False)


def _step(id: str, title: str, track: str, uses: str, *after: str, **spec: Any) -> StepSpec:
    handler = REGISTRY.get(uses)
    duties = tuple(sorted(handler.duties)) if isinstance(handler, Action) else ()
    return StepSpec(id, title, track, spec.pop("kind", "action"), uses, {}, after, duties=duties, **spec)


def shop_plan() -> Plan:
    """The standard procedure, as far as it has cards of its own."""
    pause = _step(
        "pause-workers", "Pause workers", "backend", "workers.pause", "freeze", decision="backend", temporary=True
    )
    steps = (
        _step("backups", "Backups", "prepare", "backups.verified", kind="check", phase="preflight"),
        _step("schema", "Schema", "prepare", "schema.advise", kind="check", phase="preflight"),
        StepSpec("start", "Start rollback", "prepare", "gate", after=("backups", "schema"), decision="start",
                 forward="Start roll forward"),
        _step("freeze", "Freeze deployments", "prepare", "deploys.freeze", "start", temporary=True),
        _step("evidence", "Evidence", "prepare", "evidence.capture", "start", on_fail="continue"),
        pause,
        replace(_step("deploy", "Deploy 2.4.0", "backend", "release.deploy", "pause-workers", decision="backend"),
                params=TARGET),
        _step("settings", "Settings", "backend", "settings.restore", "deploy", decision="backend"),
        _step("keep", "Keep the schema", "backend", "schema.keep", "settings", decision="schema.keep"),
        _step("down", "Downgrade", "backend", "schema.downgrade", "settings", decision="schema.down", destructive=True),
        _step("restore", "Restore a backup", "backend", "database.restore", "settings", decision="schema.restore"),
        _step("health", "Health", "verify", "health.serving", "keep", "down", "restore", kind="check", phase="verify"),
        _step("journeys", "Payments journey", "verify", "journeys.pass", "health", kind="check", phase="verify"),
        StepSpec("resume", "Re-enable workers", "close", "undo", "workers.pause", {}, ("pause-workers", "journeys"),
                 undo="pause-workers"),
        StepSpec("thaw", "Lift the freeze", "close", "undo", "deploys.freeze", {}, ("freeze", "resume"), undo="freeze"),
        StepSpec("watch", "Watch", "verify", "watch", after=("thaw",), phase="verify", repeat=("health",),
                 lasting=900.0, every=300.0),
    )  # fmt: skip
    decisions = (
        Decision("start", "Start rollback", ("start",), START, forward="Start roll forward"),
        Decision(
            "backend",
            "Bring the backend back",
            ("pause-workers", "deploy", "settings"),
            APPROVER,
            forward="Bring the backend forward",
        ),
        Decision("schema.keep", "Database schema", ("keep",), DBA, choice="schema", option="keep"),
        Decision("schema.down", "Database schema", ("down",), BOTH, choice="schema", option="down"),
        Decision("schema.restore", "Database schema", ("restore",), BOTH, choice="schema", option="restore"),
    )
    choice = Choice("schema", "Database schema 0042 → 0041", ("keep", "down", "restore"), "schema")
    return Plan("standard", steps, decisions, (choice,))


CHANGES: Mapping[str, Change] = {
    "freeze": Change("CI and 2 deploy paths refuse new releases of shop; this run passes",
                     (Edit("ci/shop", "open", "locked"),)),
    "evidence": Change("logs and metrics of the last 60 min", effects=(Effect("capture logs and metrics"),)),
    "pause-workers": Change(
        "1 deployment to 0 replicas, 1 cron job suspended",
        (Edit("shop-worker/replicas", 6, 0, bound=False), Edit("shop-settle/suspend", False, True)),
        facts=(Fact("queued jobs", 214, "jobs"), Fact("missed schedules", "14:30")),
        warnings=("17 queued jobs are of a kind that 2.4.0 cannot read: they are parked",),
    ),
    "deploy": Change("4 workloads in eu-1 and us-1 to sha256:9f3c…, with their settings of 2.4.0",
                     (Edit("eu-1/shop-api/image", "sha256:77aa", "sha256:9f3c"),
                      Edit("us-1/shop-api/image", "sha256:77aa", "sha256:9f3c"))),
    "settings": Change("4 keys back; left alone: checkout.kill_switch, changed by dee at 14:05",
                       (Edit("config/PAY_URL", "https://new?a=1&b=2", "https://old"),)),
    "keep": Change("nothing lost, 0 min. Not proven: 2.4.0 has never run on 0042"),
    "down": Change(
        "read-only for about 1 min; drops orders.coupon_id and table coupons",
        (Edit("schema/revision", "0042", "0041"),),
        (Effect("export what is lost"),), (Fact("rows lost", 312, "rows", 500.0),),
        ("312 rows written since 13:40 would go; they are exported first",), reversible=False),
    "restore": Change(
        "backup of 13:45 to a new database, then switched to; about 9 min",
        (Edit("shop/connection", "db-1", "db-1-restored"),), (Effect("create from backup"),),
        (Fact("minutes lost", 26, "min", 30.0), Fact("rows lost", 1940, "rows", 2000.0)),
    ),
}  # fmt: skip


@dataclass
class Tape(Play):
    """A run of the shop. now: seconds since the epoch; what handlers say is written by `plans`, `acts`, `looks`."""

    plan: Plan = field(default_factory=shop_plan)
    now: float = T0
    progress: dict[str, Progress] = field(default_factory=dict)
    eta: Eta | None = None
    notices: list[Notice] = field(default_factory=list)
    purpose: str = "rollback"
    marks: dict[float, Checkpoint] = field(default_factory=dict)
    links: dict[str, str] | None = None

    def __post_init__(self) -> None:
        created = ev.Created(
            "shop", self.plan, self.plan.digest, Release("2.4.1"), Release("2.4.0"),
            "checkout fails since 14:02", Actor.of(ANA, "slack"), evidence=EVIDENCE, purpose=self.purpose,
            impact="Checkout has failed for some customers since 14:02",
            workaround="carts are kept, paying by invoice works",
        )  # fmt: skip
        self.run = replace(new_run("shop-1f"), head="7c1e90ab" * 8)
        assert self.write(created) is None

    def say(self, person: Person, command: c.Command) -> answering.Answer | Refusal:
        """One person's command, carried out."""
        asking = answering.Asking(person, "slack", PEOPLE, self.now, f"p{len(self.said)}")
        found = answering.answer(self.run, command, asking)
        self.said.append((command, isinstance(found, answering.Answer)))
        if isinstance(found, answering.Answer):
            assert self.write(*found.events) is None
        return found

    def look(self) -> None:
        """Every attempt that only plans comes to its end."""
        while found := [s.spec.id for s in self.run.in_flight if s.attempt and s.attempt.doing == "plan"]:
            self.plans(*found)

    def wrote(self, *events: ev.Event) -> None:
        """Appends what must be lawful."""
        why = self.write(*events)
        assert why is None, why

    def plans(self, *ids: str, changes: Mapping[str, Change] = CHANGES) -> None:
        """Their planning attempts end with these changes."""
        for i in ids:
            change = changes[i]
            self.wrote(ev.Planned(i, self.run.steps[i].n, change, change.fingerprint(self.run.steps[i].spec.uses)))

    def refuses(self, *ids: str, error: str, hint: str) -> None:
        """What it would do is looked at again, and these say that it must not be done."""
        self.wait(61)
        for i in ids:
            self.wrote(ev.Failed(i, self.run.steps[i].n, "fatal", error, hint))
        self.look()

    def begins(self, id: str) -> None:
        """It is about to act."""
        s = self.run.steps[id]
        source = self.run.undoes(s)
        change = s.released or s.change or (source.made.inverted() if source and source.made else CHANGES[id])
        if source is not None and source.made is not None:
            change = source.made.inverted()
        self.wrote(ev.ApplyStarted(id, s.n, change, change.fingerprint(s.spec.uses)))

    def acts(self, id: str, detail: str, seconds: float, evidence: Mapping[str, Json] | None = None) -> None:
        """It acts, for so long, and is done."""
        s = self.run.steps[id]
        if not (CHANGES.get(id) or Change("", (Edit("x", 0, 1),))).is_noop:
            self.begins(id)
            self.wrote(ev.Recorded(id, s.n, f"kubectl patch {id}"))
        self.now += seconds
        receipt = Receipt(detail, evidence or {})
        done = ev.Undone(id, s.n, receipt, {}) if self.run.undoes(s) is not None else ev.Applied(id, s.n, receipt)
        self.wrote(done)
        self.look()

    def looks(self, id: str, status: Status, observed: str, expected: str, **data: Json) -> None:
        """A check answers."""
        self.wrote(ev.Checked(id, self.run.steps[id].n, Verdict(status, observed, expected, data)))

    def screen(self) -> Screen:
        """What Slack shows now."""
        return screen(
            self.run, now=self.now, eta=self.eta, progress=self.progress, channels=CHANNELS, notices=self.notices,
            roles=ROLES, marks=self.marks, links=self.links,
        )  # fmt: skip

    def post(self, slot: str) -> Post:
        """One of its messages."""
        (found,) = [p for p in self.screen().posts if p.slot == slot]
        return found


# -- the story, scene by scene ---------------------------------------------------------------------------------------


def preflight() -> Tape:
    """Created; looked at, and waiting for the commander."""
    t = Tape()
    t.eta = Eta(300.0, 480.0, 3, 2, "about 5-8 min of work and 3 decisions by people")
    t.looks("backups", Status.WARN, "the newest backup is 26 min old", "at most 30 min")
    t.looks("schema", Status.PASS, "keep is not proven: 2.4.0 has never run on 0042", "advice", order="deploy-first")
    return t


def asked_backend() -> Tape:
    """Started; deployments frozen, evidence kept, the backend's card open."""
    t = preflight()
    t.now += 20
    t.approve("start", ANA)
    t.acts("freeze", "CI and 2 deploy paths refuse new releases of shop; this run passes", 3)
    logs: Json = {"digest": "sha256:" + "ab" * 32, "size": 4120, "type": "application/gzip"}
    t.acts("evidence", "41,200 log lines, 6 metrics of the last 60 min", 12, {"logs.jsonl.gz": logs})
    return t


def reminded() -> Tape:
    """Nobody has answered for a minute, then for five."""
    t = asked_backend()
    t.wait(61)
    t.plans("pause-workers", "deploy", "settings", "keep", "down", "restore")
    t.wait(240)
    t.plans("pause-workers", "deploy", "settings", "keep", "down", "restore")
    return t


def deploying() -> Tape:
    """Approved, workers paused, the deploy under way."""
    t = asked_backend()
    t.now += 38
    t.approve("backend", CHO)
    t.acts("pause-workers", "workers drained", 21)
    t.begins("deploy")
    t.progress["deploy"] = Progress(t.run.id, "deploy", "pods ready", 9, 12, t.now)
    return t


def drifted() -> Tape:
    """Somebody rescaled what was about to be deployed."""
    t = asked_backend()
    t.approve("backend", CHO)
    t.acts("pause-workers", "workers drained", 21)
    more = Edit("eu-1/shop-beta/image", "sha256:77aa", "sha256:9f3c")
    change = replace(CHANGES["deploy"], edits=(*CHANGES["deploy"].edits, more))
    s = t.run.steps["deploy"]
    fp = change.fingerprint(s.spec.uses)
    assert s.released is not None
    t.wrote(ev.Drifted("deploy", s.n, change, fp, change.beyond(s.released)))
    return t


def halted() -> Tape:
    """The deploy failed."""
    t = deploying()
    t.now += 300
    error = "1 of 6 pods ready after 5 min; last event: ImagePullBackOff (registry answered 403)"
    hint = "renew the pull secret"
    seen: dict[str, Json] = {"eu-1/shop-api/image": "sha256:77aa", "eu-1/shop-api/ready": "5 of 6 run 2.4.1"}
    t.wrote(ev.Failed("deploy", t.run.steps["deploy"].n, "fatal", error, hint, observed=seen))
    return t


def skip_proposed() -> Tape:
    """The commander wants to leave it out."""
    t = halted()
    t.do(ANA, c.Skip("journeys", "the payment sandbox is down"))
    return t


def schema_asked() -> Tape:
    """The backend is back; how the schema goes on is open."""
    t = deploying()
    t.now += 48
    t.wrote(ev.Applied("deploy", t.run.steps["deploy"].n, Receipt("12 of 12 pods ready")))
    t.acts("settings", "4 keys back", 2)
    return t


def partly_approved() -> Tape:
    """One of two has said yes to the downgrade, somebody else not now to keeping."""
    t = schema_asked()
    t.do(BEN, c.Decline("schema.keep", "not proven"))
    t.do(BEN, c.Approve("schema.down", t.run.card("schema.down"), t.run.phrase("schema.down")))
    t.plans("down")
    return t


def watching() -> Tape:
    """Kept, verified, given back: it runs again."""
    t = schema_asked()
    t.now += 33
    t.approve("schema.keep", BEN)
    t.acts("keep", "nothing was changed", 0)
    t.looks("health", Status.PASS, "200 in 80 ms, error rate 0.03 %", "200, below 0.05 %", samples=20)
    t.looks("journeys", Status.PASS, "4 of 4 in 812 ms", "4 of 4", journeys=4)
    t.acts("resume", "6 replicas, cron resumed", 5)
    t.acts("thaw", "narrowed to a ban on 2.4.1", 1)
    return t


def verified() -> Tape:
    """The end."""
    t = watching()
    for _ in range(4):
        t.looks("watch", Status.PASS, "error rate 0.02 %", "below 0.05 %")
        t.wait(300)
    assert not t.run.open
    return t


def check_failed() -> Tape:
    """A check of the verification fails."""
    t = schema_asked()
    t.approve("schema.keep", BEN)
    t.acts("keep", "nothing was changed", 0)
    t.looks("health", Status.FAIL, "error rate 3 %", "below 0.05 %")
    return t


def stopped() -> Tape:
    """The commander holds it."""
    t = deploying()
    t.do(ANA, c.Stop("wait for the database team"))
    return t


def aborted() -> Tape:
    """Given up; two things are in place."""
    t = halted()
    t.do(ANA, c.Abort("2.4.0 is bad too"))
    for s in t.run.in_flight:
        if s.unseen:
            places = {"eu-1/shop-api/image": "sha256:9f3c", "us-1/shop-api/image": "sha256:77aa"}
            t.wrote(ev.Seen(s.spec.id, s.n, places))
        else:
            t.wrote(ev.Cancelled(s.spec.id, s.n, "aborted"))
    return t


def handed_over() -> Tape:
    """One debt belongs to somebody now, the other is being restored."""
    t = aborted()
    t.do(ANA, c.HandOver("freeze", "UDEE", t.now + 86400, "dee lifts it tomorrow"))
    t.do(ANA, c.Restore("pause-workers", "customers wait for mails"))
    return t


def abort_ended() -> Tape:
    """The other one is given back, and it ends."""
    t = handed_over()
    t.acts("pause-workers", "6 replicas", 4)
    assert not t.run.open
    return t


def glass_broken() -> Tape:
    """One person opened a gate alone."""
    t = asked_backend()
    t.now += 90
    t.do(CHO, c.BreakGlass("schema.keep", t.run.card("schema.keep"), "no dba answers, customers cannot pay"))
    return t


def command_offered() -> Tape:
    """The commander goes home."""
    t = deploying()
    t.do(ANA, c.Offer("UDEE"))
    return t


def command_taken() -> Tape:
    """Another one took over."""
    t = command_offered()
    t.do(DEE, c.Take())
    return t


def retarget_proposed() -> Tape:
    """2.4.0 will not do either."""
    t = halted()
    t.do(ANA, c.Retarget(Release("2.3.9"), "2.4.0 fails as well"))
    return t


def retargeted() -> Tape:
    """Agreed: another release from here on."""
    t = retarget_proposed()
    t.now += 5
    t.do(CHO, c.Agree(t.proposal))
    return t


def undo_asked() -> Tape:
    """What was deployed is to be taken back."""
    t = schema_asked()
    t.do(ANA, c.Undo("deploy", "worse than before"))
    back = Change("back to 2.4.1", tuple(Edit(e.target, e.after, e.before) for e in CHANGES["deploy"].edits))
    t.plans("deploy", changes={"deploy": back})
    return t


def impossible() -> Tape:
    """Nobody is left who could decide."""
    t = asked_backend()
    t.wrote(ev.PeopleChanged({"backend": "needs an approver; found 0 of 1 approver"}))
    return t


def noticed() -> Tape:
    """An action told the edge team."""
    t = deploying()
    t.notices.append(Notice(t.run.id, "cdn", "#edge", "Purge /index.html & /sw.js of shop <E123>", t.now))
    return t


SCENES: tuple[Callable[[], Tape], ...] = (
    preflight, asked_backend, reminded, deploying, drifted, halted, skip_proposed, schema_asked, partly_approved,
    watching, verified, check_failed, stopped, aborted, handed_over, abort_ended, glass_broken, command_offered,
    command_taken, retarget_proposed, retargeted, undo_asked, impossible, noticed,
)  # fmt: skip


def read(tape: Tape, slot: str) -> str:
    """One message as it reads in Slack, with names for ids."""
    names = {p.id: p.name for p in PEOPLE}
    blocks = [dict(b) for b in tape.post(slot).message.blocks]
    return plain(blocks, lambda i: names.get(i, i))
