"""What else the machine had to do meanwhile: figures of a busy machine are worth little."""

import os
import time

import psutil

from benchmarks.servers import cpu_seconds


class Others:
    """Watches from its making on."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._before = _foreign_seconds()

    def cores(self) -> float:
        """Cores that processes other than this one and its servers have used, on average."""
        used = _foreign_seconds() - self._before
        return max(0.0, used / (time.perf_counter() - self._start))


def _foreign_seconds() -> float:
    times = psutil.cpu_times()
    busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
    return busy - cpu_seconds(os.getpid())
