"""The timeline of a run is one page that needs nothing else, shows text as text, and says what its hashes are worth."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from bot.audit import html
from bot.contract import Change, Receipt, Status, Verdict
from bot.run import events as ev
from bot.store.chain import Stored, event_hash
from tests.audit.test_verifying import EVERY, stored
from tests.store.conftest import ANA, Sample

SAMPLE = Sample()
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser would make of the page: its tags with attributes, and its text; wrong nesting is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.shown: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.shown.append(data)

    @property
    def text(self) -> str:
        return "".join(self.shown)


def timed(*events: tuple[float, ev.Event]) -> list[Stored]:
    """Rows with these moments (seconds since the start), hashed as the store does it."""
    rows: list[Stored] = []
    for row, (second, _) in zip(stored([e for _, e in events]), events, strict=True):
        at, prev = 1_763_900_000_000_000 + round(second * 1e6), rows[-1].hash if rows else row.prev
        hash_ = event_hash(prev, row.run, row.seq, at, row.kind, row.body)
        rows.append(replace(row, at=at, prev=prev, hash=hash_))
    return rows


STORY = timed(
    (0, SAMPLE.created()),
    (0.25, ev.Started("deploy", 1, 1, "plan", "node")),
    (200, ev.Approved("go", {"deploy": "f00"}, ANA, "approver")),
    (201, ev.Failed("deploy", 1, "unknown", "reset by peer")),
    (202, ev.Recorded("deploy", 2, "kubectl scale")),
    (203, ev.Restored()),
    (90_000, ev.Closed("verified", note="all eight pass")),
)


def item(page: str, seq: int) -> str:
    """What the page has for one entry."""
    found = re.search(rf'<li class="[^"]*" id="e{seq}">.*?</li>', page, re.DOTALL)
    assert found is not None
    return found[0]


def test_the_head_of_the_page_says_who_what_when_and_how_it_ended() -> None:
    text = Page(html(STORY)).text
    for line in (
        "Rollback of shop: 2.4.1 → 2.4.0",
        "Verified after 1 d 1 h: all eight pass",
        "checkout fails",
        "ana (commander), U1 via slack",
        "2025-11-23 12:13:20.000 UTC",
        "2025-11-24 13:13:20.000 UTC",
        '"go": ana as approver, 12:16:40',
        STORY[-1].hash,
        "rollback-bot audit r1 verify",
        "rollback-bot audit r1 export --format jsonl",
    ):
        assert line in text, line


def test_every_entry_has_its_time_its_sentence_and_its_details() -> None:
    rows = stored(EVERY)
    page = Page(html(rows))
    assert page.tags.count("li") == len(EVERY) + 1 and page.tags.count("time") == len(EVERY)
    assert 'ana approved "go" as approver, with the phrase typed' in page.text
    assert "shop/image: now 2.4.1" in page.text and "kubectl -n shop scale | tee `x`" in page.text


def test_times_are_told_from_the_start_and_days_and_pauses_stand_between() -> None:
    page = html(STORY)
    assert ">12:13:20.250</time><span>+0.2 s</span>" in item(page, 2)
    assert "<span>+3 min 20 s</span>" in item(page, 3)
    assert page.index("3 min 20 s later") < page.index('id="e3"') and page.count(" later</li>") == 1
    assert [m for m in re.findall(r'class="day">([^<]*)<', page)] == ["2025-11-23", "2025-11-24"]


def test_a_step_that_was_done_anew_took_what_both_took_and_not_the_time_between() -> None:
    started, planned, applying, begun, _ = SAMPLE.work()
    applied = ev.Applied("deploy", 2, Receipt("done"))
    again = ev.Started("deploy", 3, 2, "apply", "node"), ev.Applied("deploy", 3, Receipt("done"))
    moments = (0, 1, 2, 10, 11, 20, 500, 505)
    events = (SAMPLE.created(), started, planned, applying, begun, applied, *again)
    text = Page(html(timed(*zip(moments, events, strict=True)))).text
    assert "15 s (2 times)" in text and "Step by step" in text


def test_what_people_decided_and_what_went_wrong_is_set_off_and_commands_are_not_folded() -> None:
    page = html(STORY)
    assert '<li class="decision"' in item(page, 3) and ">decision</span>" in item(page, 3)
    assert '<li class="trouble"' in item(page, 4) and ">trouble</span>" in item(page, 4)
    assert '<li class="done"' in item(page, 7) and '<li class="plain"' in item(page, 2)
    assert "<details>" in item(page, 3)
    assert "<details>" not in item(page, 5) and "<pre>kubectl scale</pre>" in item(page, 5)
    bad = timed((0, ev.Checked("deploy", 1, Verdict(Status.UNKNOWN, "no answer", "0.1 %"))))
    assert '<li class="trouble"' in html(bad)


def test_a_role_that_was_minutes_old_is_told_beside_the_yes() -> None:
    new = ev.Approved("go", {"deploy": "f00"}, ANA, "approver", young={"approver": 240})
    page = html(timed((0, SAMPLE.created()), (200, new)))
    assert page.count("as approver, first seen as one 4 min before") == 2, (
        "where it is told who decided, and by the entry"
    )
    alone = ev.BrokeGlass("go", {"deploy": "f00"}, ANA, "nobody is up", {"commander": 5})
    assert "(commander, first seen as one 5 s before)" in html(timed((0, SAMPLE.created()), (200, alone)))


def test_an_open_run_and_a_retargeted_one_are_called_so() -> None:
    page = html(STORY[:-1])
    assert "<b>Not ended</b>" in page and "or of a later one" in page
    moved = replace(SAMPLE.created().target, version="2.3.9")
    page = html(timed((0, SAMPLE.created()), (5, ev.Retargeted(moved, "bad too", ANA))))
    assert "<h1>Rollback of shop: 2.4.1 → 2.3.9</h1>" in page


def test_an_altered_row_is_denounced() -> None:
    assert "this record was altered" not in html(STORY)
    for bad in (
        [*STORY[:2], replace(STORY[2], body=STORY[2].body.replace("ana", "eve")), *STORY[3:]],
        [*STORY[:2], *STORY[3:]],
    ):
        page = html(bad)
        assert "this record was altered" in page and "and fit" not in page


def test_rows_that_make_no_sense_are_shown_as_such() -> None:
    last = STORY[-1]
    odd = [replace(last, at=10**18), replace(last, kind="no such kind"), replace(last, body="[]")]
    for row in odd:
        page = Page(html([row]))
        assert page.tags.count("time") == 1 and "altered" in page.text
    assert "closed, which cannot be read" in html([odd[2]])
    never = html(timed((0, ev.HandedOver("deploy", "U2", 1e300, ANA, "x"))))
    assert "handed over, which cannot be read" in never
    assert Page(html([])).text.count("An empty record") == 2


PLANTED = (
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "\"onload='x' &lt;",
    "]]><!--",
    "javascript:\u202e\x00",
)


def test_a_planted_script_is_text_wherever_it_stands() -> None:
    for planted in PLANTED:
        actor = replace(ANA, name=planted, id=planted, roles=(planted,), via=planted)
        created = replace(SAMPLE.created(), service=planted, reason=planted, by=actor, evidence=(planted,))
        rows = timed(
            (0, created),
            (1, ev.Recorded(planted, 1, planted)),
            (2, ev.Drifted("deploy", 1, Change(planted), planted, (planted,))),
            (3, ev.BrokeGlass(planted, {planted: planted}, actor, planted)),
            (4, ev.Closed("closed", actor, planted)),
            (5, ev.Unknown(planted, "{}")),
        )
        rows = [replace(r, run=planted, hash=planted) for r in rows]
        assert_harmless(html(rows))


@given(st.text())
def test_no_text_becomes_a_tag_or_an_attribute(text: str) -> None:
    rows = timed((0, replace(SAMPLE.created(), reason="x")), (1, ev.Recorded("deploy", 1, "x")))
    rows = [replace(rows[0], run=text, kind=text), replace(rows[1], hash=text, kind=text, body=text)]
    assert_harmless(html(rows))


def assert_harmless(text: str) -> None:
    page = Page(text)
    assert set(page.tags) <= {
        "html", "meta", "title", "style", "main", "h1", "h2", "p", "b", "dl", "div", "dt", "dd", "ol", "li", "time",
        "span", "details", "summary", "pre", "section", "a", "header", "table", "thead", "tbody", "tr", "th", "td",
        "ul", "figure", "figcaption", "img", "code", "br",
    }  # fmt: skip
    allowed = {"lang", "charset", "http-equiv", "content", "name", "class", "id", "datetime", "href", "scope", "style"}
    allowed |= {"aria-label", "aria-labelledby", "aria-hidden", "role", "tabindex", "colspan", "alt", "src"}
    assert {name for name, _ in page.attributes} <= allowed
    assert all(re.fullmatch(r"[a-z0-9.;:%-]+", value or "") for name, value in page.attributes if name == "style")
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", text)


def test_the_page_needs_nothing_but_itself() -> None:
    text = html(stored(EVERY))
    page = Page(text)
    assert all(
        value and value.startswith(("#e", "#happened")) for name, value in page.attributes if name in ("href", "src")
    )
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    policy = next(value for name, value in page.attributes if name == "content" and value and "default-src" in value)
    assert policy.startswith("default-src 'none'")
