"""A plan file has one compiled form: edges, decisions, choices and typed references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.catalogue import Service
from bot.contract import Json
from bot.handlers.registry import Registry
from bot.located import Faults
from bot.plan.compile import compile_file, compile_plan
from bot.plan.model import Choice, Condition, Decision, Plan, StepSpec, resolve
from bot.plan.order import circles, ordered
from bot.policy import Gate, Requirement
from checks.health_serving import HealthServing
from checks.people_reachable import PeopleReachable
from tests.plan.example_handlers import REGISTRY

SHOP = Service("shop", "Shop", limits={"pods": 3, "careful": True})
STANDARD = """
name: standard
tracks:
  prepare:
    - {id: serving, uses: health.serving, phase: preflight}
    - {id: advise, uses: schema.advise, phase: preflight}
    - {id: start, gate: {by: {commander: 1}, self_approval: true}}
  backend:
    - {id: pause-workers, uses: workers.pause, after: [start], gate: {group: backend, by: {approver: 1}, remind: 30s}}
    - id: deploy
      uses: release.deploy
      gate: {group: backend, escalate: 10m, title: Bring the backend back}
      timeout: 20m
      failures: 5
      with:
        release: "${target.version}"
        replicas: "${service.limits.pods}"
        places: [{region: "${service.name}", order: "${steps.advise.order}"}]
    - id: schema
      title: Database
      when: "${steps.advise.order} == deploy-first"
      choose:
        advise: advise
        options:
          keep: {uses: schema.keep, gate: {by: {dba: 1}, unless: "${steps.advise.keep_proven}"}}
          down:
            title: Downgrade the schema
            gate: {by: {dba: 1, approver: 2}, typed_phrase: true}
            steps:
              - {id: quiesce, uses: service.quiesce}
              - [{id: downgrade, uses: schema.downgrade}, {id: look, uses: health.serving}]
              - {id: reopen, undo: quiesce}
    - {id: health, uses: health.serving, within: 5m, every: 10, passes: 3}
    - {id: resume, undo: pause-workers}
  verify:
    - - {id: v1, uses: health.serving, phase: verify, after: [resume], baseline: deploy}
      - {id: v2, uses: health.serving, phase: verify, after: [schema]}
    - {id: watch, repeat: verify, for: 15m, passes: 10}
"""


def compiled(text: str) -> Plan:
    return compile_plan(text, source="p.yaml", registry=REGISTRY, service=SHOP, roles=None)


def steps(*lines: str) -> Plan:
    return compiled("name: p\ntracks:\n  t:\n" + "".join(f"    - {line}\n" for line in lines))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compiled(STANDARD)


def test_a_track_and_after_and_every_mention_become_edges(plan: Plan) -> None:
    after = {s.id: set(s.after) for s in plan.steps}
    assert after == {
        "serving": set(),
        "advise": {"serving"},
        "start": {"advise"},
        "pause-workers": {"start"},
        "deploy": {"pause-workers", "advise"},
        "schema.keep": {"deploy", "advise"},
        "schema.down.quiesce": {"deploy", "advise"},
        "schema.down.downgrade": {"schema.down.quiesce", "advise"},
        "schema.down.look": {"schema.down.quiesce", "advise"},
        "schema.down.reopen": {"schema.down.quiesce", "schema.down.downgrade", "schema.down.look", "advise"},
        "health": {"schema.keep", "schema.down.reopen"},
        "resume": {"health", "pause-workers"},
        "v1": {"resume", "deploy"},
        "v2": {"schema.keep", "schema.down.reopen"},
        "watch": {"v1", "v2"},
    }


def test_steps_keep_the_order_of_the_file_where_edges_allow_it(plan: Plan) -> None:
    assert [s.id for s in plan.steps][:4] == ["serving", "advise", "start", "pause-workers"]
    turned = compiled(
        "name: p\ntracks:\n  one: [{id: b, uses: health.serving, after: [c]}, {id: d, uses: health.serving}]\n"
        "  two: [{id: c, uses: health.serving}, {id: a, uses: health.serving}]\n"
    )
    assert [s.id for s in turned.steps] == ["c", "b", "d", "a"]


def test_decisions_and_choices_are_what_people_decide(plan: Plan) -> None:
    one_dba = Gate((Requirement("dba"),))
    down = ("schema.down.quiesce", "schema.down.downgrade", "schema.down.look", "schema.down.reopen")
    both = Gate((Requirement("dba"), Requirement("approver", 2)), typed_phrase=True)
    backend = Gate((Requirement("approver"),), remind=30.0, escalate=600.0)
    assert plan.decisions == (
        Decision("start", "Start", ("start",), Gate((Requirement("commander"),), self_approval=True)),
        Decision("backend", "Bring the backend back", ("pause-workers", "deploy"), backend),
        Decision("schema.keep", "Keep", ("schema.keep",), one_dba, "steps.advise.keep_proven", "schema", "keep"),
        Decision("schema.down", "Downgrade the schema", down, both, None, "schema", "down"),
    )
    assert plan.choices == (Choice("schema", "Database", ("keep", "down"), "advise"),)
    assert {s.id: s.decision for s in plan.steps if s.decision} == {
        member: d.name for d in plan.decisions for member in d.members
    }


def test_a_step_says_what_it_is(plan: Plan) -> None:
    assert plan.by_id["deploy"] == StepSpec(
        "deploy", "Deploy", "backend", "action", uses="release.deploy",
        params={
            "release": {"$ref": "target.version"},
            "replicas": {"$ref": "service.limits.pods"},
            "places": [{"region": {"$ref": "service.name"}, "order": {"$ref": "steps.advise.order"}}],
        },
        after=("advise", "pause-workers"), decision="backend", timeout=1200.0, failures=5, needs=("http",),
    )  # fmt: skip
    assert plan.by_id["health"] == StepSpec(
        "health", "Health", "backend", "check", uses="health.serving", params={},
        after=("schema.keep", "schema.down.reopen"), within=300.0, every=10.0, passes=3, needs=("http",),
    )  # fmt: skip
    assert plan.by_id["watch"] == StepSpec(
        "watch", "Watch", "verify", "watch", after=("v1", "v2"), phase="verify", every=30.0, passes=10,
        repeat=("v1", "v2"), lasting=900.0, needs=("http",),
    )  # fmt: skip
    assert (plan.by_id["v1"].baseline, plan.by_id["start"].kind) == ("deploy", "gate")
    assert (plan.by_id["schema.down.downgrade"].destructive, plan.by_id["schema.down.quiesce"].temporary) == (
        True, True,
    )  # fmt: skip


def test_a_preflight_step_never_halts_the_run(plan: Plan) -> None:
    assert {s.on_fail for s in plan.steps if s.phase == "preflight"} == {"continue"}


def test_an_undo_does_what_the_undone_step_did_and_is_no_debt_itself(plan: Plan) -> None:
    done, undone = plan.by_id["pause-workers"], plan.by_id["resume"]
    assert (undone.kind, undone.undo, undone.uses, undone.params) == ("undo", "pause-workers", done.uses, {})
    assert (done.temporary, undone.temporary, undone.needs) == (True, False, done.needs)
    two = steps(
        "{id: advise, uses: schema.advise}",
        '{id: go, uses: release.deploy, with: {release: "${steps.advise.order}"}}',
        "{id: back, undo: go}",
    )
    assert two.by_id["back"].refs == {"steps.advise.order"}


def test_inside_an_option_its_own_steps_come_first() -> None:
    plan = steps(
        "{id: quiesce, uses: service.quiesce}",
        "{id: c, choose: {options: {a: {steps: [{id: quiesce, uses: service.quiesce}, {id: back, undo: quiesce}]}, "
        "b: {steps: [{id: back, undo: quiesce}]}}}}",
        "{id: end, undo: c.a.quiesce}",
    )
    assert {s.id: s.undo for s in plan.steps if s.undo} == {
        "c.a.back": "c.a.quiesce",
        "c.b.back": "quiesce",
        "end": "c.a.quiesce",
    }


def test_a_choice_can_be_written_once_and_used_twice() -> None:
    plan = compiled("""
name: p
definitions:
  schema: &schema {options: {keep: {uses: schema.keep}, down: {gate: {by: {dba: 1}}, uses: schema.downgrade}}}
tracks:
  prepare: [{id: advise, uses: schema.advise}]
  t:
    - {id: first, choose: *schema, when: "${steps.advise.order} == down-first"}
    - {id: then, choose: *schema, when: "${steps.advise.order} != down-first"}
""")
    assert [d.name for d in plan.decisions] == ["first.keep", "first.down", "then.keep", "then.down"]
    assert plan.by_id["then.keep"].when == Condition("steps.advise.order", False, "down-first")
    assert plan.decision["first.keep"].gate is None


@pytest.mark.parametrize(
    ("when", "condition"),
    [
        ("${target.version} == 2.4", Condition("target.version", True, "2.4")),
        ("${target.version} == true", Condition("target.version", True, "true")),
        ("${ target.frontend } != null", Condition("target.frontend", False, None)),
        ("${target.frontend} != 'null'", Condition("target.frontend", False, "null")),
        ("${service.limits.pods} == 5", Condition("service.limits.pods", True, 5)),
        ("${service.limits.careful}==false", Condition("service.limits.careful", True, False)),
        ("${steps.advise.minutes} == 1.5", Condition("steps.advise.minutes", True, 1.5)),
        ("${steps.advise.minutes} != 2", Condition("steps.advise.minutes", False, 2)),
        ("${steps.advise.option} == keep it", Condition("steps.advise.option", True, "keep it")),
    ],
)
def test_a_condition_is_typed_by_what_it_reads(when: str, condition: Condition) -> None:
    plan = steps("{id: advise, uses: schema.advise}", f'{{id: a, uses: health.serving, when: "{when}"}}')
    assert plan.by_id["a"].when == condition


@pytest.mark.parametrize(
    ("written", "seconds"), [("30s", 30.0), ("5m", 300.0), ("1h", 3600.0), ("500ms", 0.5), ("1.5m", 90.0), ("7", 7.0)]
)
def test_durations_are_seconds(written: str, seconds: float) -> None:
    assert steps(f"{{id: a, uses: health.serving, timeout: {written}}}").by_id["a"].timeout == seconds


def test_without_a_service_its_limits_are_taken_on_trust() -> None:
    text = """
name: p
tracks: {t: [{id: a, uses: release.deploy, with: {release: x, share: "${service.limits.anything}"}}]}
"""
    assert compile_plan(text, source="p", registry=REGISTRY, service=None, roles=None).steps[0].refs
    with pytest.raises(Faults, match="has no limit 'anything'"):
        compiled(text)


def test_a_step_can_be_for_services_with_such_a_target_alone() -> None:
    def plan(kind: str) -> Plan:
        when = f"${{service.has.{kind}}} == true"
        return compiled(
            f'name: p\ntracks: {{t: [{{id: a, uses: release.deploy, with: {{release: x}}, when: "{when}"}}]}}'
        )

    assert plan("kubernetes").steps[0].when == Condition("service.has.kubernetes", equal=True, value=True)
    with pytest.raises(Faults, match="did you mean 'kubernetes'"):
        plan("kubernete")


def test_a_plan_that_needs_what_a_service_has_not_does_not_fit_it() -> None:
    def plan(kind: str) -> str:
        return f"name: p\nneeds: [{kind}]\ntracks: {{t: [{{id: a, uses: release.deploy, with: {{release: x}}}}]}}"

    with pytest.raises(Faults, match="service 'shop' has no site, which this plan is for"):
        compiled(plan("site"))
    with pytest.raises(Faults, match="no kind of target 'kubernete'; did you mean 'kubernetes'"):
        compiled(plan("kubernete"))
    assert compile_plan(plan("site"), source="p", registry=REGISTRY, service=None, roles=None).steps


@pytest.mark.parametrize(
    "roles, asked",
    [
        (("commander", "approver", "dba"), (Requirement("dba"), Requirement("approver"))),
        (("commander", "approver"), (Requirement("approver"),)),
        (None, (Requirement("dba"), Requirement("approver"))),
    ],
)
def test_where_a_catalogue_has_no_dba_the_stand_in_is_asked_and_once(
    roles: tuple[str, ...] | None, asked: tuple[Requirement, ...]
) -> None:
    text = (
        "name: p\nstand_ins: {dba: approver}\n"
        "tracks: {t: [{id: a, uses: schema.downgrade, gate: {by: {dba: 1, approver: 1}}}]}"
    )
    plan = compile_plan(text, source="p", registry=REGISTRY, service=None, roles=roles)
    assert plan.decisions[0].gate == Gate(asked)


def test_a_stand_in_that_no_catalogue_has_is_a_mistake() -> None:
    text = "name: p\nstand_ins: {dba: nobody}\ntracks: {t: [{id: a, gate: {by: {dba: 1}}}]}"
    with pytest.raises(Faults, match="no role is named 'dba'"):
        compile_plan(text, source="p", registry=REGISTRY, service=None, roles=("commander", "approver"))


@pytest.mark.parametrize("service", [SHOP, None])
def test_a_service_s_channels_are_lists_of_text(service: Service | None) -> None:
    def plan(uses: str, given: str) -> Plan:
        text = f"name: p\ntracks: {{t: [{{id: a, uses: {uses}, with: {given}}}]}}"
        registry = Registry.of(PeopleReachable(), HealthServing())
        return compile_plan(text, source="p", registry=registry, service=service, roles=None)

    step = plan("people.reachable", '{channels: {incident: "${service.channels.incident}"}}').steps[0]
    assert step.params == {"channels": {"incident": {"$ref": "service.channels.incident"}}}
    with pytest.raises(Faults, match="is a list; target must be text"):
        plan("health.serving", '{target: "${service.channels.incident}"}')
    with pytest.raises(Faults, match="did you mean 'incident'"):
        plan("people.reachable", '{channels: {incident: "${service.channels.incidents}"}}')


def test_the_digest_is_of_the_meaning_not_of_the_text(plan: Plan) -> None:
    same = compiled("# a comment\n" + STANDARD.replace("20m", "1200s"))
    assert same.digest == plan.digest
    assert compiled(STANDARD.replace("20m", "21m")).digest != plan.digest


def test_a_fault_found_later_is_shown_at_the_step_or_gate() -> None:
    found = compile_file(STANDARD.strip(), source="p.yaml", registry=REGISTRY, service=SHOP, roles=None)
    step, gate = found.fault("deploy", "too slow"), found.fault("schema.down", "nobody can", gate=True)
    assert str(step) == "p.yaml:9:7: tracks.backend[1]: too slow"
    assert (gate.path, gate.line) == ("tracks.backend[2].choose.options.down.gate", 27)


def test_references_are_replaced_at_any_depth_and_a_missing_value_names_its_reference(plan: Plan) -> None:
    values: Mapping[str, Json] = {
        "target.version": "2.4.0", "service.limits.pods": 3, "service.name": "shop", "steps.advise.order": "any",
    }  # fmt: skip
    params = plan.by_id["deploy"].params or {}
    assert resolve(params, values.__getitem__) == {
        "release": "2.4.0",
        "replicas": 3,
        "places": [{"region": "shop", "order": "any"}],
    }
    with pytest.raises(LookupError, match=r"steps\.advise\.order"):
        resolve(params, {k: v for k, v in values.items() if "advise" not in k}.__getitem__)


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_order_and_circles_tell_the_same_story(edges: set[tuple[int, int]]) -> None:
    names = [f"s{i}" for i in range(10)]
    after = {f"s{a}": {f"s{y}" for x, y in edges if x == a} for a in range(10)}
    found = ordered(names, after)
    if circles(names, after):
        assert len(found) < len(names)
        for circle in circles(names, after):
            assert all(b in after[a] for a, b in zip(circle, [*circle[1:], circle[0]], strict=True))
    else:
        assert sorted(found) == names
        assert all(found.index(b) < found.index(a) for a in names for b in after[a])


def test_compiling_again_gives_an_equal_plan(plan: Plan) -> None:
    again = compiled(STANDARD)
    assert again == plan and replace(again, name="other").digest != plan.digest


def test_an_option_with_only_a_gate_changes_nothing_and_is_decided() -> None:
    found = steps(
        "{id: first, uses: schema.keep}",
        "{id: c, choose: {options: {leave: {title: Leave it as it is, gate: {by: {dba: 1}}}, "
        "down: {gate: {by: {dba: 1}}, uses: schema.downgrade}}}}",
        "{id: last, uses: health.serving}",
    )
    leave, decision = found.by_id["c.leave"], found.decision["c.leave"]
    assert (leave.kind, leave.uses, leave.after, leave.decision) == ("gate", "", ("first",), "c.leave")
    assert (decision.title, decision.members) == ("Leave it as it is", ("c.leave",))
    assert (decision.choice, decision.option, decision.gate) == ("c", "leave", Gate((Requirement("dba"),)))
    assert found.choices[0].options == ("leave", "down")
    assert found.by_id["last"].after == ("c.leave", "c.down")
