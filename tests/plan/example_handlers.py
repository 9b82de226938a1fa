"""Handlers that the plans of these tests use: real ones that touch nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from bot.contract import (
    Action,
    Change,
    Check,
    Ctx,
    Output,
    Params,
    ReadCtx,
    Receipt,
    Status,
    Value,
    Verdict,
)
from bot.handlers.registry import Registry


class Nothing(Params):
    """No parameters."""


class Quiet(Action[Nothing]):
    """Changes nothing; the actions here differ in what they declare."""

    Params = Nothing

    async def plan(self, ctx: ReadCtx, p: Nothing) -> Change:
        return Change("nothing to do")

    async def observe(self, ctx: ReadCtx, p: Nothing, targets: Collection[str]) -> Mapping[str, Value]:
        return {}

    async def apply(self, ctx: Ctx, p: Nothing, change: Change) -> Receipt:
        return Receipt("done")


class PauseWorkers(Quiet):
    name, needs, temporary = "workers.pause", frozenset({"http"}), True


class QuiesceService(Quiet):
    name, temporary = "service.quiesce", True


class KeepSchema(Quiet):
    name = "schema.keep"


class DowngradeSchema(Quiet):
    name, needs, destructive = "schema.downgrade", frozenset({"postgres"}), True


class Deployed(Output):
    """What a deployment tells."""

    pods: int
    took: float | None = None


class Where(BaseModel):
    """Where to deploy."""

    region: str
    order: Literal["deploy-first", "down-first", "any"] = "any"


class Deployment(Params):
    """What to deploy."""

    release: str = Field(description="version")
    images: dict[str, str] = Field({}, description="workload -> image")
    replicas: int | None = Field(None, description="how many", ge=1)
    share: float = Field(1.0, description="of the traffic")
    places: list[Where] = Field([], description="where")
    waves: list[int] = Field([], description="how many at a time")

    @model_validator(mode="after")
    def _not_twice(self) -> Deployment:
        if self.release == "2.0":
            raise ValueError("2.0 was withdrawn")
        return self


class DeployRelease(Action[Deployment]):
    name, needs, Params, Output = "release.deploy", frozenset({"http"}), Deployment, Deployed

    async def plan(self, ctx: ReadCtx, p: Deployment) -> Change:
        return Change("nothing to do")

    async def observe(self, ctx: ReadCtx, p: Deployment, targets: Collection[str]) -> Mapping[str, Value]:
        return {}

    async def apply(self, ctx: Ctx, p: Deployment, change: Change) -> Receipt:
        return Receipt("done", output={"pods": 1})


class Serving(Check[Nothing]):
    name, needs, Params = "health.serving", frozenset({"http"}), Nothing

    async def run(self, ctx: ReadCtx, p: Nothing) -> Verdict:
        return Verdict(Status.PASS, "200", "200")


class Advice(Output):
    """What to do about the schema."""

    order: Literal["deploy-first", "down-first"]
    keep_proven: bool
    option: str
    minutes: float | None


class AdviseSchema(Check[Nothing]):
    name, Params, Output = "schema.advise", Nothing, Advice

    async def run(self, ctx: ReadCtx, p: Nothing) -> Verdict:
        return Verdict(Status.PASS, "deploy first", "an order")


REGISTRY = Registry.of(
    PauseWorkers(), QuiesceService(), KeepSchema(), DowngradeSchema(), DeployRelease(), Serving(), AdviseSchema()
)
