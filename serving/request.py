"""What both doors know of the request under way: its id and its deadline.

The KServe SDK hands a model only body and headers; this context carries the rest past it.
"""

import re
import uuid
from contextvars import ContextVar
from dataclasses import dataclass

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True)
class Request:
    """`deadline` is a time of the running loop's clock, in seconds."""

    id: str
    deadline: float


CURRENT: ContextVar[Request | None] = ContextVar("ctscan_request", default=None)


def request_id(given: str | None) -> str:
    """The client's own id where it is a plain word, else a new one."""
    return given if given and _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex


def current_request() -> Request:
    """The request under way.

    Raises:
        LookupError: no door set one, which is a defect.
    """
    request = CURRENT.get()
    if request is None:
        raise LookupError("no request is under way in this context")
    return request
