"""What is typed behind /rollback, read as it was meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.hear.slash import SlashCommand, help_lines, person, said
from bot.words import Unclear

SERVICES = ("shop", "billing")
TYPED = Path(__file__).parents[1] / "cases/slack/br24-slash-texts.json"


@pytest.mark.parametrize(("text", "meant"), [
    ("", SlashCommand("open")),
    ("shop", SlashCommand("open", "shop")),
    ("Shop", SlashCommand("open", "shop")),
    ("shop to 2.4.0", SlashCommand("open", "shop", "2.4.0")),
    ("shop plan `frontend-only`, because x", SlashCommand("open", "shop", reason="x", plan="frontend-only")),
    ("shop to 2.4.0 because  checkout\u00a0fails", SlashCommand("open", "shop", "2.4.0", reason="checkout fails")),
    ("shop because a &lt; b &amp; c", SlashCommand("open", "shop", reason="a < b & c")),
    ("shop because <@U0BEN00001|ben> saw <https://x.example/a|this> in <#C0INC04211|inc>",
     SlashCommand("open", "shop", reason="@ben saw https://x.example/a in #inc")),
    ("STATUS", SlashCommand("status")),
    ("show shop", SlashCommand("status", "shop")),
    ("stop because I look", SlashCommand("stop", reason="I look")),
    ("abort shop-1a2b3c because over", SlashCommand("abort", "shop-1a2b3c", reason="over")),
    ("skip deploy because x", SlashCommand("skip", subject="deploy", reason="x")),
    ("skip shop deploy because x", SlashCommand("skip", "shop", "deploy", reason="x")),
    ("skip shop-1a2b3c Pause workers because x", SlashCommand("skip", "shop-1a2b3c", "Pause workers", reason="x")),
    ("skip Pause workers because x", SlashCommand("skip", subject="Pause workers", reason="x")),
    ("undo Shop Serves the target release", SlashCommand("undo", "Shop", "Serves the target release")),
    ("hand-over Freeze deployments to @ben until 2h",
     SlashCommand("hand-over", subject="Freeze deployments", to="ben", until="2h")),
    ("retarget to 2.3.9 because x", SlashCommand("retarget", subject="2.3.9", reason="x")),
    ("retarget shop 2.3.9", SlashCommand("retarget", "shop", "2.3.9")),
    ("preview", SlashCommand("preview")),
    ("preview shop", SlashCommand("preview", "shop")),
    ("preview to 2.3.9", SlashCommand("preview", subject="2.3.9")),
    ("preview shop to 2.3.9", SlashCommand("preview", "shop", "2.3.9")),
    ("offer <@U0DEE00001|dee>", SlashCommand("offer", to="U0DEE00001")),
    ("offer to @dee", SlashCommand("offer", to="dee")),
    ("hand-over quiesce to <@U0BEN00001> until 18:00 because x",
     SlashCommand("hand-over", subject="quiesce", to="U0BEN00001", until="18:00", reason="x")),
    ("handover shop quiesce", SlashCommand("hand-over", "shop", "quiesce")),
    ("agree ab12cd", SlashCommand("agree", subject="ab12cd")),
    ("tell", SlashCommand("tell")),
    ("tell shop", SlashCommand("tell", "shop")),
    ("Tell that Paying by card fails because the bank is away \u2014 sorry; Invoices work, `carts` too",
     SlashCommand("tell", impact="Paying by card fails because the bank is away \u2014 sorry",
                  workaround="Invoices work, `carts` too")),
    ("tell shop-1a2b3c that <@U0BEN00001|ben> says &lt;so&gt;",
     SlashCommand("tell", "shop-1a2b3c", impact="@ben says <so>")),
    ("postmortem shop-1a2b3c at 2026-12-01 10:00", SlashCommand("postmortem", "shop-1a2b3c", at="2026-12-01 10:00")),
    ("postmortem", SlashCommand("postmortem")),
    ("token revoke", SlashCommand("token", "revoke")),
    ("shop to 2.4.0\u2014checkout fails", SlashCommand("open", "shop", "2.4.0", reason="checkout fails")),
    ("shop because a-b \u2014 c, `d`", SlashCommand("open", "shop", reason="a-b \u2014 c, `d`")),
    ("\uff53\uff48\uff4f\uff50 to \u201c2.4.0\u2011rc1\u201d", SlashCommand("open", "shop", "2.4.0-rc1")),
    ("hand\u2011over quiesce to <@U0BEN00001>, until 18:00",
     SlashCommand("hand-over", subject="quiesce", to="U0BEN00001", until="18:00")),
])  # fmt: skip
def test_words_are_read_as_they_were_meant(text: str, meant: SlashCommand) -> None:
    assert said(text, SERVICES) == meant


@pytest.mark.parametrize("typed", [c["text"] for c in json.loads(TYPED.read_text(encoding="utf-8"))])
def test_what_phones_and_other_keyboards_type_is_read_as_it_was_meant(typed: str) -> None:
    assert said(typed, SERVICES) == SlashCommand("open", "shop", "2.4.0", reason="checkout fails")


@pytest.mark.parametrize(("text", "guess"), [
    ("stauts", "Did you mean `/rollback status`?"),
    ("shopp", "Did you mean `/rollback shop`?"),
    ("xyzzy", "Services are billing, shop."),
    ("tell shop paying fails", "Write `/rollback tell [RUN] that WORDS; what works all the same`"),
    ("stop shop now", "`now` behind stop. Write `/rollback stop [RUN]`"),
    ("shop 2.4.0", "I do not understand '2.4.0'"),
])  # fmt: skip
def test_what_means_nothing_gets_a_guess(text: str, guess: str) -> None:
    with pytest.raises(Unclear) as caught:
        said(text, SERVICES)
    assert guess in str(caught.value)


@given(st.text())
def test_any_words_are_understood_or_refused(text: str) -> None:
    try:
        assert said(text, SERVICES).do
    except Unclear as e:
        assert 0 < len(str(e)) < 400


def test_a_person_is_an_id_or_a_name() -> None:
    assert [person(w) for w in ("<@U1A|ben>", "<@W1A>", "@ben", "U1A")] == ["U1A", "W1A", "ben", "U1A"]


def test_help_fits_into_one_answer() -> None:
    assert sum(map(len, help_lines())) < 3500
