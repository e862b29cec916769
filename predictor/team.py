"""The threads that work on one row together, kept where the others are not.

A thread that is woken runs where it last did or where what wakes it runs, unless the kernel knows
of a CPU that is idle. On a virtual machine one that has slept for a while counts as given away by
the host (`vcpu_is_preempted` in Linux), so after a rest a team meets on one CPU, and stays there:
each of its threads waits until another sleeps. docs/engine.md says what that costs.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

THREADS = Path("/proc/self/task")
# OpenMP starts the helpers of a thread with the first work that is enough to share.
ENOUGH = 1 << 20


class Team:
    """A thread and the helpers that OpenMP gives it, `threads` in all; of each leader another.

    On many CPUs each has a share to choose from. Alone on the machine a team gains by that; beside
    other work its threads are better off where there is room, so that it ends with `disband`.
    """

    def __init__(self, threads: int) -> None:
        cpus = sorted(os.sched_getaffinity(0))
        share = len(cpus) // threads
        self._threads = threads
        self._all, self._leaders, self._helpers = set(cpus), set(cpus[:share]), set(cpus[share:])
        self._mine = threading.local()
        self._apart: tuple[int, ...] = ()

    def gather(self) -> None:
        """Make the calling thread a leader. It must not have had helpers before."""
        torch.get_num_threads()  # asked first, as a thread that is new takes the last set of any
        torch.set_num_threads(self._threads)
        before = _threads()
        # They are known by the CPUs that they inherit.
        _move((0,), self._helpers)
        torch.zeros(ENOUGH).add_(1)
        found = [it for it in _threads() - before if _cpus(it) == self._helpers]
        self._mine.team = (threading.get_native_id(), *found)
        _move(self._mine.team, self._all)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep the calling thread's helpers off its CPUs, if it leads any, and it off theirs."""
        leader, *helpers = team = getattr(self._mine, "team", (0,))
        if not helpers:
            yield
            return
        self._apart = team
        _move((leader,), self._leaders)
        _move(helpers, self._helpers)
        try:
            yield
        finally:
            _move(team, self._all)
            self._apart = ()

    def disband(self) -> None:
        """Let the team that is apart, if there is one, go where it likes. For any thread."""
        _move(self._apart, self._all)


def _threads() -> set[int]:
    return {int(it.name) for it in THREADS.iterdir()}


def _cpus(thread: int) -> set[int]:
    with suppress(OSError):  # it has ended
        return os.sched_getaffinity(thread)
    return set()


def _move(threads: Iterable[int], cpus: set[int]) -> None:
    for thread in threads:
        # It stays where it is if that is not permitted, the container has other CPUs now, or there
        # are none: more threads than CPUs leave no share for the leader, one thread no helpers.
        with suppress(OSError):
            os.sched_setaffinity(thread, cpus)
