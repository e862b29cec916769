"""Request bodies, bounded in bytes, one and all, and in time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from serving import errors
from serving.byte_budget import ByteBudget


class Body:
    """Passes the body on, up to the limit, within the budget and until the deadline.

    `admit` is asked before the first byte is read, and raises what the client is told instead.
    `departed` is called when the client leaves after its body, before the answer.
    """

    def __init__(
        self,
        headers: Headers,
        receive: Receive,
        limit: int,
        deadline: float,
        budget: ByteBudget,
        admit: Callable[[], None],
        departed: Callable[[], None] = lambda: None,
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._deadline = deadline
        self._budget = budget
        self._admit = admit
        self._departed = departed
        self._watching: asyncio.Task[None] | None = None
        self._begun = False
        self._taken = 0
        self._held = 0
        self._complete = False
        self._refused = False
        length = headers.get("content-length", "")
        self._announced = int(length) if length.isdecimal() else 0
        self._held_back = headers.get("expect", "").lower() == "100-continue"
        codings = ",".join(headers.getlist("content-encoding")).lower().split(",")
        self._encoded = any(coding.strip() not in ("", "identity") for coding in codings)

    async def receive(self) -> Message:
        if not self._begun:
            self._begun = True
            await self._begin()
        message = await self._next()
        size = len(message.get("body", b""))
        try:
            if self._taken > self._limit:
                raise self._too_large()
            self._budget.take(size)
        except (errors.TooLarge, errors.Overloaded):
            self._refused = True
            # At once: else several that are refused would keep each other out.
            self.release()
            raise
        self._held += size
        if self._complete and self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        return message

    def end(self) -> None:
        """The request has its answer."""
        if self._watching is not None:
            self._watching.cancel()
            # It holds this body in the traceback of its end: a circle, which only a collection of
            # all objects would find, while everything waits.
            self._watching = None
        self.release()

    def release(self) -> None:
        """Nothing of the body is held any more."""
        self._budget.give_back(self._held)
        self._held = 0

    async def _begin(self) -> None:
        """Refuse what cannot be taken before anything of it is kept.

        A client that waits for leave to send is not given it, and has nothing to be heard out for.
        """
        try:
            if self._encoded:
                raise errors.InvalidRequest(
                    "the body has a Content-Encoding, and none is decoded here: send it as it is"
                )
            if self._announced > self._limit:
                raise self._too_large()
            self._admit()
            self._budget.require(self._announced)
        except (errors.InvalidRequest, errors.TooLarge, errors.Overloaded):
            self._refused = not self._held_back
            raise

    async def _next(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise errors.DeadlineExceeded("the deadline passed while the body was read") from None
        self._taken += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        return message

    async def _watch(self) -> None:
        """Wait for the one thing that can come after a whole body."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._departed()

    async def hear_out(self) -> None:
        """Read what is left of a refused body before it is answered, and keep nothing of it.

        A client sees the answer only once its own sending is done, and a proxy in between cuts the
        connection under one that comes before.
        """
        with suppress(errors.DeadlineExceeded):
            while self._refused and not self._complete:
                await self._next()

    def _too_large(self) -> errors.TooLarge:
        return errors.TooLarge(
            f"the body is larger than {self._limit} bytes: send fewer or smaller images"
        )
