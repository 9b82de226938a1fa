"""Modals and home tabs: opened with a trigger, stacked three deep, updated against a hash.

https://docs.slack.dev/surfaces/modals

Invariants: a trigger is used once, within `TRIGGER` seconds; values that a person entered stay over an update for
inputs whose block and action keep their ids; a view that is closed is gone.
"""

from __future__ import annotations

import json

from bot.playground.copied import copied
from bot.playground.workspace.blockkit import refuse_view
from bot.playground.workspace.controls import controls, initial
from bot.playground.workspace.shapes import complete
from bot.playground.workspace.state import Change, State, View
from bot.playground.workspace.wire import Json, SlackError, invalid

TRIGGER = 3.0
"""Seconds in which a trigger must be used."""
DEPTH = 3
"""Views in one stack."""
SIZE = 250_000
"""Bytes of one view."""


def checked(state: State, definition: object, *, kind: str = "modal", replaces: View | None = None) -> Json:
    """The view as Slack keeps it. SlackError for one that it refuses. replaces: the view that it is to update."""
    problems = refuse_view(definition)
    if problems or not isinstance(definition, dict):
        raise invalid(*map(str, problems))
    if definition["type"] != kind:
        raise invalid("must match the `type` of the root view whose stack we're pushing onto [json-pointer:/view/type]")
    if len(json.dumps(definition).encode()) > SIZE:
        raise SlackError("view_too_large")
    other = state.view(None, definition.get("external_id"))
    if other is not None and other is not replaces:
        raise SlackError("duplicate_external_id")
    return {**copied(definition), "blocks": complete(state, definition["blocks"])}


def show(state: State, user: str, definition: Json) -> View:
    """Open a modal, on top of the ones that are open."""
    stack = state.stacks.setdefault(user, [])
    if len(stack) >= DEPTH:
        raise SlackError("push_limit_reached")
    view_id = state.new_id("V")
    root = state.views[stack[0]].root if stack else view_id
    view = View(view_id, user, "modal", definition, "", root, stack[-1] if stack else None)
    state.views[view_id] = view
    stack.append(view_id)
    return _settle(state, view, definition)


def publish(state: State, user: str, definition: Json, expected: str | None) -> View:
    """Set somebody's home tab. expected: the hash it must have, if given."""
    view = state.view(state.homes.get(user))
    if view is None:
        view_id = state.new_id("V")
        view = state.views[view_id] = View(view_id, user, "home", definition, "", view_id)
        state.homes[user] = view_id
    elif expected is not None and expected != view.hash:
        raise SlackError("hash_conflict")
    return _settle(state, view, definition)


def update(state: State, view: View, definition: Json, expected: str | None = None) -> View:
    """Replace what a view shows. expected: the hash it must have, if given."""
    if expected is not None and expected != view.hash:
        raise SlackError("hash_conflict")
    return _settle(state, view, definition)


def close(state: State, user: str, *, everything: bool = False) -> list[View]:
    """Take the modal on top away, or all of them; what was closed, topmost first."""
    stack = state.stacks.get(user, [])
    gone = []
    while stack:
        gone.append(state.views.pop(stack.pop()))
        if not everything:
            break
    state.note(Change("view", user=user))
    return gone


def _settle(state: State, view: View, definition: Json) -> View:
    """Fill in the values: what was entered where the input is still there, else what it starts with."""
    kept = view.entered
    view.definition = definition
    view.entered = {}
    for control in controls(definition["blocks"]):
        key = (control.block_id, control.action_id)
        if control.stateful:
            old = kept.get(key)
            view.entered[key] = old if old and old["type"] == control.kind else initial(control.element)
    view.hash = f"{int(state.clock.time())}.{state.new_id('h').lower()}"
    state.note(Change("view", ts=view.id, user=view.user, by_app=True))
    return view
