"""P3: everybody who has a part in this rollback can be reached, and every decision of it can be taken.

Fails where a channel cannot be posted to or a decision can be passed by nobody: both are found here rather than at
minute 20. Nobody on call, a channel that strangers read, Slack switched off: worth a look, no reason to wait.
"""

from collections.abc import Mapping

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Trouble, Unreachable

EXPECTED = "every channel can be posted to, and people who exist can take every decision"


class PeopleReachableParams(Params):
    """Who is to be reached where."""

    channels: dict[str, list[str]] = Field({}, description="Channels, by what they are for; each needs at least one.")


class PeopleReachableOutput(Output):
    """What is wrong, each with the reason; empty where nothing is."""

    cut_off: dict[str, str] = Field(description="Channels that cannot be posted to.")
    look_at: dict[str, str] = Field(description="Channels that can, but not quite as they should.")
    impossible: dict[str, str] = Field(description="Decisions that nobody who exists can pass.")
    off_call: dict[str, str] = Field(description="Roles of which nobody on call can be asked.")


class PeopleReachable(Check[PeopleReachableParams]):
    """Passes when the bot can post to every channel and every open decision can be passed by people who exist."""

    name = "people.reachable"
    needs = frozenset({"channels", "people"})
    Params = PeopleReachableParams
    Output = PeopleReachableOutput

    async def run(self, ctx: ReadCtx, p: PeopleReachableParams) -> Verdict:
        unknown, channels = "", dict[str, Trouble]()
        named = sorted({name for names in p.channels.values() for name in names})
        try:
            channels.update(await ctx.ports.channels.trouble(named))
        except Unreachable as error:
            unknown = f"channels: {error}"
        missing = {use: "the catalogue names none for the service" for use, names in p.channels.items() if not names}
        seen = PeopleReachableOutput(
            cut_off={name: t.what for name, t in channels.items() if t.cut_off},
            look_at={name: t.what for name, t in channels.items() if not t.cut_off} | missing,
            impossible=dict(await ctx.ports.people.impossible()),
            off_call=dict(await ctx.ports.people.off_call()),
        )
        return Verdict(_judge(seen, unknown), _words(seen, unknown), EXPECTED, seen.model_dump())


def _judge(seen: PeopleReachableOutput, unknown: str) -> Status:
    if seen.cut_off or seen.impossible:
        return Status.FAIL
    if unknown:
        return Status.UNKNOWN
    return Status.WARN if seen.look_at or seen.off_call else Status.PASS


def _words(seen: PeopleReachableOutput, unknown: str) -> str:
    found = [f"{name} {why}" for name, why in seen.impossible.items()]
    found += [*_grouped(seen.cut_off), *([unknown] if unknown else []), *_grouped(seen.look_at)]
    found += seen.off_call.values()
    return "; ".join(found) or EXPECTED


def _grouped(channels: Mapping[str, str]) -> list[str]:
    """One entry a reason, however many channels share it."""
    by_reason: dict[str, list[str]] = {}
    for name, why in channels.items():
        by_reason.setdefault(why, []).append(name)
    return [f"{', '.join(names)}: {why}" for why, names in by_reason.items()]
