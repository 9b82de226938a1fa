"""What is missing between a run's screen and what Slack shows of it: the calls that would make them equal. Pure.

Invariants:
- asked again after each call, from what is stored: there is no list of things still to be said;
- a post that may be there already is looked for before it is posted;
- what a run shows first in a channel is there before anything else of it: no end is told of a run without a card;
- fixed posts of one place come in the order of the screen; everything else in the order of its urgency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bot.slack.draw.post import Post, Screen, Upload, Urgency
from bot.slack.publish.pacing import POSTS_APART, UPDATES_APART, Ask
from bot.slack.publish.trouble import SLACK
from bot.store.log import Slot

Kind = Literal["resolve", "post", "find", "update", "upload", "find_file"]
Lane = Literal["post", "update", "file"]
"""Calls of one run that wait for each other."""

_METHOD: Mapping[Kind, str] = {
    "resolve": "conversations.list",
    "post": "chat.postMessage",
    "find": "conversations.history",
    "update": "chat.update",
    "upload": "files.completeUploadExternal",
    "find_file": "conversations.replies",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Op(Ask):
    """A call that brings a run's picture closer. slot: what is stored, or to be stored, of it; channel: an id, a name
    only to be resolved; thread: ts of the message it stands under."""

    kind: Kind
    post: Post
    slot: Slot
    thread: str = ""
    upload: Upload | None = None

    @property
    def lane(self) -> Lane:
        if self.upload is not None:
            return "file"
        return "update" if self.kind == "update" else "post"

    @property
    def where(self) -> tuple[str, ...]:
        """The places whose trouble holds this up."""
        return SLACK, self.method, self.slot.channel, self.own

    @property
    def own(self) -> str:
        """The place that is this post."""
        return f"{self.slot.run}/{self.slot.name}"


@dataclass(frozen=True, slots=True)
class DrawnScreen:
    """A run's screen, with its digests, as it was last drawn."""

    run: str
    screen: Screen
    digests: Mapping[str, str]

    @classmethod
    def of(cls, run: str, screen: Screen) -> DrawnScreen:
        return cls(run, screen, {p.slot: p.message.digest for p in screen.posts})

    def wanted(
        self,
        slots: Mapping[str, Slot],
        resolve: Callable[[str], str | None],
        since: Callable[[str], float],
        stuck: Callable[[str], bool] = lambda _: False,
    ) -> list[Op]:
        """The calls that are wanted now, given what is stored. resolve: channel -> its id; since: slot -> since when;
        stuck: whether Slack refuses this slot, so that others need not wait for it."""
        found, waits = [], set[tuple[str, str]]()
        for post in self.screen.posts:
            slot = slots.get(post.slot)
            if slot is None or not slot.ts:
                place = (post.channel, post.under)
                if (head := self._first_in(post)) != post.slot and not stuck(head):
                    there = slots.get(head)
                    if there is None or not there.ts:
                        continue  # its card first
                if post.fixed and place in waits:
                    continue  # its predecessor first
                if post.fixed and not stuck(post.slot):
                    waits.add(place)
                found += self._post(post, slot, slots, resolve, since)
            else:
                if not post.fixed and slot.digest != self.digests[post.slot]:
                    found.append(self._op("update", post, slot, since))
                found += self._files(post, slot, slots, since)
        return found

    def _first_in(self, post: Post) -> str:
        """The slot that stands first in a post's channel; its own where it stands in a thread."""
        if post.under:
            return post.slot
        return next(p.slot for p in self.screen.posts if p.channel == post.channel and not p.under)

    def _waits(self, post: Post, slot: str) -> bool:
        return slot in (post.under, self._first_in(post)) and post.slot != slot

    def _post(
        self,
        post: Post,
        slot: Slot | None,
        slots: Mapping[str, Slot],
        resolve: Callable[[str], str | None],
        since: Callable[[str], float],
    ) -> list[Op]:
        parent = slots.get(post.under) if post.under else None
        if post.under and (parent is None or not parent.ts):
            return []
        thread = parent.ts if parent else ""
        if slot is not None:
            return [self._op("find", post, slot, since, thread)]
        channel = parent.channel if parent else resolve(post.channel)
        new = Slot(self.run, post.slot, channel or post.channel, "", self.digests[post.slot])
        return [self._op("resolve" if channel is None else "post", post, new, since, thread)]

    def _files(self, post: Post, slot: Slot, slots: Mapping[str, Slot], since: Callable[[str], float]) -> list[Op]:
        thread = slots[post.under].ts if post.under in slots else slot.ts
        found = []
        for upload in post.files:
            name = f"{post.slot}/{upload.name}"
            file = slots.get(name)
            if file is None:
                new = Slot(self.run, name, slot.channel, "", "")
                found.append(self._op("upload", post, new, since, thread, upload))
            elif not file.ts:
                found.append(self._op("find_file", post, file, since, thread, upload))
        return found

    def _op(
        self,
        kind: Kind,
        post: Post,
        slot: Slot,
        since: Callable[[str], float],
        thread: str = "",
        upload: Upload | None = None,
    ) -> Op:
        method = "conversations.replies" if kind == "find" and thread else _METHOD[kind]
        urgency: Urgency = "news" if post.urgency == "live" and kind != "update" else post.urgency
        if kind != "update" and any(self._waits(p, slot.name) and p.urgency == "decision" for p in self.screen.posts):
            urgency = "decision"  # it waits for this one
        place, apart = "", 0.0
        if kind == "post":
            place, apart = slot.channel, POSTS_APART
        elif kind == "update":
            place, apart = f"{slot.channel}/{slot.ts}", UPDATES_APART
        return Op(
            method, urgency, since(slot.name), place, apart,
            kind=kind, post=post, slot=slot, thread=thread, upload=upload,
        )  # fmt: skip
