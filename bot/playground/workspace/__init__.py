"""A strict Slack workspace on loopback, which an unchanged slack-bolt app connects to; imports nothing of ours.

It is the test double of everything that speaks to Slack, and the Slack of the demo: `Workspace` is the server,
`Workspace.driver` the people in it, `Workspace.faults` what goes wrong.
"""

from bot.playground.workspace.app import App
from bot.playground.workspace.cast import Cast, standard_cast
from bot.playground.workspace.clock import Clock
from bot.playground.workspace.driver import Driver
from bot.playground.workspace.faults import Fault
from bot.playground.workspace.people import Channel, Group, User
from bot.playground.workspace.seen import Modal, Outcome, Post
from bot.playground.workspace.server import Workspace

__all__ = [
    "App",
    "Cast",
    "Channel",
    "Clock",
    "Driver",
    "Fault",
    "Group",
    "Modal",
    "Outcome",
    "Post",
    "User",
    "Workspace",
    "standard_cast",
]
