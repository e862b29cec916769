"""The threads that work on one row together, each on a CPU of its own.

A thread that is woken runs where it last did or where what wakes it runs, unless the kernel knows
of a CPU that is idle. On a virtual machine Linux does not take one that has slept for a while for
idle, as the host may have given it away (`vcpu_is_preempted`). So after a rest two threads meet on
one CPU, and stay there: each waits until the other sleeps. docs/engine.md says what that costs.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

THREADS = Path("/proc/self/task")
# OpenMP starts the helpers of a thread with the first work that is enough to share.
ENOUGH = 1 << 20


class Team:
    """Each thread that leads, and the helpers that OpenMP gives it: `threads` with the leader.

    They are spread where there is a CPU for each and no other. Of more CPUs than threads two
    seldom meet on one, and how far apart they should be is not known here.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._cpus = sorted(os.sched_getaffinity(0))
        self._gathering = threading.Lock()
        self._mine = threading.local()
        self._spread: tuple[int, ...] = ()

    def gather(self) -> None:
        """Make the calling thread a leader. It must not have had helpers before.

        OpenMP keeps them while work is shared by all of them or by none.
        """
        compute_with(self._threads)
        if not 1 < self._threads == len(self._cpus):
            return
        inherited = set(self._cpus[1:])  # which helpers are known by
        with self._gathering:
            before = _threads()
            _move(0, inherited)
            torch.zeros(ENOUGH).add_(1)
            helpers = [it for it in _threads() - before if _cpus(it) == inherited]
            self._mine.team = (threading.get_native_id(), *helpers)
            self._release(self._mine.team)

    @contextmanager
    def spread(self) -> Iterator[None]:
        """Keep the calling thread and its helpers, if it leads any, on a CPU each."""
        team = getattr(self._mine, "team", ())
        self._spread = team
        for thread, cpu in zip(team, self._cpus, strict=False):
            _move(thread, {cpu})
        try:
            yield
        finally:
            self._spread = ()
            self._release(team)

    def release(self) -> None:
        """Let the team that is spread, if one is, go where it likes. For any thread.

        Beside other work its threads are better off where there is room.
        """
        self._release(self._spread)

    def _release(self, team: tuple[int, ...]) -> None:
        for thread in team:
            _move(thread, set(self._cpus))


def compute_with(threads: int) -> None:
    """Set how many threads share what the calling thread computes, and that of no other.

    It is asked first: a thread that is new takes the last setting of any.
    """
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _threads() -> set[int]:
    return {int(it.name) for it in THREADS.iterdir()}


def _cpus(thread: int) -> set[int]:
    with suppress(OSError):  # it has ended
        return os.sched_getaffinity(thread)
    return set()


def _move(thread: int, cpus: set[int]) -> None:
    # Where it is not permitted, or the container has other CPUs by now, it stays where it is.
    with suppress(OSError):
        os.sched_setaffinity(thread, cpus)
