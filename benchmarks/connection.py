"""One kept HTTP connection, on the least machinery that will do."""

import asyncio
from contextlib import suppress

from benchmarks.request import Target

# What stands for the status where no answer came.
NO_ANSWER = 0
TIMEOUT_S = 60.0


class Connection:
    """Opened with its first request, and anew where the server closed it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, turn: int) -> int:
        """The status of the answer to request number `turn`, which come round."""
        request = self._target.requests[turn % len(self._target.requests)]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._exchange(request)
        except (OSError, EOFError, TimeoutError):
            await self.close()
            return NO_ANSWER

    async def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with suppress(OSError):
                await streams[1].wait_closed()

    async def _exchange(self, request: bytes) -> int:
        if self._streams is not None and self._streams[0].at_eof():
            await self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._target.host, self._target.port)
        reader, writer = self._streams
        writer.write(request)
        status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(int(headers[b"content-length"]))
        if headers.get(b"connection", b"").lower() == b"close":
            await self.close()
        return status


def parse_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers, their names in small letters, of the head of an HTTP/1.1 answer."""
    first, *lines = head[:-4].split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    return int(first.split(b" ", 2)[1]), {name.lower(): text.strip() for name, _, text in pairs}
