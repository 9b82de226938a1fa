"""Block Kit as Slack's servers judge it: shapes, limits, surfaces, and what whole messages and views must keep."""

from bot.playground.workspace.blockkit.rules import Refusal, refuse_message, refuse_view
from bot.playground.workspace.blockkit.schema import Problem

__all__ = ["Problem", "Refusal", "refuse_message", "refuse_view"]
