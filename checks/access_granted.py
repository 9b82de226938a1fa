"""P1: the bot may do what a rollback needs, and reaches what it needs: clusters, registries, HTTP targets.

Fails for a right that is missing, by name and with what it is needed for; warns of one without which less is done; a
place that does not answer is unknown. It
says nothing of whether images exist (`artifacts.present`), nor of people (`people.reachable`).
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping

from pydantic import Field

from bot.contract import Check, HttpTarget, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Unreachable, told
from bot.ports.kubernetes import Denied
from bot.ports.registry import RegistryRefused

EXPECTED = "every right that a rollback needs, and an answer from every place it works with"
NEEDED_FOR = {
    "pods": "to say what keeps pods from starting",
    "pods/log": "to keep evidence",
    "events": "to say what keeps pods from starting",
    "jobs": "to wait for running jobs",
    "configmaps": "to put settings back",
    "cronjobs": "to pause workers and put the release back",
    "scaledobjects": "to pause workers that KEDA scales",
    "horizontalpodautoscalers": "to tell what scales a worker",
    "applications": "to keep Argo CD from deploying",
    "validatingadmissionpolicies": "to freeze deployments",
    "validatingadmissionpolicybindings": "to freeze deployments",
    "deployments": "to pause workers and put the release back",
    "statefulsets": "to pause workers and put the release back",
    "daemonsets": "to put the release back",
}
"""Why the bot wants to touch a resource."""
_MAKING = ("create", "delete")
_MADE = ("deployments", "statefulsets", "daemonsets", "cronjobs")
"""What is only brought back where it is gone: without the right it is named, for people to bring back."""


class AccessGrantedParams(Params):
    """What to look at beside the service's clusters."""

    images: dict[str, str] = Field({}, description="Images by digest; their registries must let us read.")
    http: dict[HttpTarget, str] = Field(
        {}, description="HTTP target -> the path that must answer, besides the health pages of the catalogue."
    )


class AccessGrantedOutput(Output):
    """What is missing; empty where nothing is."""

    missing: dict[str, list[str]] = Field(description="Place -> rights that are missing, with what each is needed for.")
    unreachable: dict[str, str] = Field(description="Place -> why nothing is known of it.")


class AccessGranted(Check[AccessGrantedParams]):
    """Passes when no right is missing and every cluster, registry and HTTP target answers."""

    name = "access.granted"
    needs = frozenset({"kubernetes", "registry", "http"})
    Params = AccessGrantedParams
    Output = AccessGrantedOutput

    async def run(self, ctx: ReadCtx, p: AccessGrantedParams) -> Verdict:
        asked: dict[str, Awaitable[list[str]]] = {c.name: _rights(ctx, c.name) for c in ctx.ports.kubernetes.clusters}
        asked |= {repository: _registry(ctx, image) for repository, image in _repositories(p.images.values()).items()}
        pages = {target: page.path for target, page in ctx.ports.http.pages.items()} | p.http
        asked |= {target: _http(ctx, target, path) for target, path in pages.items()}
        found = dict(zip(asked, await asyncio.gather(*asked.values(), return_exceptions=True), strict=True))
        missing, unreachable = dict[str, list[str]](), dict[str, str]()
        for place, answer in found.items():
            if isinstance(answer, Unreachable):
                unreachable[place] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            elif answer:
                missing[place] = answer
        failing = any(not _spared(right) for rights in missing.values() for right in rights)
        fine = Status.WARN if missing else Status.PASS
        status = Status.FAIL if failing else Status.UNKNOWN if unreachable else fine
        seen = AccessGrantedOutput(missing=missing, unreachable=unreachable)
        return Verdict(status, _words(seen, found), EXPECTED, seen.model_dump())


async def _rights(ctx: ReadCtx, cluster: str) -> list[str]:
    try:
        rights = await ctx.ports.kubernetes.missing_rights(cluster)
    except Denied as error:
        return [f"to ask for its rights ({error})"]
    return [f"{right}, {_purpose(right)}" for right in rights]


def _purpose(right: str) -> str:
    """What "patch deployments.apps in shop" is needed for."""
    if _spared(right):
        return "to bring back what is gone, which is only named without it"
    resource = right.split()[1].partition(".")[0] if " " in right else right
    return NEEDED_FOR.get(resource, "to roll back")


def _spared(right: str) -> bool:
    """Whether a rollback goes on without it."""
    verb, _, rest = right.partition(" ")
    return verb in _MAKING and rest.partition(".")[0] in _MADE


async def _registry(ctx: ReadCtx, image: str) -> list[str]:
    """Whether the image is there says nothing here: that it was answered does."""
    try:
        await ctx.ports.registry.has(image)
    except (RegistryRefused, ValueError) as error:
        return [f"read images, to prove that the target can be pulled ({error})"]
    return []


async def _http(ctx: ReadCtx, target: str, path: str) -> list[str]:
    reply = await ctx.ports.http.get(target, path)
    if reply.status in (401, 403):
        return [f"GET {path}, to see how the service is (refused with {reply.status})"]
    return []


def _repositories(images: Iterable[str]) -> Mapping[str, str]:
    """One image of each repository."""
    return {image.partition("@")[0]: image for image in images}


def _words(seen: AccessGrantedOutput, asked: Mapping[str, object]) -> str:
    lines = [f"{place}: may not {'; '.join(rights)}" for place, rights in seen.missing.items()]
    lines += [told(seen.unreachable)] if seen.unreachable else []
    return "; ".join(lines) or f"all there, and allowed: {', '.join(asked)}"
