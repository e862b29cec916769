"""Threads that take the jobs of all requests in turn, one of each request.

An executor alone is a queue: sixty-four images of one request would all be decoded before the one
of the next. Here a request waits for what the threads have in hand and for one job of each other
request, however many jobs those still have.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(eq=False)
class Turn(Generic[Result]):
    """The jobs of one call that have not begun, each with its place, and what became of others."""

    jobs: deque[tuple[int, Callable[[], Result]]]
    outcomes: dict[int, Result | Exception]
    total: int
    all_done: asyncio.Future[None]


class FairPool:
    """Hands jobs to `threads`, no more than `in_hand` at a time. Used from one event loop alone."""

    def __init__(self, threads: Executor, in_hand: int) -> None:
        self._threads = threads
        self._free = in_hand
        self._turns: deque[Turn[Result]] = deque()  # type: ignore[valid-type]  # of any kind

    async def run(self, job: Callable[[], Result]) -> Result:
        """The result of one job; raises what it raises."""
        (outcome,) = await self.run_all([job])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def run_all(self, jobs: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
        """What each job returned or raised, in order.

        A caller that leaves takes the jobs that have not begun with it.
        """
        if not jobs:
            return []
        done = asyncio.get_running_loop().create_future()
        turn: Turn[Result] = Turn(deque(enumerate(jobs)), {}, len(jobs), done)
        self._turns.append(turn)
        self._hand_out()
        try:
            await done
        finally:
            turn.jobs.clear()
        return [turn.outcomes[place] for place in range(turn.total)]

    def _hand_out(self) -> None:
        loop = asyncio.get_running_loop()
        while self._free and self._turns:
            turn = self._turns.popleft()
            if not turn.jobs:
                continue
            place, job = turn.jobs.popleft()
            if turn.jobs:
                self._turns.append(turn)
            self._free -= 1
            try:
                running = self._threads.submit(job)
            except RuntimeError:  # the threads have been given up
                self._free += 1
                turn.all_done.cancel()
                continue
            running.add_done_callback(partial(self._hand_back, loop, turn, place))

    def _hand_back(
        self,
        loop: asyncio.AbstractEventLoop,
        turn: Turn[Result],
        place: int,
        ended: Future[Result],
    ) -> None:
        """Called by the thread that did the job."""
        with suppress(RuntimeError):  # the loop has ended: nobody waits for it any more
            loop.call_soon_threadsafe(partial(self._ended, turn, place, ended))

    def _ended(self, turn: Turn[Result], place: int, ended: Future[Result]) -> None:
        self._free += 1
        if ended.cancelled():
            turn.all_done.cancel()  # the threads have been given up
            return
        self._hand_out()
        error = ended.exception()
        if error is not None and not isinstance(error, Exception):
            error = RuntimeError(f"a job ended with {type(error).__name__}")
        turn.outcomes[place] = ended.result() if error is None else error
        if len(turn.outcomes) == turn.total and not turn.all_done.done():
            turn.all_done.set_result(None)
