"""Request bodies, bounded in bytes and in time."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from serving import errors


class Body:
    """Passes the body on, up to the limit and until the deadline."""

    def __init__(self, headers: Headers, receive: Receive, limit: int, deadline: float) -> None:
        self._receive = receive
        self._limit = limit
        self._deadline = deadline
        self._taken = 0
        self._complete = False
        length = headers.get("content-length", "")
        self._announced = int(length) if length.isdecimal() else 0
        self._held_back = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        if self._announced > self._limit and self._taken == 0:
            # A client that waits for leave to send is answered without being given it.
            if not self._held_back:
                await self._throw_away()
            raise self._too_large()
        message = await self._next()
        if self._taken > self._limit:
            await self._throw_away()
            raise self._too_large()
        return message

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

    async def _throw_away(self) -> None:
        """Read on without keeping: a client sees the answer only once its own sending is done."""
        with suppress(errors.DeadlineExceeded):
            while not self._complete:
                await self._next()

    def _too_large(self) -> errors.TooLarge:
        return errors.TooLarge(
            f"the body is larger than {self._limit} bytes: send fewer or smaller images"
        )
