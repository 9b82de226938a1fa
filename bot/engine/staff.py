"""The ports `people` and `channels` of a run: who of those that exist can still decide, and, without Slack, that
nobody hears anything. Asked anew each time: people come and go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from bot.catalogue import Role
from bot.people import Directory
from bot.policy import Gate
from bot.policy.approval import eligible
from bot.ports import Trouble
from bot.run.state import Run


@dataclass(frozen=True, slots=True)
class Staff:
    """`bot.ports.People` of one run. roles: those of the catalogue."""

    run: Run
    directory: Directory
    roles: Mapping[str, Role]

    async def impossible(self) -> Mapping[str, str]:
        """Open decision -> why nobody can pass it."""
        decided = [name for name, asked in self.run.asked.items() if asked.decided]
        return self.run.plan.impossible(await self.directory.everyone(), self.run.barred, decided)

    async def off_call(self) -> Mapping[str, str]:
        """Needed role that has a schedule -> why nobody on it can be asked."""
        everyone = await self.directory.everyone()
        found: dict[str, str] = {}
        for gate, name in self._seats():
            able = eligible(
                Gate(tuple(r for r in gate.by if r.role == name), gate.self_approval), everyone, self.run.barred
            )
            if able and not any(name in p.on_call for p in able):
                others = ", ".join("@" + p.name for p in able[:3])
                found[name] = f"nobody on call for {name} may decide; {others} may"
        return found

    def _seats(self) -> Iterator[tuple[Gate, str]]:
        """Each open decision's gate with each role of it that has a schedule."""
        for d in self.run.plan.decisions:
            if d.gate is None or self.run.asked[d.name].decided:
                continue
            for name in sorted(d.gate.roles):
                role = self.roles.get(name)
                if role is not None and (role.on_call.people or role.on_call.groups):
                    yield d.gate, name


class NoChannels:
    """`bot.ports.Channels` of a bot without Slack: nobody hears anything, which is how it was set up."""

    async def trouble(self, names: Collection[str]) -> Mapping[str, Trouble]:
        """Every channel, with the reason."""
        what = "Slack is off, so nothing is posted; people are asked on the command line"
        return {name: Trouble(what, cut_off=False) for name in names}
