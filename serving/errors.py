"""Everything that can go wrong, as one tree. No status codes here: each door has its own table.

    ServiceError
    ├── InvalidRequest              the request is not what the API describes
    │   ├── InvalidField            a form field, parameter or JSON key
    │   ├── InvalidTensor           a V2 tensor: name, datatype, shape or bytes
    │   └── InvalidImage            bytes that are no readable image
    ├── UnsuitableImage             a readable image that this service does not classify
    ├── ContradictoryFeedback       a correction whose fields exclude each other
    ├── NoActivationMaps            the network cannot say which part of an image it went by
    ├── TooLarge                    a file, body or number of rows over its limit
    ├── UnknownModel, UnknownRoute, MethodNotAllowed
    ├── Refused                     a call that the server offers to nobody
    ├── Overloaded                  the queue is full
    ├── StaleCard                   the rows were prepared for other weights
    ├── Unavailable                 nothing here can answer now
    │   ├── ModelNotLoaded, PredictorUnavailable, Draining
    │   └── StorageFailed           feedback could not be made durable
    ├── DeadlineExceeded
    ├── ClientLeft                  nobody is there to be told
    └── InternalError               a defect of ours

A detail says what was wrong, what was expected and what to do; it quotes no client's file name.
"""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One wrong field: `field` is its path, such as `instances[3].b64`."""

    field: str
    detail: str


class ServiceError(Exception):
    """An error that a client is told about.

    `fields` names the fields at fault; `retry_after_s` is when another try makes sense.
    """

    default_retry_after_s: ClassVar[float | None] = None

    def __init__(
        self,
        detail: str,
        *,
        fields: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = fields
        self.retry_after_s = self.default_retry_after_s if retry_after_s is None else retry_after_s

    def at(self, field: str) -> "ServiceError":
        """This error, naming the place in a request of several images where it was found."""
        return type(self)(
            f"{field}: {self.detail}",
            fields=self.fields or (FieldError(field, self.detail),),
            retry_after_s=self.retry_after_s,
        )


class InvalidRequest(ServiceError): ...


class InvalidField(InvalidRequest): ...


class InvalidTensor(InvalidRequest): ...


class InvalidImage(InvalidRequest): ...


class UnsuitableImage(ServiceError): ...


class ContradictoryFeedback(ServiceError): ...


class NoActivationMaps(ServiceError): ...


class TooLarge(ServiceError): ...


class UnknownModel(ServiceError): ...


class UnknownRoute(ServiceError): ...


class MethodNotAllowed(ServiceError): ...


class Refused(ServiceError): ...


class Overloaded(ServiceError):
    default_retry_after_s = 1.0


class StaleCard(ServiceError):
    """`card` is the current one, so that the caller needs no second call to learn it."""

    default_retry_after_s = 1.0
    card: dict[str, Any] | None = None


class Unavailable(ServiceError):
    default_retry_after_s = 2.0


class ModelNotLoaded(Unavailable): ...


class PredictorUnavailable(Unavailable): ...


class Draining(Unavailable): ...


class StorageFailed(Unavailable): ...


class DeadlineExceeded(ServiceError): ...


class ClientLeft(ServiceError): ...


class InternalError(ServiceError): ...


def every_error() -> dict[str, type[ServiceError]]:
    """Every class of the tree by its name."""
    found: dict[str, type[ServiceError]] = {}
    waiting: list[type[ServiceError]] = [ServiceError]
    while waiting:
        error = waiting.pop()
        found[error.__name__] = error
        waiting.extend(error.__subclasses__())
    return found
