"""The Web API, by families of methods. Importing this package registers them all."""

from bot.playground.workspace.api import chat, conversations, files, marks, other, users, views

__all__ = ["chat", "conversations", "files", "marks", "other", "users", "views"]
