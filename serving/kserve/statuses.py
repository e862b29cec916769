"""The SDK's exceptions as ours.

Without this its gRPC door answers UNKNOWN for a model that is not ready (its interceptor reads an
attribute that these classes lack), INVALID_ARGUMENT for a failed inference, and its REST door puts
the type and text of any exception into the answer.
"""

from kserve.errors import (
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    ServerNotLive,
    ServerNotReady,
    UnsupportedProtocol,
)

from serving import errors
from serving.errors import ServiceError

SDK_ERRORS: tuple[type[Exception], ...] = (
    InvalidInput,
    UnsupportedProtocol,
    ModelNotFound,
    ModelNotReady,
    ServerNotReady,
    ServerNotLive,
    NotImplementedError,
)


def translate(error: Exception) -> ServiceError | None:
    """Our error for one of the SDK's, or None for any other exception."""
    match error:
        case InvalidInput() | UnsupportedProtocol():
            return errors.InvalidRequest("the request cannot be read: see /docs for its form")
        case ModelNotFound():
            return errors.UnknownModel("there is no such model: see GET /v2/models")
        case ModelNotReady() | ServerNotReady() | ServerNotLive():
            return errors.Unavailable("the model is not ready: try again")
        case NotImplementedError():
            return errors.UnknownModel("versions of a model cannot be addressed: leave it out")
        case _:
            return None
