"""Every command, declared once: its word, its fields, who may, and how it is said in Slack and in a terminal. Pure.

A command of a run is a value; `answering.answer` turns it into events, or a "no". A new one is a value here, its events
in `possible.py` and its answer in `answering.py`: verbs, forms, buttons, helps and docs follow from this.

Invariants: the docstring is what the terminal's help says; the order is that of the helps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bot.run.declared import TABLE as TABLE
from bot.run.declared import VALUES as VALUES
from bot.run.declared import Heading, Who, declared, look, opens

if TYPE_CHECKING:
    from bot.catalogue import Release

# -- looking, and decisions --------------------------------------------------------------------------------------------

look("status", "Every open run in two lines, and what ended ones have left; or one run as `show` shows it.",
      "where it stands", "show")  # fmt: skip
look("preview", "What a rollback would do now, step by step. Changes and records nothing.",
      "what would be done, step by step; `preview shop to 2.4.0` before there is a run")  # fmt: skip


@declared(Who.ASKED, Heading.DECIDE, title="Approve", at_once=True)
@dataclass(frozen=True, slots=True)
class Approve:
    """Yes to a decision, after a look at its card."""

    decision: str
    card: str
    """What was looked at (`Run.card`)."""
    phrase: str = ""
    """Where one is to be typed."""
    do: Literal["approve"] = "approve"


@declared(Who.ASKED_OR_COMMANDERS, Heading.DECIDE, title="Not now", at_once=True)
@dataclass(frozen=True, slots=True)
class Decline:
    """Not now: who and why are kept, the decision stays open."""

    decision: str
    reason: str = ""
    do: Literal["decline"] = "decline"


@declared(
    Who.GLASS, Heading.DECIDE, title="Break the glass",
    about="You decide this alone. It is posted in the incident channel with your reason, and calls those who could "
    "have decided; to be reviewed within two working days.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Open a decision alone. Announced, paged, reviewed within two working days."""

    decision: str
    card: str
    reason: str
    do: Literal["break-glass"] = "break-glass"


# -- the run -----------------------------------------------------------------------------------------------------------


@declared(Who.CREW, Heading.STEER, "nothing new starts", at_once=True, also=("pause",))
@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing new starts; what is at work is asked to end."""

    reason: str = ""
    do: Literal["stop"] = "stop"


@declared(Who.CREW, Heading.STEER, "go on after a stop", at_once=True, also=("continue",))
@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a stop."""

    do: Literal["resume"] = "resume"


@declared(
    Who.COMMANDER, Heading.STEER, "end it; what is temporary is then restored or handed over", "Abort",
    "Nothing more is done. What is temporary is then restored, or handed to somebody.", also=("cancel",),
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Abort:
    """End the run; each debt is then restored or handed over."""

    reason: str
    do: Literal["abort"] = "abort"


@declared(
    Who.PROPOSING_COMMANDER, Heading.STEER,
    "go back to another release from here on: `retarget 2.3.9 because ...`", "Another release",
    "The rest of this run brings another release. One approver agrees first.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Retarget:
    """Restore another release from here on."""

    release: Release
    reason: str
    do: Literal["retarget"] = "retarget"


@declared(
    Who.PROPOSING_COMMANDER, Heading.STEER, "let one release, the fix, through the freeze", "Admit a fix",
    "One release, the fix, passes the freeze. One approver agrees first.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Admit:
    """Let one release, the fix, through the freeze."""

    release: Release
    reason: str
    do: Literal["admit"] = "admit"


# -- steps -------------------------------------------------------------------------------------------------------------


@declared(Who.CREW, Heading.STEPS, "try a step that stopped again: `retry STEP`", "Try again", at_once=True)
@dataclass(frozen=True, slots=True)
class Retry:
    """Try a halted step again."""

    step: str
    do: Literal["retry"] = "retry"


@declared(
    Who.PROPOSER, Heading.STEPS, "leave a step out: `skip STEP because ...`", "Skip a step",
    "The step is left out. Its approvers agree first; if it has none, one approver.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Skip:
    """Leave a step out."""

    step: str
    reason: str
    do: Literal["skip"] = "skip"


@declared(
    Who.PROPOSER, Heading.STEPS, "accept a failing check: `accept STEP because ...`", "Accept as it is",
    "It goes on as if this were well. Its approvers agree first; if it has none, one approver.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Accept:
    """Accept a failing check, or what others changed meanwhile."""

    step: str
    reason: str
    do: Literal["accept"] = "accept"


@declared(
    Who.RESTORER, Heading.STEPS, "take back what a step did", "Undo a step",
    "What the step did is taken back. It asks the same people as the step did.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Undo:
    """Take back what a step did."""

    step: str
    reason: str = ""
    do: Literal["undo"] = "undo"


@declared(
    Who.RESTORER, Heading.STEPS, "undo something temporary now", "Restore now",
    "This is undone now, outside its turn.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Restore:
    """Undo a debt now, outside its turn."""

    step: str
    reason: str
    do: Literal["restore"] = "restore"


@declared(
    Who.RESTORER, Heading.STEPS, "it becomes a person's: `hand-over STEP to @ben until 18:00 because ...`", "Hand over",
    "This stays as it is, and becomes somebody's to put back by then.", also=("handover", "hand"),
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class HandOver:
    """A debt becomes a person's, until a time (seconds since the epoch)."""

    step: str
    to: str
    until: float
    reason: str
    do: Literal["hand-over"] = "hand-over"


@declared(
    Who.RESTORER, Heading.STEPS, "a step was done by hand: look, and record it", "Done by hand",
    "You did this by hand. It is looked at, and recorded if it is so.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Adopt:
    """The step was done by hand: look, and record it."""

    step: str
    reason: str
    do: Literal["adopt"] = "adopt"


@declared(Who.ASKED, Heading.DECIDE, "yes to a proposal", "Agree", at_once=True)
@dataclass(frozen=True, slots=True)
class Agree:
    """Yes to somebody's proposal."""

    proposal: str
    do: Literal["agree"] = "agree"


# -- command, and the end ----------------------------------------------------------------------------------------------


@declared(
    Who.COMMANDER, Heading.STEER, "hand the command to another commander: `offer @dee`", "Hand over the command",
    "They command once they take it. You stay barred from approving.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Offer:
    """Hand the command to another commander, who then takes it."""

    to: str
    do: Literal["offer"] = "offer"


@declared(Who.COMMANDERS, Heading.STEER, "take command", at_once=True)
@dataclass(frozen=True, slots=True)
class Take:
    """Take command: offered, or after five minutes of silence."""

    do: Literal["take"] = "take"


@declared(Who.COMMANDER, Heading.STEER, "end a run that does not close itself", "Close", "It ends as it is.")
@dataclass(frozen=True, slots=True)
class Close:
    """End a run that does not close itself."""

    note: str = ""
    do: Literal["close"] = "close"


@declared(
    Who.COMMANDER, Heading.STEER,
    "what stakeholders read from now on: `tell that paying by card fails; invoices work`", "Tell stakeholders",
    "Posted in the stakeholders' channels, as you write it here. It replaces what was said before.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Tell:
    """What stakeholders read from now on: what customers notice, and what works all the same. Replaces what was said
    before."""

    impact: str
    workaround: str = ""
    do: Literal["tell"] = "tell"


opens(
    "forward", "Open the run that takes an ended one back: from and to swapped, its own decisions.",
    Who.COMMANDERS, Heading.FOLLOW, ("reason",), "roll forward again after a rollback has ended", "Roll forward again",
    "A new run of the same plan, to the release that this one removed, with gates of its own.",
)  # fmt: skip
opens(
    "postmortem", "Hold the postmortem of an ended run at another time: draft, invitation and reminder anew.",
    Who.COMMANDERS, Heading.FOLLOW, ("at",), "hold the postmortem at another time: `postmortem at 2026-12-01T10:00`",
    "Postmortem",
    "Everybody gets a new invitation, which moves the earlier one. The reminder moves with it.",
)  # fmt: skip
opens(
    "replan", "Roll back by another plan, e.g. a smaller one: only before the rollback has begun. Its run is aborted "
    "in favour of a new one.",
    Who.COMMANDER, Heading.FOLLOW, ("plan", "reason"),
    "by another plan, before anything has begun: `replan PLAN because ...`", "Smaller plan",
    "Nothing has begun yet: this run is given up for one of another plan, which asks for its own decisions.",
)  # fmt: skip
opens(
    "freeze", "Refuse new releases of a service, until `thaw`. Takes a commander.",
    Who.COMMANDERS, Heading.FREEZE, ("reason",),
    "refuse new releases of a service without a rollback: `freeze shop because ...`",
)  # fmt: skip
opens(
    "thaw",
    "Let a frozen service take releases again; a rollback that is open lifts its own freeze. Takes a commander.",
    Who.COMMANDERS, Heading.FREEZE, ("reason",), "let a frozen service take releases again: `thaw shop because ...`",
)  # fmt: skip


# -- parts, and what is left -------------------------------------------------------------------------------------------


@declared(
    Who.PROPOSING_COMMANDER, Heading.STEPS, "go on without a part that is away: `without us-1 because ...`",
    "Go on without it",
    "From here on no step sees this part: it stays owed until it is back. One approver agrees.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Without:
    """Go on without a part that is away: "us-1", or "us-1/deployment/shop-api"."""

    part: str
    reason: str
    do: Literal["without"] = "without"


@declared(
    Who.CREW, Heading.STEPS, "a part that was left out is back: `back us-1`", "It is back",
    "What this part is owed is planned now, and asked for.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Back:
    """A part that was left out is back: what it is owed is done now."""

    part: str
    do: Literal["back"] = "back"


@declared(
    Who.CREW, Heading.STEPS, "broken glass was looked at: `review RUN DECISION because ...`", "Review broken glass",
    "You have looked at what was decided alone. It is recorded, and nobody is reminded any more.",
)  # fmt: skip
@dataclass(frozen=True, slots=True)
class Review:
    """Broken glass was looked at afterwards, by somebody else."""

    decision: str
    reason: str
    do: Literal["review"] = "review"


look("debts", "What is still to be given back or reviewed: by open runs, and by those that have handed it over.",
      "what is still to be given back or reviewed; `debts shop` for one service")  # fmt: skip
look("history", "The last runs, newest first.", "earlier runs", "list")
look("audit", "", "the record, verified")
look("token", "", "a personal token for the command line; `token revoke` ends yours")
look("help", "What a command does and takes.", "this", "?", "--help")

Command = (
    Approve | Decline | BreakGlass | Stop | Resume | Abort | Retry | Skip | Accept | Undo | Restore | HandOver
    | Adopt | Retarget | Admit | Agree | Offer | Take | Close | Tell | Review | Without | Back
)  # fmt: skip
"""What can be asked of a run; what opens another one (`Forward`, ...) is none."""
