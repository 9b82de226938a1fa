"""The grammar of a plan file, as strict models. The JSON Schema for editors is made from these.

name: standard
tracks:                                   # side by side; inside a track one item follows the other
  prepare:
    - {id: serving, uses: health.serving, phase: preflight}
    - {id: start, gate: {by: {commander: 1}, self_approval: true}}        # only asks people
  backend:
    - {id: pause, uses: workers.pause, after: [start], gate: {group: backend, by: {approver: 1}}}
    - [{id: a, uses: ...}, {id: b, uses: ...}]                            # a list: side by side
    - {id: schema, choose: {advise: serving, options: {keep: {uses: ...}, down: {gate: {...}, steps: [...]}}}}
    - {id: resume, undo: pause}
  verify:
    - {id: watch, repeat: verify, for: 15m, every: 30s, passes: 10}
definitions:                              # ignored: a place for YAML anchors
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, JsonValue, Tag

from bot.located.strict import NEITHER, Duration, Key, Slug, Strict, Text
from bot.plan.model import OnFail, Phase, StepSpec
from bot.policy import ONE_APPROVER

MAX_STEPS = 500
"""Steps of a plan, options included."""

Count = Annotated[int, Field(ge=1, le=20)]
Tries = Annotated[int, Field(ge=0, le=100)]
Looks = Annotated[int, Field(ge=1, le=10_000)]
StepName = Annotated[str, Field(min_length=1, max_length=200)]


Seats = dict[Slug, Count]


class _Asking(Strict):
    self_approval: bool = Field(False, description="Requester and commanders may decide as well.")
    typed_phrase: bool = Field(False, description="The decision is made by typing a phrase.")
    unless: str | None = Field(None, description='A reference, "${...}"; where it is true nobody is asked.')
    remind: Duration = Field(ONE_APPROVER.remind, description="The role is mentioned after this time.")
    escalate: Duration = Field(ONE_APPROVER.escalate, description="The role is paged after this time.")
    lifetime: Duration = Field(
        ONE_APPROVER.lifetime, gt=0, description="A yes of which nothing has begun after this time is asked for again."
    )


class OptionGate(_Asking):
    """What people must decide first."""

    by: Seats = Field(min_length=1, description="Role -> how many people of it; all must be met.")


class StepGate(_Asking):
    """What people must decide first; steps with one group share one decision."""

    by: Seats | None = Field(None, min_length=1, description="Like an option's; one step of a group gives it.")
    group: Slug | None = Field(None, description="Steps of one group are decided together, with one click.")
    title: Text | None = Field(None, description="What the card calls the decision; the step's title otherwise.")
    forward: Text | None = Field(None, description="The same in a run that rolls forward again.")


class _Named(Strict):
    id: Slug = Field(description="Unique in the plan; references and commands use it.")
    title: Text | None = Field(None, description="What people read; made from the id otherwise.")
    forward: Text | None = Field(None, description="What they read in a run that rolls forward again.")
    after: list[StepName] = Field([], description="Steps that must be over, beside the one before it.")
    when: str | None = Field(None, description='"${reference} == value", or !=: only needed where this holds.')


class _Tried(Strict):
    timeout: Duration = Field(StepSpec.timeout, gt=0, description="How long one application may take.")
    failures: Tries = Field(StepSpec.failures, description="How many passing failures are tried again.")
    on_fail: OnFail = Field(
        StepSpec.on_fail,
        description="halt: nothing new starts in the run; ask: what follows waits; continue: goes on.",
    )


class Uses(_Tried):
    """A handler at work: an action or a check."""

    uses: str = Field(description="Name of an action or a check.")
    with_: dict[str, JsonValue] = Field({}, alias="with", description="Its parameters.")
    within: Duration = Field(StepSpec.within, description="Checks: look again until it passes, this long.")
    every: Duration = Field(StepSpec.every, gt=0, description="Checks: time between two looks.")
    passes: Looks = Field(1, description="Checks: how many passes in a row are wanted.")
    baseline: StepName | None = Field(None, description="The step whose output is what to compare with.")


class UsesMember(_Named, Uses):
    """A step of an option that runs an action or a check."""


class UsesStep(UsesMember):
    """A step that runs an action or a check."""

    phase: Phase = Field("act", description="preflight: a check before anything is touched.")
    gate: StepGate | None = None


class UndoMember(_Named, _Tried):
    """A step of an option that puts back what another step did."""

    undo: StepName = Field(description="The step whose change is taken back.")


class UndoStep(UndoMember):
    """A step that puts back what another step did."""

    gate: StepGate | None = None


class WatchStep(_Named, _Tried):
    """A step that runs every check of a track again and again."""

    repeat: Slug = Field(description="The track whose checks are run.")
    for_: Duration = Field(alias="for", gt=0, description="How long.")
    every: Duration = Field(30.0, gt=0, description="Time between two rounds.")
    passes: Looks = Field(1, description="How many rounds there must be at least.")


class GateStep(_Named):
    """A step that only asks people."""

    gate: StepGate


class OneStep(Uses):
    """An option that is a single step."""

    title: Text | None = None
    gate: OptionGate | None = None


class ManySteps(Strict):
    """An option of several steps, one after the other (a list: side by side)."""

    title: Text | None = None
    gate: OptionGate | None = None
    steps: list[MemberItem] = Field(min_length=1)


class LeaveOption(Strict):
    """An option that changes nothing: things are left as they are, because people say so."""

    title: Text | None = None
    gate: OptionGate


class Choose(Strict):
    """People pick one of several ways; one decision is taken for all steps of the option."""

    advise: StepName | None = Field(None, description="The check whose output recommends an option.")
    options: dict[Slug, Option] = Field(min_length=2)


class ChooseStep(_Named):
    """A step at which people pick a procedure."""

    choose: Choose


KINDS = ("uses", "undo", "repeat", "choose")
_ONE = "give exactly one of `uses`, `undo`, `repeat` and `choose`, or only a `gate`"


def _step_kind(data: Any) -> str | None:
    kind = _kind(data, *KINDS)
    return "<gate>" if kind is None and "gate" in data and not any(k in data for k in KINDS) else kind


def _member_kind(data: Any) -> str | None:
    return _kind(data, "uses", "undo")


def _option_kind(data: Any) -> str | None:
    kind = _kind(data, "uses", "steps")
    return "<gate>" if kind is None and "gate" in data and not any(k in data for k in ("uses", "steps")) else kind


def _kind(data: Any, *keys: str) -> str | None:
    """The tag of the alternative; None where it is none or several; what is no mapping is told so by the first."""
    if not isinstance(data, dict):
        return f"<{keys[0]}>"
    found = [k for k in keys if k in data]
    return f"<{found[0]}>" if len(found) == 1 else None


def _item_kind(data: Any) -> str:
    return "<list>" if isinstance(data, list) else "<step>"


PlanStep = Annotated[
    Annotated[UsesStep, Tag("<uses>")]
    | Annotated[UndoStep, Tag("<undo>")]
    | Annotated[WatchStep, Tag("<repeat>")]
    | Annotated[ChooseStep, Tag("<choose>")]
    | Annotated[GateStep, Tag("<gate>")],
    Discriminator(_step_kind, custom_error_type=NEITHER, custom_error_message=_ONE),
]
Member = Annotated[
    Annotated[UsesMember, Tag("<uses>")] | Annotated[UndoMember, Tag("<undo>")],
    Discriminator(
        _member_kind, custom_error_type=NEITHER,
        custom_error_message="a step of an option has exactly one of `uses` and `undo`",
    ),
]  # fmt: skip
MemberItem = Annotated[
    Annotated[Member, Tag("<step>")] | Annotated[list[Member], Field(min_length=1), Tag("<list>")],
    Discriminator(_item_kind),
]
Option = Annotated[
    Annotated[OneStep, Tag("<uses>")] | Annotated[ManySteps, Tag("<steps>")] | Annotated[LeaveOption, Tag("<gate>")],
    Discriminator(
        _option_kind, custom_error_type=NEITHER,
        custom_error_message="an option has exactly one of `uses` and `steps`, or only a `gate`",
    ),
]  # fmt: skip
Item = Annotated[
    Annotated[PlanStep, Tag("<step>")] | Annotated[list[PlanStep], Field(min_length=1), Tag("<list>")],
    Discriminator(_item_kind),
]


class PlanFile(Strict):
    """A procedure: tracks of steps."""

    name: Slug
    tracks: dict[Slug, Annotated[list[Item], Field(min_length=1)]] = Field(min_length=1)
    needs: list[Key] = Field([], description="Kinds of targets without which a service has no use for it, like site.")
    stand_ins: dict[Slug, Slug] = Field(
        {}, description="Role that a catalogue need not have -> the role that is asked where it has none."
    )
    definitions: JsonValue = Field(None, description="Ignored: a place for YAML anchors.")


ManySteps.model_rebuild()
Choose.model_rebuild()
ChooseStep.model_rebuild()

AnyStep = UsesStep | UndoStep | WatchStep | ChooseStep | GateStep
AnyMember = UsesMember | UndoMember
Work = Uses | UndoMember | WatchStep | GateStep | LeaveOption
"""What one compiled step is made of."""
