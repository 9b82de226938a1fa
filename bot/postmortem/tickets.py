"""The ticket of a postmortem in the shapes of Jira, GitHub and a plain webhook. Pure: paths and bodies go out, what was
found or filed is read back.

Neither Jira nor GitHub knows idempotency keys, so each ticket carries the run's id as a label, and whoever files looks
for it first.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from bot.ports import Json
from bot.ports.history import Ticket

LABEL = "postmortem"


@dataclass(frozen=True, slots=True)
class Filed:
    """A ticket that is there. url: "" where none is told."""

    name: str
    url: str


def mark(run: str) -> str:
    """The label by which the ticket of a run is found."""
    return f"rollback-{run}"


def search(t: Ticket, run: str) -> str:
    """The path that lists the run's tickets; "" where there is no looking (a plain webhook)."""
    if t.form == "jira":
        jql = f'project = "{t.project}" AND labels = "{mark(run)}"'
        return f"{t.search}?{urlencode({'jql': jql, 'fields': 'summary', 'maxResults': 1})}"
    if t.form == "github":
        asked = urlencode({"labels": mark(run), "state": "all", "per_page": 1})
        return f"/repos/{t.project}/issues?{asked}"
    return ""


def path(t: Ticket) -> str:
    """Where it is posted to."""
    return {"jira": "/rest/api/2/issue", "github": f"/repos/{t.project}/issues"}.get(t.form, t.path)


def body(t: Ticket, run: str, title: str, text: str, due: str) -> Json:
    """What is posted. due: local date of the meeting, "2026-11-24"."""
    labels: list[Json] = [LABEL, mark(run), *t.labels]
    if t.form == "jira":
        fields: dict[str, Json] = {"project": {"key": t.project}, "issuetype": {"name": t.type}}
        return {"fields": {**fields, "summary": title[:255], "description": text, "labels": labels, "duedate": due}}
    if t.form == "github":
        return {"title": title[:256], "body": text, "labels": labels}
    return {"title": title, "text": text, "labels": labels, "due": due, "run": run}


def found(t: Ticket, document: Json) -> Filed | None:
    """The first ticket of a search's answer. ValueError for an answer that is no listing."""
    listed = document.get("issues") if t.form == "jira" and isinstance(document, dict) else document
    if not isinstance(listed, list):
        raise ValueError("its search answers no list of issues")
    return filed(t, listed[0]) if listed else None


def filed(t: Ticket, document: Json) -> Filed:
    """What the answer to a post, or one entry of a search, says. Never fails: what it does not say is left out."""
    told = document if isinstance(document, dict) else {}
    if t.form == "jira":
        return Filed(str(told.get("key") or "the ticket"), "")
    number = told.get("number")
    name = f"{t.project}#{number}" if number is not None and t.form == "github" else "the ticket"
    url = told.get("html_url") or told.get("url") if t.form == "github" else told.get("url")
    return Filed(name, url if isinstance(url, str) else "")
