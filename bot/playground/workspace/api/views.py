"""views.*: modals and home tabs. https://docs.slack.dev/reference/methods?family=views"""

from __future__ import annotations

from bot.playground.workspace import modals
from bot.playground.workspace.method import Call, method
from bot.playground.workspace.rates import TIER_4
from bot.playground.workspace.shapes import view_json
from bot.playground.workspace.state import View
from bot.playground.workspace.wire import Json, SlackError, invalid


@method("views.open", "trigger_id! interactivity_pointer view!:json", rate=TIER_4)
def open_(call: Call) -> Json:
    """A modal for whoever caused the trigger."""
    definition = modals.checked(call.state, call.args["view"])
    trigger = call.state.trigger(call.text("trigger_id"), modals.TRIGGER)
    if call.state.stacks.get(trigger.user):
        modals.close(call.state, trigger.user, everything=True)
    return _answer(call, modals.show(call.state, trigger.user, definition))


@method("views.push", "trigger_id! interactivity_pointer view!:json", rate=TIER_4)
def push(call: Call) -> Json:
    """A modal on top of the one that the trigger came from."""
    definition = modals.checked(call.state, call.args["view"])
    trigger = call.state.trigger(call.text("trigger_id"), modals.TRIGGER)
    if trigger.view is None or trigger.view not in call.state.stacks.get(trigger.user, []):
        raise SlackError("not_found")
    return _answer(call, modals.show(call.state, trigger.user, definition))


@method("views.update", "view_id external_id hash view!:json", rate=TIER_4)
def update(call: Call) -> Json:
    """Show something else in an open modal."""
    view_id, external_id = call.args.get("view_id"), call.args.get("external_id")
    if not view_id and not external_id:
        raise invalid("either view_id or external_id must be provided")
    view = call.state.view(view_id, external_id)
    if view is None or view.kind != "modal":
        raise SlackError("not_found")
    definition = modals.checked(call.state, call.args["view"], replaces=view)
    return _answer(call, modals.update(call.state, view, definition, call.args.get("hash")))


@method("views.publish", "user_id! hash view!:json", rate=TIER_4)
def publish(call: Call) -> Json:
    """What one person sees in the app's home tab."""
    user = call.text("user_id")
    if user not in call.state.users:
        raise SlackError("user_not_found")
    old = call.state.view(call.state.homes.get(user))
    definition = modals.checked(call.state, call.args["view"], kind="home", replaces=old)
    return _answer(call, modals.publish(call.state, user, definition, call.args.get("hash")))


def _answer(call: Call, view: View) -> Json:
    return {"view": view_json(call.state, view)}
