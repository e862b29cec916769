import asyncio
import re
from contextvars import Context

import pytest

from serving.errors import ClientLeft, DeadlineExceeded
from serving.request import CURRENT, Request, current_request, request_id, until_deadline


@pytest.mark.parametrize("given", ["abc", "5f0c7c1e-2d3b_4a59.x:1", "a" * 128])
def test_a_plain_word_is_kept_as_the_id(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "a b", "a\nb", 'a"b', "ä", "../x", "a\x00"])
def test_anything_else_gets_an_id_of_its_own(given: str | None) -> None:
    first, second = request_id(given), request_id(given)
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{32}", first)


def test_the_request_under_way_is_that_of_the_context() -> None:
    request = Request("a", 1.0)

    def within() -> Request:
        CURRENT.set(request)
        return current_request()

    assert Context().run(within) is request


def test_no_request_under_way_is_a_defect() -> None:
    with pytest.raises(LookupError):
        Context().run(current_request)


async def test_work_ends_when_its_client_leaves_and_that_is_not_a_missed_deadline() -> None:
    request = Request("a", asyncio.get_running_loop().time() + 3600)
    CURRENT.set(request)
    asyncio.get_running_loop().call_soon(request.depart)
    with pytest.raises(ClientLeft):
        async with until_deadline():
            await asyncio.Event().wait()
    # What is over is not ended again, and nothing more is begun.
    request.depart()
    with pytest.raises(ClientLeft):
        async with asyncio.timeout(30), until_deadline():
            await asyncio.Event().wait()


async def test_work_ends_at_its_deadline() -> None:
    request = Request("a", asyncio.get_running_loop().time())
    CURRENT.set(request)
    with pytest.raises(DeadlineExceeded):
        async with until_deadline():
            await asyncio.Event().wait()
    request.depart()
