"""What both doors know of the request under way: its id, its deadline, and whether it is wanted.

The KServe SDK hands a model only body and headers; this context carries the rest past it.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from serving.errors import ClientLeft, DeadlineExceeded

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_RANDOM = random.Random()


@dataclass(eq=False)
class Request:
    """`deadline` is a time of the running loop's clock, in seconds."""

    id: str
    deadline: float
    departed: bool = False
    _timeouts: set[asyncio.Timeout] = field(default_factory=set)

    def depart(self) -> None:
        """Nobody waits for the answer any more: end now what has until the deadline."""
        self.departed = True
        for timeout in self._timeouts:
            if not timeout.expired():
                timeout.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def while_wanted(self) -> AsyncIterator[None]:
        """End the block with a TimeoutError at the deadline, or when the client departs."""
        until = asyncio.get_running_loop().time() if self.departed else self.deadline
        async with asyncio.timeout_at(until) as timeout:
            self._timeouts.add(timeout)
            try:
                yield
            finally:
                self._timeouts.discard(timeout)


CURRENT: ContextVar[Request | None] = ContextVar("ctscan_request", default=None)


def request_id(given: str | None) -> str:
    """The client's own id where it is a plain word, else a new one."""
    return given if given and _ACCEPTED_ID.fullmatch(given) else new_id()


def new_id() -> str:
    """128 random bits in hex, of a source of its own that no library sets back.

    A UUID reads its bits from the kernel, and the event loop would wait for the interpreter after
    it, which decoding threads take at once: 0.1 ms under load.
    """
    return f"{_RANDOM.getrandbits(128):032x}"


@asynccontextmanager
async def until_deadline() -> AsyncIterator[None]:
    """End the block at the deadline of the request under way, or when its client leaves.

    Raises:
        DeadlineExceeded: it passed first. ClientLeft: the client did not wait for the answer.
    """
    request = current_request()
    try:
        async with request.while_wanted():
            yield
    except TimeoutError as error:
        if request.departed:
            raise ClientLeft("the client left before the answer was there") from error
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
