"""The one table from errors to what each door answers, and the problem object of REST.

REST bodies are problem details (RFC 9457); `error` repeats `detail`, because V2 clients read that
key. Over gRPC the class name travels in the trailer `ctscan-error`, so that the transformer knows
the predictor's errors by name.
"""

import logging
import math
import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from pydantic import BaseModel, Field

from serving import errors
from serving.errors import ServiceError
from serving.request import CURRENT

logger = logging.getLogger(__name__)

ERROR_TRAILER = "ctscan-error"
RETRY_TRAILER = "retry-after"
CARD_TRAILER = "ctscan-card-bin"
PROBLEM_MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Door:
    """How one class of errors looks from outside."""

    status: int
    code: grpc.StatusCode
    title: str


DOORS: dict[type[ServiceError], Door] = {
    errors.InvalidRequest: Door(400, grpc.StatusCode.INVALID_ARGUMENT, "Invalid request"),
    errors.InvalidField: Door(400, grpc.StatusCode.INVALID_ARGUMENT, "Invalid field"),
    errors.InvalidTensor: Door(400, grpc.StatusCode.INVALID_ARGUMENT, "Invalid tensor"),
    errors.InvalidImage: Door(400, grpc.StatusCode.INVALID_ARGUMENT, "Not a readable image"),
    errors.UnsuitableImage: Door(422, grpc.StatusCode.INVALID_ARGUMENT, "Unsuitable image"),
    errors.ContradictoryFeedback: Door(
        422, grpc.StatusCode.INVALID_ARGUMENT, "Contradictory feedback"
    ),
    errors.TooLarge: Door(413, grpc.StatusCode.RESOURCE_EXHAUSTED, "Too large"),
    errors.UnknownModel: Door(404, grpc.StatusCode.NOT_FOUND, "Unknown model"),
    errors.UnknownRoute: Door(404, grpc.StatusCode.NOT_FOUND, "Unknown route"),
    errors.MethodNotAllowed: Door(405, grpc.StatusCode.UNIMPLEMENTED, "Method not allowed"),
    errors.Refused: Door(403, grpc.StatusCode.PERMISSION_DENIED, "Refused"),
    errors.Overloaded: Door(429, grpc.StatusCode.RESOURCE_EXHAUSTED, "Overloaded"),
    errors.StaleCard: Door(503, grpc.StatusCode.FAILED_PRECONDITION, "Weights have changed"),
    errors.Unavailable: Door(503, grpc.StatusCode.UNAVAILABLE, "Unavailable"),
    errors.ModelNotLoaded: Door(503, grpc.StatusCode.UNAVAILABLE, "Model not loaded"),
    errors.PredictorUnavailable: Door(503, grpc.StatusCode.UNAVAILABLE, "Predictor unavailable"),
    errors.Draining: Door(503, grpc.StatusCode.UNAVAILABLE, "Shutting down"),
    errors.StorageFailed: Door(503, grpc.StatusCode.UNAVAILABLE, "Feedback was not stored"),
    errors.DeadlineExceeded: Door(504, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded"),
    errors.ClientLeft: Door(499, grpc.StatusCode.CANCELLED, "The client left"),
    errors.InternalError: Door(500, grpc.StatusCode.INTERNAL, "Internal error"),
    errors.NoActivationMaps: Door(501, grpc.StatusCode.UNIMPLEMENTED, "No activation maps"),
}

# Others at INFO. These come when there is no time for anything, and metrics count them by reason.
LOGGED_AT_DEBUG = errors.Overloaded


class ProblemField(BaseModel):
    """One wrong field of the request."""

    field: str = Field(examples=["correct_class"])
    detail: str = Field(examples=["is missing"])


class Problem(BaseModel):
    """A problem object (RFC 9457). `error` repeats `detail` for V2 clients."""

    type: str = Field(examples=["urn:ctscan:error:invalid-image"])
    title: str = Field(examples=["Not a readable image"])
    status: int = Field(examples=[400])
    detail: str = Field(examples=["the file is no image: expected PNG or JPEG"])
    request_id: str = Field(examples=["5f0c7c1e2d3b4a59"])
    error: str = Field(examples=["the file is no image: expected PNG or JPEG"])
    errors: list[ProblemField] | None = None


def door_of(error: ServiceError) -> Door:
    """The row of the table for this error."""
    return DOORS[type(error)]


def problem(error: ServiceError) -> dict[str, Any]:
    """The problem object of an error, ready for JSON."""
    door = door_of(error)
    request = CURRENT.get()
    body: dict[str, Any] = {
        "type": problem_type(type(error)),
        "title": door.title,
        "status": door.status,
        "detail": error.detail,
        "request_id": request.id if request else "",
        "error": error.detail,
    }
    if error.fields:
        body["errors"] = [{"field": item.field, "detail": item.detail} for item in error.fields]
    return body


def problem_type(kind: type[ServiceError]) -> str:
    """`InvalidImage` → `urn:ctscan:error:invalid-image`."""
    return "urn:ctscan:error:" + re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


def retry_after(error: ServiceError) -> str | None:
    """Whole seconds for `Retry-After`, rounded up, or None where another try is no use."""
    return None if error.retry_after_s is None else str(max(1, math.ceil(error.retry_after_s)))


def as_service_error(error: BaseException) -> ServiceError:
    """Any exception as one that a client may see; what is not ours is logged by place, not text.

    A library's message can quote the client's input, so only the type and the frames are kept.
    """
    if isinstance(error, ServiceError):
        return error
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    logger.error(
        "unexpected %s",
        type(error).__name__,
        extra={"at": [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]},
    )
    return errors.InternalError("an unexpected error happened; it was logged with this request_id")


def let_go(error: BaseException) -> None:
    """Free what the calls that an error came through held: bodies, images, rows.

    A call that has an error under a name is a circle with it, which only a collection of all
    objects would find.
    """
    for failed in (error, error.__cause__):
        traceback.clear_frames(failed.__traceback__ if failed else None)
