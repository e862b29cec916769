"""What both doors know of the request under way: its id and its deadline.

The KServe SDK hands a model only body and headers; this context carries the rest past it.
"""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from serving.errors import DeadlineExceeded

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


@asynccontextmanager
async def until_deadline() -> AsyncIterator[None]:
    """End the block at the deadline of the request under way.

    Raises:
        DeadlineExceeded: it passed first.
    """
    try:
        async with asyncio.timeout_at(current_request().deadline):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded("the deadline passed before the answer was there") from error


def current_request() -> Request:
    """The request under way.

    Raises:
        LookupError: no door set one, which is a defect.
    """
    request = CURRENT.get()
    if request is None:
        raise LookupError("no request is under way in this context")
    return request
