"""The load against a small server on the same loop."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from benchmarks import connection
from benchmarks.connection import NO_ANSWER, Connection
from benchmarks.load import closed_loop, open_loop, run
from benchmarks.outcome import Load
from benchmarks.request import Target, predict

BODY = b'{"ok": true}'


@asynccontextmanager
async def server(
    status: Callable[[int], int | None] = lambda turn: 200,
    *,
    close_after_each: bool = False,
    together: asyncio.Barrier | None = None,
) -> AsyncIterator[tuple[Target, list[bytes]]]:
    """Answers request number n with `status(n)`; the list has what came.

    A status of 0 closes the connection instead, None waits until the client does.
    """
    came: list[bytes] = []
    connections: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            came.append(head + await reader.readexactly(length))
            code = status(len(came) - 1)
            if code is None:
                await reader.read()
            if together is not None and len(came) <= together.parties:
                await together.wait()
            if code:
                lines = f"HTTP/1.1 {code} Some Words\r\nContent-length:{len(BODY)}\r\n"
                lines += "Connection: close\r\n" if close_after_each else ""
                writer.write(f"{lines}\r\n".encode() + BODY)
            if close_after_each or not code:
                break
        await _close(writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.get_running_loop().create_task(answer(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1") as listening:
        port = listening.sockets[0].getsockname()[1]
        yield predict(f"http://127.0.0.1:{port}", [b"first", b"second"]), came
        await asyncio.gather(*connections)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def test_an_open_loop_sends_every_request_that_is_due_and_the_bodies_in_turn() -> None:
    async with server() as (target, came):
        load = await open_loop(target, [0.0, 0.001, 0.002, 0.003])
    assert load.statuses == {200: 4}
    assert sum(b"first" in request for request in came) == 2
    assert sum(b"second" in request for request in came) == 2


async def test_every_status_is_counted_and_a_connection_that_was_closed_opened_anew() -> None:
    codes = [200, 429, 0, 503]
    async with server(lambda turn: codes[turn]) as (target, _):
        load = await open_loop(target, [0.0, 0.02, 0.04, 0.06])
    assert load.statuses == {200: 1, 429: 1, 0: 1, 503: 1}


async def test_a_server_that_says_that_it_closes_is_no_failure() -> None:
    async with server(close_after_each=True) as (target, came):
        load = await closed_loop(target, 2, 0.5)
    assert load.failures == 0
    assert len(load.outcomes) == len(came) > 2


async def test_a_connection_that_waited_in_vain_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answer, should it still come, would be taken for that of the next request."""
    async with server(lambda turn: 200 if turn else None) as (target, _):
        one = Connection(target)
        monkeypatch.setattr(connection, "TIMEOUT_S", 1.0)
        assert await one.send(0) == NO_ANSWER
        monkeypatch.setattr(connection, "TIMEOUT_S", 30.0)
        assert await one.send(1) == 200
        await one.close()


async def test_nobody_there_is_no_answer() -> None:
    async with server() as (target, _):
        pass
    load = await open_loop(target, [0.0])
    assert load.statuses == {0: 1}


async def test_a_closed_loop_has_as_many_requests_under_way_as_connections() -> None:
    together = asyncio.Barrier(3)
    # The first three are answered only when they are there at once.
    async with server(together=together) as (target, came), asyncio.timeout(10):
        load = await closed_loop(target, 3, 0.5)
    assert load.statuses == {200: len(came)}


async def test_the_queues_fill_for_as_long_as_is_said_or_for_a_share_of_the_time() -> None:
    async with server() as (target, _):
        told = await open_loop(target, [0.0, 0.01], 0.004)
        untold = await open_loop(target, [0.0, 0.01])
        closed = await closed_loop(target, 1, 0.01)
    assert told.full - told.start == pytest.approx(0.004)
    assert untold.full - untold.start == pytest.approx(0.0015)
    assert closed.full - closed.start == pytest.approx(0.0015)


def test_nothing_is_collected_during_a_load() -> None:
    seen: list[bool] = []

    async def load() -> Load:
        seen.append(gc.isenabled())
        return Load((), 0.0, 0.0, 0.0, 0.0)

    run(load())
    assert (seen, gc.isenabled()) == ([False], True)
