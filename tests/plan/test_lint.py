"""A plan that compiles can still be refused: for its promises, its wiring, its people."""

from __future__ import annotations

import pytest

from bot.plan.compile import Compiled, compile_file
from bot.plan.lint import lint
from bot.policy import Person
from tests.plan.example_handlers import REGISTRY

BEN = Person("ben", "Ben", frozenset({"dba"}))
CHO = Person("cho", "Cho", frozenset({"approver", "dba"}))
ASKED = "gate: {by: {dba: 1}}"


def steps(*lines: str) -> Compiled:
    text = "name: p\ntracks:\n  t:\n" + "".join(f"    - {line}\n" for line in lines)
    return compile_file(text, source="p.yaml", registry=REGISTRY, service=None, roles=None)


def linted(*lines: str) -> list[str]:
    return [str(f) for f in lint(steps(*lines), ports=("http", "postgres", "blobs"), people=(BEN, CHO))]


def choice(down: str, keep: str = "uses: schema.keep") -> str:
    return f"{{id: c, choose: {{options: {{down: {{{down}}}, keep: {{{keep}}}}}}}}}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"{{id: a, uses: schema.downgrade, {ASKED}}}"], None),
        (["{id: a, uses: schema.downgrade}"], "4:7: tracks.t[0]: 'a' destroys data (schema.downgrade) and nobody"),
        ([choice(f"uses: schema.downgrade, {ASKED}")], None),
        ([choice("uses: schema.downgrade")], "4:40: tracks.t[0].choose.options.down: 'c.down' destroys data"),
        (
            ["{id: s, uses: schema.advise}",
             '{id: a, uses: schema.downgrade, gate: {by: {dba: 1}, unless: "${steps.s.keep_proven}"}}'],
            "5:7: tracks.t[1]: 'a' destroys data (schema.downgrade); its gate must not have `unless`",
        ),
        ([f"{{id: a, uses: schema.downgrade, {ASKED}}}", "{id: b, undo: a}"], "5:7: tracks.t[1]: 'b' destroys data"),
    ],
)  # fmt: skip
def test_a_destructive_step_is_never_without_a_gate(lines: list[str], expected: str | None) -> None:
    _expect(linted(*lines), expected)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["{id: a, uses: workers.pause}", "{id: b, undo: a}"], None),
        (["{id: a, uses: workers.pause}"], "4:7: tracks.t[0]: 'a' is temporary and never undone; add"),
        (
            ["{id: a, uses: workers.pause}", '{id: b, undo: a, when: "${target.version} == x"}'],
            "4:7: tracks.t[0]: 'a' is temporary, but 'b' undoes it only under a condition",
        ),
        (
            ['{id: a, uses: workers.pause, when: "${target.version} == x"}',
             '{id: b, undo: a, when: "${target.version} == x"}'],
            None,
        ),
        (
            [choice("steps: [{id: a, uses: workers.pause}, {id: b, undo: a}]")],
            "4:79: tracks.t[0].choose.options.down.steps[1]: 'c.down.b' undoes 'c.down.a', which has not acted",
        ),
        ([choice("steps: [{id: a, uses: workers.pause}]"), "{id: b, undo: c.down.a}"], None),
        ([choice("uses: workers.pause")], "4:40: tracks.t[0].choose.options.down: 'c.down' is temporary and"),
        (
            ["{id: a, uses: workers.pause}", choice("steps: [{id: b, undo: a}]")],
            "4:7: tracks.t[0]: 'a' is temporary, but undone only in 'c.down'; undo it in every option",
        ),
        (["{id: a, uses: workers.pause}", choice("steps: [{id: b, undo: a}]", "steps: [{id: b, undo: a}]")], None),
    ],
)  # fmt: skip
def test_a_temporary_step_is_undone_whatever_is_chosen(lines: list[str], expected: str | None) -> None:
    _expect(linted(*lines), expected)


def test_a_port_that_this_bot_lacks_is_named_once_where_it_is_needed() -> None:
    plan = steps("{id: a, uses: workers.pause}", "{id: b, undo: a}", "{id: s, uses: health.serving, phase: verify}",
                 "{id: w, repeat: t, for: 5m}")  # fmt: skip
    assert [str(f) for f in lint(plan, ports=("https",), people=())] == [
        "p.yaml:4:7: tracks.t[0]: workers.pause needs port 'http', which this bot does not have; did you mean 'https'?",
        "p.yaml:6:7: tracks.t[2]: health.serving needs port 'http', which this bot does not have; "
        "did you mean 'https'?",
    ]


def test_a_decision_that_nobody_could_take_is_refused() -> None:
    plan = steps("{id: a, gate: {by: {dba: 2, approver: 1}}}", "{id: b, gate: {by: {dba: 1}}}")
    place = "p.yaml:4:21: tracks.t[0].gate: nobody could take decision 'a': it needs 2 dbas and an approver;"
    assert [str(f)[: len(place)] for f in lint(plan, ports=(), people=(BEN, CHO))] == [place]
    barred = lint(plan, ports=(), people=(BEN, CHO), barred=("ben", "cho"))
    assert [f.path for f in barred] == ["tracks.t[0].gate", "tracks.t[1].gate"]


def test_a_watch_over_nothing_verified_is_refused() -> None:
    _expect(linted("{id: s, uses: health.serving}", "{id: w, repeat: t, for: 5m}"), "5:7: tracks.t[1]: no check has")
    _expect(linted("{id: s, uses: health.serving, phase: verify}", "{id: w, repeat: t, for: 5m}"), None)


A, B = "id: a, uses: schema.keep", "id: b, uses: schema.keep"
G, BY = "gate: {group: g}", "gate: {group: g, by: {dba: 1}}"
PODS = "${steps.a.pods}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"{{{A}, {BY}}}", f"{{{B}, {G}}}"], None),
        (["{id: q, gate: {by: {dba: 1}}}"], None),
        ([f"{{{A}, {BY}}}", f"{{id: q, {G}}}"], "5:7: tracks.t[1]: 'q' only asks people, amid"),
        (
            [f"{{{A}, {BY}}}", "{id: q, gate: {by: {dba: 1}}}", f"{{{B}, {G}}}"],
            "5:7: tracks.t[1]: 'q' only asks people, amid the steps of decision 'g'; put it before or behind them",
        ),
        ([f"{{id: h, uses: health.serving, {ASKED}}}"], "4:7: tracks.t[0]: 'h' is a check, of which there is nothing"),
        ([choice("steps: [{id: a, uses: schema.keep}, {id: h, uses: health.serving}]")], "4:77: tracks.t[0].choose"),
        ([f"{{{A}, {BY}}}", "{id: h, uses: health.serving}", f"{{{B}, {G}}}"], None),
        (
            [f"{{id: a, uses: release.deploy, with: {{release: x}}, {BY}}}",
             f'{{id: b, uses: release.deploy, with: {{release: x, replicas: "{PODS}"}}, {G}}}'],
            "5:7: tracks.t[1]: 'b' reads ${steps.a.pods}, which is not known when decision 'g' is made; let it be",
        ),
        (
            [f"{{id: a, uses: release.deploy, with: {{release: x}}, {BY}}}",
             f'{{id: b, uses: schema.keep, when: "{PODS} == 3", {G}}}'],
            "5:7: tracks.t[1]: 'b' reads ${steps.a.pods}",
        ),
        (
            [f"{{id: a, uses: release.deploy, with: {{release: x}}, {BY}}}",
             f'{{id: n, uses: schema.keep, when: "{PODS} == 3"}}', f"{{{B}, {G}}}"],
            "5:7: tracks.t[1]: 'n' reads ${steps.a.pods}",
        ),
        (
            [f"{{{A}, {BY}}}", "{id: s, uses: schema.advise}",
             f'{{id: b, uses: schema.keep, when: "${{steps.s.order}} == deploy-first", {G}}}'],
            "6:7: tracks.t[2]: 'b' reads ${steps.s.order}",
        ),
        (
            ["{id: s, uses: schema.advise}", f"{{{A}, {BY}}}",
             f'{{id: b, uses: schema.keep, when: "${{steps.s.order}} == deploy-first", {G}}}'],
            None,
        ),
        (
            [f"{{id: a, uses: release.deploy, with: {{release: x}}, {BY}}}", f"{{{B}, {G}}}",
             f'{{id: c, uses: schema.keep, when: "{PODS} == 3"}}'],
            None,
        ),
        (
            [f"{{id: a, uses: workers.pause, {BY}}}", f"{{id: b, undo: a, {G}}}"],
            "5:7: tracks.t[1]: 'b' undoes 'a', which has not acted when decision 'g' is made; put it behind",
        ),
        (
            [f"{{id: a, uses: workers.pause, {BY}}}", "{id: u, undo: a}", f"{{{B}, {G}}}"],
            "5:7: tracks.t[1]: 'u' undoes 'a'",
        ),
    ],
)  # fmt: skip
def test_what_is_decided_in_one_go_can_be_planned_in_one_go(lines: list[str], expected: str | None) -> None:
    _expect(linted(*lines), expected)


def test_a_plan_from_the_record_is_linted_without_its_file() -> None:
    found = lint(steps("{id: a, uses: schema.downgrade}").plan, ports=("postgres",), people=())
    assert [str(f)[:45] for f in found] == ["p:1:1: a: 'a' destroys data (schema.downgrade"]


def _expect(found: list[str], expected: str | None) -> None:
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1 and found[0].startswith(f"p.yaml:{expected}"), found
