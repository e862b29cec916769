"""The order of jobs, with an executor whose threads the test itself sets going and ends."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from transformer.fair_pool import FairPool


class ByHand(Executor):
    """Runs a job when it is told to; `begun` are the jobs in the order of their coming."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._open: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Any, /, *args: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.begun.append(fn.args[0])
        self._open.append((future, fn))
        return future

    async def end_one(self) -> None:
        """End the oldest job and let the event loop hear of it."""
        future, job = self._open.popleft()
        try:
            future.set_result(job())
        except Exception as error:
            future.set_exception(error)
        for _ in range(6):  # from the thread's future to the caller
            await asyncio.sleep(0)

    async def end_all(self) -> None:
        while self._open:
            await self.end_one()


def said(text: str) -> str:
    if text.startswith("bad"):
        raise ValueError(text)
    return text.upper()


def jobs(*names: str) -> list[Callable[[], str]]:
    return [partial(said, name) for name in names]


async def started(*calls: Any) -> list["asyncio.Task[Any]"]:
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


async def test_a_single_job_waits_for_what_is_in_hand_and_not_for_a_whole_bulk_request() -> None:
    threads = ByHand()
    pool = FairPool(threads, in_hand=2)
    bulk, single = await started(
        pool.run_all(jobs(*(f"bulk{index}" for index in range(64)))), pool.run(partial(said, "one"))
    )
    for _ in range(4):
        await threads.end_one()
    # Two were in hand, then it was the bulk request's turn, which came first.
    assert threads.begun[:5] == ["bulk0", "bulk1", "bulk2", "one", "bulk3"]
    assert single.done()
    assert not bulk.done()
    await threads.end_all()
    assert await single == "ONE"
    assert await bulk == [f"BULK{index}" for index in range(64)]


async def test_two_bulk_requests_take_turns() -> None:
    threads = ByHand()
    pool = FairPool(threads, in_hand=1)
    tasks = await started(pool.run_all(jobs("a1", "a2", "a3")), pool.run_all(jobs("b1", "b2")))
    await threads.end_all()
    await asyncio.gather(*tasks)
    assert threads.begun == ["a1", "a2", "b1", "a3", "b2"]


async def test_no_more_jobs_are_in_hand_than_may_be() -> None:
    threads = ByHand()
    (task,) = await started(FairPool(threads, in_hand=3).run_all(jobs(*"abcde")))
    assert threads.begun == ["a", "b", "c"]
    await threads.end_one()
    assert threads.begun == ["a", "b", "c", "d"]
    await threads.end_all()
    await task


async def test_an_error_is_the_outcome_of_its_job_alone() -> None:
    threads = ByHand()
    (task,) = await started(FairPool(threads, in_hand=2).run_all(jobs("a", "bad", "c")))
    await threads.end_all()
    first, error, last = await task
    assert (first, last) == ("A", "C")
    assert isinstance(error, ValueError)


async def test_an_error_of_a_single_job_is_raised() -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError, match="bad"):
        await FairPool(threads, in_hand=2).run(partial(said, "bad"))


async def test_a_caller_that_leaves_takes_what_has_not_begun_with_it() -> None:
    threads = ByHand()
    pool = FairPool(threads, in_hand=1)
    bulk, single = await started(pool.run_all(jobs("a1", "a2", "a3")), pool.run(partial(said, "b")))
    bulk.cancel()
    await asyncio.wait([bulk])
    await threads.end_all()
    assert threads.begun == ["a1", "b"]
    assert await single == "B"


async def test_threads_that_are_given_up_leave_nobody_waiting() -> None:
    threads = ThreadPoolExecutor(1)
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        go_on.wait()

    call = asyncio.ensure_future(FairPool(threads, in_hand=2).run_all([first, first]))
    await asyncio.to_thread(begun.wait)
    threads.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call, 20)


async def test_jobs_for_threads_that_have_been_given_up_are_given_up_too() -> None:
    threads = ThreadPoolExecutor(1)
    threads.shutdown()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(FairPool(threads, in_hand=1).run(partial(said, "late")), 20)


async def test_a_job_that_ends_its_thread_is_an_error_of_its_caller() -> None:
    def leave(_: str) -> str:
        raise GeneratorExit

    with ThreadPoolExecutor(1) as threads:
        pool = FairPool(threads, in_hand=1)
        with pytest.raises(RuntimeError, match="GeneratorExit"):
            await asyncio.wait_for(pool.run(partial(leave, "a")), 20)
        assert await pool.run(partial(said, "b")) == "B"


async def test_no_jobs_are_no_work() -> None:
    assert await FairPool(ByHand(), in_hand=1).run_all([]) == []


def test_a_job_that_outlives_its_loop_complains_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = ByHand()

    async def leave() -> None:
        await started(FairPool(threads, 1).run(partial(said, "late")))

    asyncio.run(leave())
    future, _ = threads._open.popleft()
    future.set_result("LATE")
    assert caplog.records == []
