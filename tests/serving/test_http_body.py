"""What a body is allowed, as a server hands it over; the rest is in `test_http_door.py`."""

import asyncio
from collections.abc import Callable, Iterable

import pytest
from starlette.datastructures import Headers
from starlette.types import Message

from serving.byte_budget import ByteBudget
from serving.errors import Overloaded
from serving.http_body import Body
from tests.circles import circles

LIMIT = 1000


class Sender:
    """Sends pieces of a body of these sizes, and counts those that were read."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = sizes
        self.read = 0
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        if self.read == len(self._sizes):
            await self.left.wait()
            return {"type": "http.disconnect"}
        size = self._sizes[self.read]
        self.read += 1
        more = self.read < len(self._sizes)
        return {"type": "http.request", "body": bytes(size), "more_body": more}


def body(
    sender: Sender,
    budget: ByteBudget,
    headers: Iterable[tuple[bytes, bytes]] = (),
    admit: Callable[[], None] = lambda: None,
    departed: Callable[[], None] = lambda: None,
) -> Body:
    deadline = asyncio.get_running_loop().time() + 60
    given = Headers(raw=list(headers))
    return Body(given, sender.receive, LIMIT, deadline, budget, admit, departed)


def full() -> None:
    raise Overloaded("full")


async def read_all(reading: Body) -> int:
    """Bytes of the whole body."""
    taken = 0
    while True:
        message = await reading.receive()
        taken += len(message["body"])
        if not message["more_body"]:
            return taken


async def test_bytes_are_held_until_the_request_ends() -> None:
    budget = ByteBudget(LIMIT, print)
    reading = body(Sender(300, 200, 100), budget)
    assert await read_all(reading) == 600
    assert budget.held == 600
    reading.release()
    reading.release()
    assert budget.held == 0


async def test_a_body_that_comes_in_pieces_is_stopped_by_what_others_hold() -> None:
    budget = ByteBudget(1500, print)
    budget.take(1000)
    sender = Sender(300, 300, 300)
    reading = body(sender, budget)
    with pytest.raises(Overloaded):
        await read_all(reading)
    # Others that are under way need not wait until the rest was read and thrown away.
    assert (sender.read, budget.held) == (2, 1000)
    await reading.hear_out()
    assert (sender.read, budget.held) == (3, 1000)
    reading.release()
    assert budget.held == 1000


async def test_nothing_is_held_of_a_body_that_says_its_size_and_does_not_fit() -> None:
    shed: list[str] = []
    budget = ByteBudget(1500, shed.append)
    budget.take(1000)
    sender = Sender(300, 300)
    reading = body(sender, budget, [(b"content-length", b"600")])
    with pytest.raises(Overloaded):
        await reading.receive()
    await reading.hear_out()
    assert (sender.read, budget.held, shed) == (2, 1000, ["bytes"])


async def test_one_that_only_says_its_size_holds_nothing() -> None:
    budget = ByteBudget(1000, print)
    slow, quick = Sender(1, 899), Sender(900)
    await body(slow, budget, [(b"content-length", b"900")]).receive()
    assert await read_all(body(quick, budget, [(b"content-length", b"900")])) == 900


async def test_who_sends_what_nobody_can_take_is_heard_out() -> None:
    sender, budget = Sender(300, 300), ByteBudget(1500, print)
    reading = body(sender, budget, admit=full)
    with pytest.raises(Overloaded):
        await reading.receive()
    await reading.hear_out()
    assert (sender.read, budget.held) == (2, 0)


async def test_a_client_that_waits_for_leave_is_not_given_it() -> None:
    sender, budget = Sender(300), ByteBudget(1500, print)
    reading = body(sender, budget, [(b"expect", b"100-continue")], admit=full)
    with pytest.raises(Overloaded):
        await reading.receive()
    await reading.hear_out()
    assert sender.read == 0


@pytest.mark.parametrize("answered", [False, True])
async def test_a_client_that_leaves_before_its_answer_is_noticed(answered: bool) -> None:
    seen: list[str] = []
    sender = Sender(300)
    reading = body(sender, ByteBudget(LIMIT, print), departed=lambda: seen.append("left"))
    await read_all(reading)
    if answered:
        reading.end()
    sender.left.set()
    for _ in range(5):
        await asyncio.sleep(0)
    reading.end()
    assert seen == ([] if answered else ["left"])


async def test_a_body_is_gone_with_the_end_of_its_request() -> None:
    with circles() as found:
        reading = body(Sender(10), ByteBudget(LIMIT, print))
        await read_all(reading)
        await asyncio.sleep(0)
        reading.end()
        del reading
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not any(isinstance(it, Body) for it in found)
