"""The batcher on fake time: a batch of the worker below takes one second of the loop's clock."""

import asyncio
import gc
import logging
import random
import weakref
from collections.abc import Callable, Coroutine, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from serving.admission import WINDOW_S
from serving.batcher import Batcher
from serving.errors import (
    DeadlineExceeded,
    Draining,
    FieldError,
    InternalError,
    InvalidTensor,
    Overloaded,
    StaleCard,
)
from serving.metrics import BatchMetrics, Stages
from serving.request import CURRENT, Request

pytestmark = pytest.mark.looptime


@dataclass
class Batch:
    key: Hashable
    rows: list[Any]
    deadline: float
    began: float


@dataclass
class Worker:
    """Answers a row with its text after `seconds`, and remembers what it was given."""

    seconds: Callable[[], float] = lambda: 1.0
    batches: list[Batch] = field(default_factory=list)
    most_at_once: int = 0
    running: int = 0

    async def run(self, key: Hashable, rows: list[Any], deadline: float) -> Sequence[str]:
        self.batches.append(Batch(key, list(rows), deadline, now()))
        self.running += 1
        self.most_at_once = max(self.running, self.most_at_once)
        try:
            await asyncio.sleep(self.seconds())
        finally:
            self.running -= 1
        return [str(row) for row in rows]

    @property
    def ran(self) -> list[list[Any]]:
        return [batch.rows for batch in self.batches]


class Room:
    """Builds one batcher and reads its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.batcher: Batcher[Any, str]

    def build(
        self, run: Any, max_rows: int = 4, max_queue_rows: int = 1000, in_flight: int = 1
    ) -> Batcher[Any, str]:
        metrics = BatchMetrics(self.registry, Stages(self.registry))
        self.batcher = Batcher(
            run,
            max_rows=max_rows,
            max_queue_rows=max_queue_rows,
            in_flight=in_flight,
            metrics=metrics,
        )
        return self.batcher

    def sample(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def room() -> Iterator[Room]:
    """Every test ends with nothing waiting and nothing in flight, or it fails here."""
    built = Room()
    yield built
    assert built.batcher.rows == 0
    assert built.sample("ctscan_queue_rows") == 0


def now() -> float:
    return asyncio.get_running_loop().time()


def later(seconds: float = 60.0) -> float:
    return now() + seconds


async def started(*calls: Coroutine[Any, Any, list[str]]) -> list["asyncio.Task[list[str]]"]:
    """The calls as tasks that have all run up to their first wait."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("in_flight", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
async def test_every_caller_gets_its_own_rows(room: Room, seed: int, in_flight: int) -> None:
    chance = random.Random(seed)
    worker = Worker(seconds=lambda: chance.uniform(0.1, 2.0))
    batcher = room.build(worker.run, max_rows=5, in_flight=in_flight)

    async def call() -> None:
        rows = [chance.random() for _ in range(chance.randint(1, 13))]
        await asyncio.sleep(chance.uniform(0, 10))
        assert await batcher.submit(rows, later(600)) == [str(row) for row in rows]

    await asyncio.gather(*(call() for _ in range(40)))
    assert all(len(rows) <= 5 for rows in worker.ran)
    assert worker.most_at_once == in_flight
    assert room.sample("ctscan_batch_rows_sum") == sum(map(len, worker.ran))
    assert room.sample("ctscan_batch_rows_count") == len(worker.ran)


async def test_a_lone_row_goes_at_once(room: Room) -> None:
    worker = Worker()
    began = now()
    assert await room.build(worker.run).submit(["a"], later()) == ["a"]
    assert worker.batches[0].began == began
    assert now() == began + 1


async def test_no_rows_are_answered_without_a_batch(room: Room) -> None:
    worker = Worker()
    assert await room.build(worker.run).submit([], later()) == []
    assert worker.ran == []


async def test_what_comes_while_a_batch_runs_goes_together_in_order(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=4)
    await asyncio.gather(*(batcher.submit([row], later()) for row in "abcdef"))
    assert worker.ran == [["a"], ["b", "c", "d", "e"], ["f"]]


async def test_the_time_in_the_queue_is_observed_once_for_each_request(room: Room) -> None:
    batcher = room.build(Worker().run, max_rows=2)
    await asyncio.gather(batcher.submit(list("abcde"), later()), batcher.submit(["f"], later()))
    # The first waits for nothing, the second for the first bucket of the first.
    assert room.sample("ctscan_stage_seconds_count", stage="queue") == 2
    assert room.sample("ctscan_stage_seconds_sum", stage="queue") == pytest.approx(1)


async def test_a_single_row_waits_for_no_more_than_the_bucket_that_runs(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=32)
    bulk = list(range(64))
    (task,) = await started(batcher.submit(bulk, later()))
    began = now()
    assert await batcher.submit(["single"], later()) == ["single"]
    assert now() == began + 2  # the bucket that ran, and its own
    assert await task == [str(row) for row in bulk]
    assert worker.ran == [bulk[:32], ["single", *bulk[32:63]], bulk[63:]]


async def test_a_bulk_request_leaves_half_of_the_slots_to_others(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=32, in_flight=2)
    began = now()
    (task,) = await started(batcher.submit(list(range(64)), later()))
    await asyncio.sleep(0.5)
    assert await batcher.submit(["single"], later()) == ["single"]
    assert now() == began + 1.5  # its own batch alone
    assert len(await task) == 64
    assert [len(rows) for rows in worker.ran] == [32, 1, 32]
    assert now() == began + 2


async def test_with_many_slots_a_bulk_request_has_several_batches_at_a_time(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=32, in_flight=4)
    began = now()
    await batcher.submit(list(range(64)), later())
    assert [batch.began - began for batch in worker.batches] == [0, 0]


async def test_two_bulk_requests_have_a_slot_each(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=4, in_flight=2)
    began = now()
    await asyncio.gather(batcher.submit(["a"] * 8, later()), batcher.submit(["b"] * 8, later()))
    assert [batch.began - began for batch in worker.batches] == [0, 0, 1, 1]
    assert [rows[0] for rows in worker.ran] == ["a", "b", "a", "b"]


async def test_a_bulk_request_is_not_starved_by_full_batches_of_single_rows(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=4)
    tasks = await started(batcher.submit(["bulk"] * 12, later()))
    for _ in range(8):
        # As many as a batch holds, for as long as a batch runs.
        tasks += await started(*(batcher.submit(["single"], later()) for _ in range(4)))
        await asyncio.sleep(1)
    await asyncio.gather(*tasks)
    assert [rows[0] for rows in worker.ran][:7].count("bulk") == 3


@pytest.mark.parametrize("seed", range(3))
async def test_keys_never_mix(room: Room, seed: int) -> None:
    chance = random.Random(seed)
    worker = Worker()
    batcher = room.build(worker.run, max_rows=6, in_flight=2)

    async def call(key: str) -> None:
        rows = [(key, chance.random()) for _ in range(chance.randint(1, 9))]
        assert await batcher.submit(rows, later(600), key) == [str(row) for row in rows]

    await asyncio.gather(*(call(chance.choice("xyz")) for _ in range(30)))
    assert {batch.key for batch in worker.batches} == set("xyz")
    assert all(row[0] == batch.key for batch in worker.batches for row in batch.rows)


async def test_a_key_that_was_passed_over_is_the_next_to_go(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=2)
    calls = [("runs", "a"), (1, "a"), ("rare", "b"), (2, "a"), (3, "a"), (4, "c"), (5, "a")]
    await asyncio.gather(*(batcher.submit([row], later(), key) for row, key in calls))
    assert worker.ran == [["runs"], [1, 2], ["rare"], [3, 5], [4]]


@pytest.mark.parametrize("position", range(4))
async def test_a_caller_that_leaves_while_waiting_is_never_run(room: Room, position: int) -> None:
    worker = Worker()
    batcher = room.build(worker.run)
    tasks = await started(*(batcher.submit([row], later()) for row in ("runs", 0, 1, 2, 3)))
    tasks[1 + position].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    expected = [row for row in range(4) if row != position]
    assert worker.ran == [["runs"], expected]
    assert isinstance(answers.pop(1 + position), asyncio.CancelledError)
    assert answers == [["runs"], *([str(row)] for row in expected)]
    assert room.sample("ctscan_shed_total", reason="departed") == 1


async def test_a_caller_whose_own_clock_ends_the_wait_at_the_deadline_has_not_departed(
    room: Room,
) -> None:
    batcher = room.build(Worker(lambda: 10.0).run)
    first = await started(batcher.submit(["runs"], later()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout_at(now() + 1):
            await batcher.submit(["waits"], now() + 1.001)
    assert room.sample("ctscan_shed_total", reason="departed") == 0
    assert room.sample("ctscan_shed_total", reason="deadline") == 1
    await asyncio.gather(*first)


@pytest.mark.parametrize("position", range(4))
async def test_a_caller_that_leaves_while_its_batch_runs_harms_no_neighbour(
    room: Room, position: int
) -> None:
    worker = Worker()
    batcher = room.build(worker.run)
    first, *tasks = await started(*(batcher.submit([row], later()) for row in ("first", *range(4))))
    await first
    await asyncio.sleep(0.5)
    tasks[position].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(position), asyncio.CancelledError)
    assert answers == [[str(row)] for row in range(4) if row != position]
    assert await batcher.submit(["next"], later()) == ["next"]
    assert room.sample("ctscan_shed_total", reason="departed") == 0


async def test_a_bulk_caller_that_leaves_between_buckets_is_run_no_further(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=2)
    bulk, single = await started(
        batcher.submit([0, 1, 2, 3, 4], later()), batcher.submit(["s"], later())
    )
    bulk.cancel()
    assert await single == ["s"]
    assert worker.ran == [[0, 1], ["s"]]


async def test_rows_of_a_caller_that_left_are_let_go_while_a_batch_still_runs(room: Room) -> None:
    class Row: ...

    worker = Worker()
    batcher = room.build(worker.run)
    row = Row()
    gone = weakref.ref(row)
    running, waiting = await started(batcher.submit(["a"], later()), batcher.submit([row], later()))
    waiting.cancel()
    await asyncio.wait([waiting])
    del row, waiting
    gc.collect()
    assert gone() is None
    assert not running.done()
    await running


async def test_a_deadline_that_passes_while_waiting_is_told_in_time_and_never_run(
    room: Room,
) -> None:
    worker = Worker(seconds=lambda: 10.0)
    batcher = room.build(worker.run)
    began = now()
    running, neighbour = await started(
        batcher.submit(["a"], later()), batcher.submit(["c"], later())
    )
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(["b"], began + 3)
    assert now() == began + 3
    assert await running == ["a"]
    assert await neighbour == ["c"]
    assert worker.ran == [["a"], ["c"]]
    assert room.sample("ctscan_shed_total", reason="deadline") == 1


async def test_a_deadline_that_passes_while_running_fails_its_own_request_alone(room: Room) -> None:
    batcher = room.build(Worker(seconds=lambda: 10.0).run)
    began = now()
    first, neighbour = await started(batcher.submit(["a"], later()), batcher.submit(["b"], later()))
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(["c"], began + 15)
    assert now() == began + 15
    assert await first == ["a"]
    assert await neighbour == ["b"]
    assert now() == began + 20


@pytest.mark.parametrize("seconds", [0.0, -5.0])
async def test_a_deadline_in_the_past_is_refused_at_once(room: Room, seconds: float) -> None:
    worker = Worker()
    batcher = room.build(worker.run)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(["a"], later(seconds))
    assert worker.ran == []
    assert room.sample("ctscan_shed_total", reason="deadline") == 1


@pytest.mark.looptime(False)
async def test_a_deadline_that_passes_while_the_loop_is_busy_is_not_run_either(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    clock, ran = [loop.time()], []
    monkeypatch.setattr(loop, "time", lambda: clock[0])

    async def run(key: Hashable, rows: list[str], deadline: float) -> list[str]:
        ran.append(rows)
        clock[0] += 10  # nothing else ran meanwhile, not even the timer
        return rows

    batcher = room.build(run)
    first, second = await started(batcher.submit(["a"], later(60)), batcher.submit(["b"], later(5)))
    assert await first == ["a"]
    with pytest.raises(DeadlineExceeded):
        await second
    assert ran == [["a"]]


async def test_a_batch_is_given_the_latest_deadline_in_it(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run)
    began = now()
    await asyncio.gather(
        *(batcher.submit([at], began + at) for at in (9.0, 20.0, 50.0, 30.0)),
    )
    assert [batch.deadline - began for batch in worker.batches] == [9.0, 50.0]


async def test_the_queue_is_bounded_in_rows_and_freed_by_departure_and_by_answers(
    room: Room,
) -> None:
    batcher = room.build(Worker().run, max_rows=4, max_queue_rows=10)
    running, waiting = await started(
        batcher.submit([1, 2, 3], later()), batcher.submit([4, 5, 6], later())
    )
    assert batcher.rows == 6
    assert room.sample("ctscan_queue_rows") == 6
    with pytest.raises(Overloaded) as refused:
        await batcher.submit([0] * 5, later())
    assert refused.value.retry_after_s
    assert room.sample("ctscan_shed_total", reason="queue_full") == 1

    waiting.cancel()
    await asyncio.wait([waiting])
    assert batcher.rows == 3
    (after_departure,) = await started(batcher.submit([7] * 7, later()))
    with pytest.raises(Overloaded):
        await batcher.submit([0], later())

    assert await running == ["1", "2", "3"]
    (after_answer,) = await started(batcher.submit([8] * 3, later()))
    assert await after_departure == ["7"] * 7
    assert await after_answer == ["8"] * 3


async def test_a_deadline_frees_the_queue(room: Room) -> None:
    batcher = room.build(Worker(seconds=lambda: 10.0).run, max_queue_rows=2)
    running, late = await started(batcher.submit([1], later()), batcher.submit([2], later(1)))
    assert isinstance((await asyncio.gather(late, return_exceptions=True))[0], DeadlineExceeded)
    assert await batcher.submit([3], later()) == ["3"]
    await running


async def test_a_deadline_that_the_queue_makes_impossible_is_refused_at_once(room: Room) -> None:
    batcher = room.build(Worker().run, max_rows=4)  # four rows a second
    tasks = await started(*(batcher.submit([row], later(600)) for row in range(60)))
    await asyncio.sleep(5)
    inside = batcher.rows
    with pytest.raises(Overloaded, match="past the deadline") as refused:
        await batcher.submit(["late"], later(inside / 4 - 1))
    assert refused.value.retry_after_s == pytest.approx(min(inside / 4, WINDOW_S), abs=1)
    assert room.sample("ctscan_shed_total", reason="no_time") == 1
    tasks += await started(batcher.submit(["in time"], later(inside / 4 + 2)))
    await asyncio.gather(*tasks)


class _Surprise(Exception):
    """Cannot be copied, as some exceptions of libraries."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} of patient {two}")


async def _raises_ours(rows: list[str]) -> Sequence[str]:
    raise InvalidTensor("wrong bytes", fields=(FieldError("image", "wrong"),))


async def _raises_other(rows: list[str]) -> Sequence[str]:
    raise _Surprise("scan", "Jane Doe")


async def _too_few(rows: list[str]) -> Sequence[str]:
    return rows[1:]


async def _too_many(rows: list[str]) -> Sequence[str]:
    return [*rows, "more"]


async def _nothing(rows: list[str]) -> Any:
    return None


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (_raises_ours, InvalidTensor),
        (_raises_other, InternalError),
        (_too_few, InternalError),
        (_too_many, InternalError),
        (_nothing, InternalError),
    ],
)
async def test_a_failed_batch_fails_its_requests_and_the_next_one_runs(
    room: Room, failure: Any, expected: type[Exception]
) -> None:
    async def run(key: Hashable, rows: list[str], deadline: float) -> Sequence[str]:
        await asyncio.sleep(1)
        return await failure(rows) if "bad" in rows else rows

    batcher = room.build(run, max_rows=3)
    first, *failed, after = await started(
        *(batcher.submit([row], later()) for row in ("a", "b", "bad", "c", "d"))
    )
    answers = await asyncio.gather(*failed, return_exceptions=True)
    assert [type(answer) for answer in answers] == [expected] * 3
    assert len({id(answer) for answer in answers}) == 3
    assert not any("Jane" in str(answer) for answer in answers)
    assert await first == ["a"]
    assert await after == ["d"]


async def test_a_bulk_request_with_one_failed_bucket_is_run_no_further(room: Room) -> None:
    ran = []

    async def run(key: Hashable, rows: list[int], deadline: float) -> Sequence[int]:
        ran.append(rows)
        await asyncio.sleep(1)
        raise InvalidTensor("wrong")

    batcher = room.build(run, max_rows=2)
    with pytest.raises(InvalidTensor):
        await batcher.submit([1, 2, 3, 4, 5], later())
    assert ran == [[1, 2]]


async def test_what_an_error_carries_reaches_every_caller(room: Room) -> None:
    async def run(key: Hashable, rows: list[str], deadline: float) -> Sequence[str]:
        await asyncio.sleep(1)
        error = StaleCard("other weights", retry_after_s=7.0)
        error.card = {"architecture": "new"}
        raise error

    batcher = room.build(run)
    answers = await asyncio.gather(
        *(batcher.submit([row], later()) for row in "abc"), return_exceptions=True
    )
    assert [(type(answer), answer.card, answer.retry_after_s) for answer in answers] == [  # type: ignore[union-attr]
        (StaleCard, {"architecture": "new"}, 7.0)
    ] * 3


async def test_a_batch_that_fails_is_logged_under_the_id_of_each_of_its_requests(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    logged = []

    class Ids(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            request = CURRENT.get()
            logged.append((request.id if request else None, record.getMessage()))

    async def run(key: Hashable, rows: list[str], deadline: float) -> Sequence[str]:
        assert CURRENT.get() is None  # a batch is nobody's request
        await asyncio.sleep(1)
        raise _Surprise("scan", "Jane Doe")

    batcher = room.build(run, max_rows=2)

    async def call(identity: str) -> None:
        CURRENT.set(Request(identity, later()))
        with pytest.raises(InternalError):
            await batcher.submit([identity], later())

    handler = Ids()
    logging.getLogger("serving.doors").addHandler(handler)
    try:
        await asyncio.gather(*(call(identity) for identity in "abc"))
    finally:
        logging.getLogger("serving.doors").removeHandler(handler)
    assert sorted(logged) == [(identity, "unexpected _Surprise") for identity in "abc"]
    assert "Jane" not in caplog.text


async def test_a_run_that_is_cancelled_says_that_the_service_ends(room: Room) -> None:
    async def run(key: Hashable, rows: list[str], deadline: float) -> Sequence[str]:
        if rows == ["a"]:
            raise asyncio.CancelledError
        return rows

    batcher = room.build(run)
    with pytest.raises(Draining):
        await batcher.submit(["a"], later())
    assert await batcher.submit(["b"], later()) == ["b"]


async def test_closing_answers_what_runs_and_fails_what_waits(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=2, max_queue_rows=6)
    running, bulk, waiting = await started(
        batcher.submit(["a"], later()),
        batcher.submit([1, 2, 3, 4], later()),
        batcher.submit(["b"], later()),
    )
    with pytest.raises(Overloaded):
        await batcher.submit(["c"], later())
    began = now()
    await asyncio.sleep(0.5)
    await batcher.close()
    assert now() == began + 1
    assert await running == ["a"]
    answers = await asyncio.gather(bulk, waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Draining, Draining]
    assert worker.ran == [["a"]]
    with pytest.raises(Draining):
        await batcher.submit(["late"], later())


async def test_closing_an_idle_batcher_waits_for_nothing(room: Room) -> None:
    batcher = room.build(Worker().run)
    began = now()
    await batcher.close()
    assert now() == began


async def test_two_slots_run_two_batches_at_a_time(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=1, in_flight=2)
    began = now()
    await asyncio.gather(*(batcher.submit([row], later()) for row in range(4)))
    assert [batch.began - began for batch in worker.batches] == [0, 0, 1, 1]


async def test_more_slots_take_effect_while_running(room: Room) -> None:
    worker = Worker()
    batcher = room.build(worker.run, max_rows=1)
    began = now()
    tasks = await started(*(batcher.submit([row], later()) for row in range(4)))
    batcher.in_flight = 3
    tasks += await started(batcher.submit([4], later()))
    await asyncio.gather(*tasks)
    assert [batch.began - began for batch in worker.batches] == [0, 0, 0, 1, 1]
