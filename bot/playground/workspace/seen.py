"""What a person sees: messages, modals, and what came of something they did. Values, taken at one moment.

Invariant: nothing here changes afterwards; a `Post` read before an update still has the buttons it had, so that a test
can press them too late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.playground.copied import copied
from bot.playground.workspace.controls import controls
from bot.playground.workspace.plaintext import mrkdwn, plain
from bot.playground.workspace.shapes import entered
from bot.playground.workspace.state import Message, State, View
from bot.playground.workspace.wire import Json


@dataclass(frozen=True)
class Post:
    """A message. by, only_for: names; plain: everything it shows as text; text: its fallback, as sent; buttons: labels,
    menu entries included; revision: how often it was changed."""

    channel: str
    channel_id: str
    ts: str
    thread_ts: str | None
    by: str
    text: str
    plain: str
    blocks: tuple[Json, ...]
    buttons: tuple[str, ...]
    only_for: str | None = None
    edited: bool = False
    metadata: Json | None = None
    files: tuple[str, ...] = ()
    reactions: tuple[str, ...] = ()
    pinned: bool = False
    revision: int = 0

    @property
    def is_reply(self) -> bool:
        """Stands in a thread, not at its head."""
        return self.thread_ts is not None and self.thread_ts != self.ts


@dataclass(frozen=True)
class Modal:
    """A modal, or a home tab. values: `state.values`; inputs: the labels of its inputs, in order."""

    id: str
    kind: str
    title: str
    callback_id: str
    private_metadata: str
    hash: str
    plain: str
    blocks: tuple[Json, ...]
    values: Json
    inputs: tuple[str, ...]
    buttons: tuple[str, ...]
    submit: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a person saw right after they did something.

    error: what Slack itself says went wrong (operation_timeout, dispatch_failed, unknown_command ...); errors: under
    the inputs of a modal, by block_id; question: of a confirmation dialog that was not confirmed; whispers: for them
    alone; posts: new or changed messages of the app where they did it; modal: what they have in front of them now.
    """

    error: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    question: str = ""
    whispers: tuple[Post, ...] = ()
    posts: tuple[Post, ...] = ()
    modal: Modal | None = None

    @property
    def ok(self) -> bool:
        """Slack had nothing to complain of."""
        return not (self.error or self.errors or self.question)

    @property
    def text(self) -> str:
        """Everything that was said to them alone."""
        return "\n".join(w.plain for w in self.whispers)


def name_of(state: State, identity: str) -> str:
    """What a person, a channel or a group is called; the id itself where nobody knows it."""
    if identity in state.users:
        return state.users[identity].name
    if identity in state.groups:
        return state.groups[identity].handle
    return state.channels[identity].name if identity in state.channels else identity


def post_of(state: State, message: Message) -> Post:
    """A message as it is now."""

    def names(identity: str) -> str:
        return name_of(state, identity)

    shown = plain(message.blocks, names) if message.blocks else mrkdwn(message.text, names)
    attached = [plain(a.get("blocks", []), names) or str(a.get("text", "")) for a in message.attachments]
    files = [state.files[f].title for f in message.files]
    if message.subtype == "file_share" and message.text:
        shown = mrkdwn(message.text, names)
    return Post(
        channel=state.channels[message.channel].name,
        channel_id=message.channel,
        ts=message.ts,
        thread_ts=message.thread_ts,
        by=name_of(state, message.user),
        text=message.text,
        plain="\n".join(filter(None, [shown, *attached, *(f"[file: {name}]" for name in files)])),
        blocks=tuple(copied(message.blocks)),
        buttons=tuple(_labels(message.blocks)),
        only_for=name_of(state, message.only_for) if message.only_for else None,
        edited=message.edited is not None,
        metadata=copied(message.metadata),
        files=tuple(files),
        reactions=tuple(message.reactions),
        pinned=message.pinned,
        revision=message.revision,
    )


def modal_of(state: State, view: View) -> Modal:
    """A view as it is now."""
    given = view.definition
    return Modal(
        id=view.id,
        kind=view.kind,
        title=given.get("title", {}).get("text", ""),
        callback_id=given.get("callback_id", ""),
        private_metadata=given.get("private_metadata", ""),
        hash=view.hash,
        plain=plain(given["blocks"], lambda identity: name_of(state, identity)),
        blocks=tuple(copied(given["blocks"])),
        values=entered(view),
        inputs=tuple(c.label for c in controls(given["blocks"]) if c.block is not None),
        buttons=tuple(_labels(given["blocks"])),
        submit=given.get("submit", {}).get("text", ""),
    )


def _labels(blocks: list[Json]) -> list[str]:
    found = []
    for control in controls(blocks):
        if control.kind == "overflow":
            found += [o["text"]["text"] for o in control.element["options"]]
        elif control.kind == "button":
            found.append(control.label)
    return found
