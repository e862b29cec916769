"""Load on one HTTP service: closed loop, and open loop at times fixed beforehand.

One event loop on bare sockets: client and server share the cores here, and what the client costs is
taken from the server. `Load.client_cpu_s` says how much that was.
"""

import asyncio
import gc
import time
from collections.abc import Coroutine, Sequence
from itertools import count
from typing import Any

import uvloop

from benchmarks.connection import Connection
from benchmarks.outcome import Load, Outcome
from benchmarks.request import Target

# Of a load's time, the part in which the queues are taken to fill.
RAMP = 0.15


async def closed_loop(target: Target, connections: int, seconds: float) -> Load:
    """Each connection sends its next request as soon as it has its answer."""
    turns = count()
    start, cpu = time.perf_counter(), time.process_time()

    async def one() -> list[Outcome]:
        outcomes = []
        connection = Connection(target)
        while (sent := time.perf_counter()) < start + seconds:
            status = await connection.send(next(turns))
            outcomes.append(Outcome(sent, sent, time.perf_counter(), status))
        await connection.close()
        return outcomes

    parts = await asyncio.gather(*(one() for _ in range(connections)))
    outcomes = tuple(outcome for part in parts for outcome in part)
    full, end = start + RAMP * seconds, start + seconds
    return Load(outcomes, start, full, end, time.process_time() - cpu)


async def open_loop(
    target: Target, arrivals: Sequence[float], filling_s: float | None = None
) -> Load:
    """Send at these seconds after the start, however late the answers are.

    The queues fill for `filling_s` seconds, or for a share of the time if nothing is said.

    The time of an answer counts from when its request was due: a client that is kept waiting waits,
    whatever it is kept waiting by. (Counted from when it was sent, a stalled server would delay the
    very requests that would have shown the stall.)
    """
    start, cpu = time.perf_counter(), time.process_time()
    free: list[Connection] = []

    async def one(turn: int, due: float) -> Outcome:
        sent = time.perf_counter()
        connection = free.pop() if free else Connection(target)
        status = await connection.send(turn)
        free.append(connection)
        return Outcome(due, sent, time.perf_counter(), status)

    async with asyncio.TaskGroup() as group:
        tasks = []
        for turn, after in enumerate(arrivals):
            due = start + after
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(group.create_task(one(turn, due)))
    for connection in free:
        await connection.close()
    outcomes = tuple(task.result() for task in tasks)
    seconds = arrivals[-1]
    full = start + (RAMP * seconds if filling_s is None else filling_s)
    return Load(outcomes, start, full, start + seconds, time.process_time() - cpu)


def run(load: Coroutine[Any, Any, Load]) -> Load:
    """The outcome of one load, on an event loop of its own.

    Nothing is collected meanwhile: with all that a benchmark has imported it takes 0.1 s.
    """
    gc.disable()
    try:
        return uvloop.run(load)
    finally:
        gc.enable()
