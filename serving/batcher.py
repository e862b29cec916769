"""Groups waiting rows into batches, paced by the worker: no timer, no polling.

Whenever one of `in_flight` slots is free it takes what waits, up to `max_rows`. Used twice: in the
predictor `run` is a forward pass, in the transformer one gRPC call. An entry is one waiting
request; a large one gives each batch at most what fits and then lets pass what came meanwhile, and
has no more than half of the slots at a time, so that a single row never waits for more than one
batch of it.
"""

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from serving.admission import Admission, Rate
from serving.doors import as_service_error
from serving.errors import DeadlineExceeded, Draining, InternalError
from serving.metrics import BatchMetrics

Row = TypeVar("Row")
Result = TypeVar("Result")
Run = Callable[[Hashable, list[Row], float], Awaitable[Sequence[Result]]]

# Timers of one moment go off within so many seconds of each other.
TICK_S = 0.002


@dataclass(eq=False)
class Entry(Generic[Row, Result]):
    """One request: its rows, how many are already in batches, and the results so far.

    `running` is how many batches with rows of it are under way.

    `context` is the request's own: errors of a batch are logged there, under its request id.
    """

    rows: Sequence[Row]
    key: Hashable
    deadline: float
    entered_at: float
    answer: asyncio.Future[list[Result]]
    context: Context = field(default_factory=copy_context)
    taken: int = 0
    running: int = 0
    results: dict[int, Result] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        return 0 if self.answer.done() else len(self.rows) - self.taken

    def deliver(self, start: int, results: Sequence[Result]) -> None:
        self.results.update(enumerate(results, start))
        if len(self.results) == len(self.rows) and not self.answer.done():
            self.answer.set_result([self.results[index] for index in range(len(self.rows))])

    def fail(self, error: Exception) -> None:
        # A copy each: raised in many tasks, one exception would collect all their tracebacks.
        if not self.answer.done():
            self.answer.set_exception(copy.copy(self.context.run(as_service_error, error)))


@dataclass(frozen=True)
class Part(Generic[Row, Result]):
    """The rows `start` to `stop` of an entry, as they sit in one batch."""

    entry: Entry[Row, Result]
    start: int
    stop: int

    @property
    def rows(self) -> Sequence[Row]:
        return self.entry.rows[self.start : self.stop]


class Batcher(Generic[Row, Result]):
    """Bounded in rows; a batch holds rows of one key alone.

    `run(key, rows, deadline)` returns one result a row, in order; `deadline` is the latest in the
    batch. Deadlines are times of the running loop's clock, in seconds.
    """

    def __init__(
        self,
        run: Run[Row, Result],
        *,
        max_rows: int,
        max_queue_rows: int,
        in_flight: int,
        metrics: BatchMetrics,
    ) -> None:
        self._run = run
        self.max_rows = max_rows
        self.rate = Rate()
        self._admission = Admission(max_queue_rows, metrics.shed, self.rate)
        self.in_flight = in_flight
        self._metrics = metrics
        self._queue: deque[Entry[Row, Result]] = deque()
        # Entries that the last batch left unfinished; what comes before the next one passes them.
        self._resting: list[Entry[Row, Result]] = []
        self._running: set[asyncio.Task[bool]] = set()
        self._rows_running = 0
        self._rows_waiting = 0
        self._closed = False

    @property
    def rows(self) -> int:
        """Rows waiting and in flight."""
        return self._rows_running + self._rows_waiting

    async def submit(
        self, rows: Sequence[Row], deadline: float, key: Hashable = None
    ) -> list[Result]:
        """One result for each of `rows`, in order.

        Raises:
            Overloaded: the rows do not fit into the queue, or would not be done by their deadline;
                nothing of them was run.
            DeadlineExceeded: `deadline` passed first. Draining: the batcher is closed.
            ServiceError: what `run` raised for a batch with these rows.
        """
        if not rows:
            return []
        loop = asyncio.get_running_loop()
        self._admit(len(rows), deadline, loop.time())
        entry: Entry[Row, Result] = Entry(rows, key, deadline, loop.time(), loop.create_future())
        timer = loop.call_at(deadline, self._expire, entry)
        self._queue.append(entry)
        self._rows_waiting += len(rows)
        self._pump()
        try:
            return await entry.answer
        except asyncio.CancelledError:
            if entry.taken < len(rows):
                # The doors end a request at its deadline too, and may come first.
                late = loop.time() >= deadline - TICK_S
                self._metrics.shed("deadline" if late else "departed")
            raise
        finally:
            timer.cancel()
            if entry.taken < len(rows):
                self._rows_waiting -= len(rows) - entry.taken
                self._forget(entry)
                self._metrics.queued(self.rows)

    async def close(self) -> None:
        """Admit nothing more, fail what waits, and wait for what runs."""
        self._closed = True
        for entry in (*self._queue, *self._resting):
            entry.fail(Draining("the service is shutting down: try again"))
        if self._running:
            await asyncio.wait(self._running)

    def _admit(self, rows: int, deadline: float, now: float) -> None:
        if self._closed:
            raise Draining("the service is shutting down: try again")
        if now >= deadline:
            self._metrics.shed("deadline")
            raise DeadlineExceeded("the deadline passed before the request could be queued")
        self._admission.require(self.rows, rows, deadline, now)

    def _forget(self, entry: Entry[Row, Result]) -> None:
        """Let go of rows that nobody wants any more, however long the batch that runs may take."""
        for place in (self._queue, self._resting):
            with suppress(ValueError):
                place.remove(entry)

    def _expire(self, entry: Entry[Row, Result]) -> None:
        if not entry.answer.done():
            self._metrics.shed("deadline")
            entry.fail(DeadlineExceeded("the deadline passed before the answer was there"))

    def _pump(self) -> None:
        """Give every free slot a batch."""
        while len(self._running) < self.in_flight:
            batch = self._form()
            if not batch:
                break
            # A batch belongs to many requests: it runs in the context of none.
            task = asyncio.get_running_loop().create_task(self._run_batch(batch), context=Context())
            self._running.add(task)
            self._rows_running += sum(part.stop - part.start for part in batch)
            task.add_done_callback(partial(self._finished, batch))
        self._metrics.queued(self.rows)

    def _finished(self, batch: list[Part[Row, Result]], task: "asyncio.Task[bool]") -> None:
        self._running.discard(task)
        rows = sum(part.stop - part.start for part in batch)
        self._rows_running -= rows
        for part in batch:
            part.entry.running -= 1
        if not task.cancelled() and task.result():
            self.rate.finished(rows, self.rows, asyncio.get_running_loop().time())
        else:
            self.rate.failed()
        self._pump()

    def _form(self) -> list[Part[Row, Result]]:
        """The next batch: the first key that waits, as many of its rows as fit.

        Entries whose caller has left or whose deadline has passed are dropped here, never run.
        """
        parts: list[Part[Row, Result]] = []
        space = self.max_rows
        other_keys: list[Entry[Row, Result]] = []
        share = max(1, self.in_flight // 2)
        now = asyncio.get_running_loop().time()
        self._queue.extend(self._resting)
        self._resting.clear()
        while self._queue and space:
            entry = self._queue.popleft()
            if now >= entry.deadline:
                self._expire(entry)
            if not entry.waiting:
                continue
            if entry.running >= share:
                self._resting.append(entry)
                continue
            if parts and entry.key != parts[0].entry.key:
                other_keys.append(entry)
                continue
            if entry.taken == 0:
                self._metrics.waited(now - entry.entered_at)
            stop = min(entry.taken + space, len(entry.rows))
            parts.append(Part(entry, entry.taken, stop))
            space -= stop - entry.taken
            self._rows_waiting -= stop - entry.taken
            entry.taken = stop
            entry.running += 1
            if entry.waiting:
                self._resting.append(entry)
        self._queue.extendleft(reversed(other_keys))
        return parts

    async def _run_batch(self, parts: list[Part[Row, Result]]) -> bool:
        """Whether the batch was answered."""
        try:
            rows = [row for part in parts for row in part.rows]
            self._metrics.batch(len(rows))
            deadline = max(part.entry.deadline for part in parts)
            results = await self._run(parts[0].entry.key, rows, deadline)
            if len(results) != len(rows):
                raise InternalError(f"{len(rows)} rows went in and {len(results)} results came out")
            offset = 0
            for part in parts:
                count = part.stop - part.start
                part.entry.deliver(part.start, results[offset : offset + count])
                offset += count
            return True
        except asyncio.CancelledError:
            for part in parts:
                part.entry.fail(Draining("the service is shutting down: try again"))
            raise
        except Exception as error:
            for part in parts:
                part.entry.fail(error)
            return False
