"""What a Kubernetes API server says when it refuses: Status bodies, worded as upstream words them.

Source: k8s.io/apimachinery/pkg/api/errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.playground.cluster.objects import Json
from bot.playground.cluster.resources import Resource


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with a body. field: a path such as `spec.selector`."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


def required(path: str, detail: str = "") -> Cause:
    """A field is missing."""
    return Cause(path, "Required value" + (f": {detail}" if detail else ""), "FieldValueRequired")


def invalid(path: str, value: object, detail: str) -> Cause:
    """A field holds something that it must not."""
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause(path, f"Invalid value: {shown}: {detail}", "FieldValueInvalid")


@dataclass
class ApiError(Exception):
    """A refusal. retry_after: seconds, for the header."""

    status: int
    reason: str
    message: str
    details: Json = field(default_factory=dict)
    retry_after: int | None = None

    def body(self) -> Json:
        """The Status object."""
        details = self.details | ({"retryAfterSeconds": self.retry_after} if self.retry_after else {})
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": details} if details else {}),
            "code": self.status,
        }


def success(details: Json) -> Json:
    """The Status that a delete of something that went at once answers."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _details(resource: Resource, name: str) -> Json:
    found = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in found.items() if value}


def not_found(resource: Resource, name: str) -> ApiError:
    """404: there is no such object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def no_such_path() -> ApiError:
    """404: there is no such resource."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: the name is taken."""
    return ApiError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """409: written by somebody else since it was read."""
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def apply_conflict(resource: Resource, name: str, told: str, causes: list[Json]) -> ApiError:
    """409: others own what an apply would change."""
    return ApiError(409, "Conflict", told, _details(resource, name) | {"causes": causes})


def unprocessable(resource: Resource, name: str, causes: list[Cause]) -> ApiError:
    """422: the body breaks a rule of its kind."""
    lines = [f"{c.field}: {c.message}" for c in causes]
    told = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = _details(resource, name) | {
        "kind": resource.kind,
        "causes": [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes],
    }
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {told}', details)


def bad_patch() -> ApiError:
    """422: a JSON patch could not be applied, or its `test` failed."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request")


def bad_request(message: str) -> ApiError:
    """400: not even wrong."""
    return ApiError(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """403."""
    what = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(403, "Forbidden", f"{what} is forbidden: {why}", _details(resource, name))


def unauthorized() -> ApiError:
    """401: nobody knows this token."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def not_allowed(resource: Resource) -> ApiError:
    """405: the resource has no such verb."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, _details(resource, ""))


def unsupported_media(sent: str, known: str) -> ApiError:
    """415."""
    message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return ApiError(415, "UnsupportedMediaType", message, {"sent": sent} if not sent else {})


def expired(message: str) -> ApiError:
    """410: that revision is no longer kept."""
    return ApiError(410, "Expired", message)


def generic(status: int, retry_after: int | None = None) -> ApiError:
    """What a fault of the server itself answers."""
    told = {
        429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
        500: ("InternalError", "Internal error occurred: the playground was told to fail"),
        503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504: ("Timeout", "Timeout: request did not complete within the allotted timeout"),
    }
    reason, message = told.get(status, ("Unknown", f"the playground was told to answer {status}"))
    return ApiError(status, reason, message, retry_after=retry_after)
