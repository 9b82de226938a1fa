"""What an attempt is called, in the log and by whoever executes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class AttemptId:
    """Attempt `n` of an application of a step; in words `<run>.<step>.<application>#<n>`. A run has no dot."""

    run: str
    step: str
    application: int
    n: int

    def __post_init__(self) -> None:
        if not self.run or "." in self.run or not self.step:
            raise ValueError(f"no attempt of run {self.run!r}, step {self.step!r}: a run has a name without dots")

    def __str__(self) -> str:
        return f"{self.run}.{self.step}.{self.application}#{self.n}"

    @classmethod
    def parse(cls, text: str) -> AttemptId:
        """The attempt a text names. ValueError if it names none."""
        rest, _, n = text.rpartition("#")
        rest, _, application = rest.rpartition(".")
        run, _, step = rest.partition(".")
        try:
            return cls(run, step, int(application), int(n))
        except ValueError:
            raise ValueError(f"{text!r} is not <run>.<step>.<application>#<n>") from None
