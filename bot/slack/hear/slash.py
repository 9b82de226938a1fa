"""What is typed behind `/rollback`, read as it was meant. Pure.

    /rollback                                       a form
    /rollback shop                                  the same, filled in
    /rollback shop to 2.4.0 because checkout fails  straight to the card
    /rollback shop plan frontend-only because ...   the same by another plan
    /rollback VERB [RUN] ... [because ...]          everything else; RUN is a run's id or a service

Words that mean nothing here get a guess. What is missing (a reason, a step) is asked for in a form, by whoever reads
this; nothing here knows a run.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bot.located import nearest
from bot.run.commands import TABLE
from bot.run.declared import PLAIN, Declared
from bot.words import Unclear, because, run_like, sentence

COMMAND = "/rollback"
EXAMPLE = f"{COMMAND} shop to 2.4.0 because checkout fails"

_TYPED = {do: c for do, c in TABLE.items() if c.chat}
"""Commands that are typed here; of the others people press buttons."""
_ALSO = {word: do for do, c in TABLE.items() for word in c.also}
_PERSON = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")
_NAMED = re.compile(r"<([@#])[A-Z0-9]+\|([^<>|]+)>")
_HYPHEN = re.compile(r"[\u2010-\u2013\u2212]")
_LONG_DASH = re.compile(r"[\u2014\u2015]")
_DASHES = frozenset("\u2012\u2013\u2014\u2015\u2212-") | {"--"}
_AROUND = "`,;'\"*~\u2018\u2019\u201c\u201d\u201e\u3001\u3002"
_JOINERS = str.maketrans("", "", "\u200c\u200d")
_LINK = re.compile(r"<((?:https?|mailto):[^<>|]+)(?:\|[^<>]*)?>")


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """What somebody wants. do: a verb, or `open` for a rollback; run: a word for the run, empty for the one that this
    channel is about; subject: step, release or proposal; plan: its name, of a rollback; to: a person; until, at: a time
    in words. Empty: not said."""

    do: str
    run: str = ""
    subject: str = ""
    to: str = ""
    until: str = ""
    reason: str = ""
    impact: str = ""
    workaround: str = ""
    plan: str = ""
    at: str = ""


def said(text: str, services: Collection[str]) -> SlashCommand:
    """What these words mean. Unclear says what would have been understood. services: names in the catalogue."""
    plain = _plain(text)
    first = _bare(plain.split()[0]).lower() if plain.split() else ""
    if first in _TYPED and _TYPED[first].options == PLAIN:
        return _telling(first, plain.split()[1:])
    words, reason = because(_dashed(plain))
    words, reason = [w for w in map(_bare, words) if w], _readable(reason)
    if not words:
        return SlashCommand("open", reason=reason)
    verb = _ALSO.get(words[0].lower(), words[0].lower())
    if verb in _TYPED:
        return _verb(_TYPED[verb], words[1:], reason, services)
    service = next((s for s in services if s.lower() == verb), None)
    if service is None:
        raise Unclear(f"I do not understand `{_shown(words[0])}`{_guess(verb, services)}")
    wanted = sentence([service, *words[1:]], EXAMPLE)
    return SlashCommand("open", service, wanted.to or "", reason=reason, plan=wanted.plan or "")


def person(word: str) -> str:
    """The id in `<@U…|name>`; any other word as it is, without its @."""
    found = _PERSON.fullmatch(word)
    return found[1] if found else word.removeprefix("@")


def help_lines() -> list[str]:
    """Everything that is understood, a line each, in Slack's markup."""
    by = f"`{COMMAND} shop plan frontend-only because ...`  the same by another plan than the service's own"
    first = [f"`{COMMAND}`  a form", f"`{EXAMPLE}`  straight to the card", by]
    rest = [f"`{COMMAND} {do}`  {c.chat}" for do, c in _TYPED.items()]
    last = "In a channel with one open rollback these mean that one; else name a run or a service behind the verb."
    return [*first, *rest, f"{last} Decisions are made on their cards."]


def _verb(c: Declared, words: Sequence[str], reason: str, services: Collection[str]) -> SlashCommand:
    """`[RUN]` and the fields of the command, by the places that they have in words."""
    if c.subject == "release" or c.do == "preview":
        return _release(c.do, words, reason)
    if c.options == ("at",):
        rest, at = _after(words, "at")
        _at_most(c.do, rest, 1, "[RUN] at TIME")
        return SlashCommand(c.do, rest[0] if rest else "", at=" ".join(at))
    if c.options:
        return _handing(c.do, words, reason, services)
    if c.subject:
        run, subject = _last(words, services)
        return SlashCommand(c.do, run, subject, reason=reason)
    if c.placed:
        plain = [w for w in words if w.lower() != "to"]
        _at_most(c.do, plain, 2, "[RUN] @PERSON")
        run, to = _last(plain, ())
        return SlashCommand(c.do, run, to=person(to), reason=reason)
    _at_most(c.do, words, 1, "[RUN]")
    return SlashCommand(c.do, words[0] if words else "", reason=reason)


def _release(verb: str, words: Sequence[str], reason: str) -> SlashCommand:
    """`[RUN] [to] VERSION`; for a preview a word alone is a run or a service."""
    plain = [w for w in words if w.lower() != "to"]
    _at_most(verb, plain, 2, "[RUN] to VERSION")
    if verb == "preview" and len(plain) == 1 and len(words) == 1:
        return SlashCommand(verb, plain[0], reason=reason)
    run, version = _last(plain, ())
    return SlashCommand(verb, run, version, reason=reason)


def _handing(verb: str, words: Sequence[str], reason: str, services: Collection[str]) -> SlashCommand:
    """`[RUN] STEP to PERSON until TIME`."""
    rest, until = _after(words, "until")
    rest, to = _after(rest, "to")
    run, subject = _last(rest, services)
    return SlashCommand(verb, run, subject, person(" ".join(to)), " ".join(until), reason)


def _telling(verb: str, words: Sequence[str]) -> SlashCommand:
    """`[RUN] that WORDS; WORDS`: what customers notice, and behind the semicolon what works all the same. Nothing else
    is read in it: "because" and dashes are those of a sentence."""
    place = next((i for i, w in enumerate(words) if w.lower() == "that"), len(words))
    before = [w for w in map(_bare, words[:place]) if w]
    if len(before) > 1:
        shape = f"`{COMMAND} {verb} [RUN] that WORDS; what works all the same`"
        raise Unclear(f"Write {shape}, or `{COMMAND} {verb}` alone for a form.")
    impact, _, workaround = _readable(" ".join(words[place + 1 :])).partition(";")
    return SlashCommand(verb, "".join(before), impact=impact.strip(), workaround=workaround.strip())


def _after(words: Sequence[str], word: str) -> tuple[list[str], list[str]]:
    """The words before and behind one word."""
    place = next((i for i, w in enumerate(words) if w.lower() == word), len(words))
    return list(words[:place]), list(words[place + 1 :])


def _last(words: Sequence[str], services: Collection[str]) -> tuple[str, str]:
    """(run, subject): one word alone is the subject, and so are several that begin with no run: "Pause workers"."""
    if len(words) > 1 and (not services or run_like(words[0], services)):
        return words[0], " ".join(words[1:])
    return "", " ".join(words)


def _at_most(verb: str, words: Sequence[str], n: int, shape: str) -> None:
    if len(words) > n:
        extra = _shown(" ".join(words[n:]))
        raise Unclear(f"I do not understand `{extra}` behind {verb}. Write `{COMMAND} {verb} {shape}`.")


def _guess(word: str, services: Collection[str]) -> str:
    near = nearest(word, [*_TYPED, *(s.lower() for s in services)])
    listed = f"`{COMMAND} help` lists what I do."
    if near:
        return f". Did you mean `{COMMAND} {near}`? {listed}"
    names = ", ".join(sorted(services)[:10])
    return f". Services are {names}. {listed}"


def _shown(text: str) -> str:
    return text.replace("`", "'")[:60]


def _readable(reason: str) -> str:
    """Mentions and links as people read them: a reason is recorded, and read elsewhere too."""
    return _LINK.sub(r"\1", _NAMED.sub(r"\1\2", reason))


def _dashed(text: str) -> list[str]:
    """The words; a dash, which phones make of `--`, begins the reason where nothing else does."""
    words = _LONG_DASH.sub(r" \g<0> ", text).split()
    dash = next((i for i, w in enumerate(words) if w in _DASHES), None)
    if dash is None or any(w.lower() == "because" for w in words[:dash]):
        return text.split()
    return [*words[:dash], "because", *words[dash + 1 :]]


def _bare(word: str) -> str:
    """A word without quotes and commas around it, in plain letters, with hyphens for what looks like one."""
    if word.startswith("<"):
        return word.rstrip(",;")
    plain = unicodedata.normalize("NFKC", word.translate(_JOINERS))
    return _HYPHEN.sub("-", plain.strip(_AROUND))


def _plain(text: str) -> str:
    """As it was typed: Slack escapes & < > where commands are escaped."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
