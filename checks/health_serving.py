"""V1: the service says that it is healthy, and that the release which is meant to serve does.

Only a health page that answers can pass: no answer, or one that says nothing about health, is unknown.
"""

from pydantic import Field

from bot.contract import Check, HttpTarget, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Reply, Unreachable


class HealthServingParams(Params):
    """Where to look, and for what."""

    target: HttpTarget = Field(description="HTTP target of the catalogue that is asked.")
    path: str = Field("/healthz", pattern="^/", description="Path of its health page below the target.")
    release: str | None = Field(None, description="Version that must be the one serving; left out: any.")


class HealthServingOutput(Output):
    """What the health page said."""

    status: int = Field(description="HTTP status of the health page.")
    release: str | None = Field(description="Version that serves, where the page names one.")
    errors: float | None = Field(description="Share of failing requests, 0 to 1, where the page gives one.")


class HealthServing(Check[HealthServingParams]):
    """Passes when the health page answers 200 and names the expected release."""

    name = "health.serving"
    needs = frozenset({"http"})
    Params = HealthServingParams
    Output = HealthServingOutput

    async def run(self, ctx: ReadCtx, p: HealthServingParams) -> Verdict:
        expected = f"200 from release {p.release}" if p.release else "200"
        try:
            reply = await ctx.ports.http.get(p.target, p.path)
        except Unreachable as error:
            return Verdict(Status.UNKNOWN, str(error), expected)
        seen = _read(reply)
        words = [str(seen.status), f"from release {seen.release}" if seen.release else "names no release"]
        if seen.errors is not None:
            words.append(f"{seen.errors:.1%} errors")
        return Verdict(_judge(seen, p.release), ", ".join(words), expected, seen.model_dump())


def _read(reply: Reply) -> HealthServingOutput:
    page = reply.json if isinstance(reply.json, dict) else {}
    release, errors = page.get("release"), page.get("errors")
    return HealthServingOutput(
        status=reply.status,
        release=release if isinstance(release, str) else None,
        errors=errors if isinstance(errors, int | float) and not isinstance(errors, bool) else None,
    )


def _judge(seen: HealthServingOutput, expected: str | None) -> Status:
    if seen.status >= 500:
        return Status.FAIL
    if seen.status != 200 or (expected and seen.release is None):
        return Status.UNKNOWN  # some other page: this says nothing about health
    if expected and seen.release != expected:
        return Status.FAIL
    return Status.WARN if seen.errors else Status.PASS
