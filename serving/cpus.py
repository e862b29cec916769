"""The CPUs that this process may use: how many, and which of its threads go first."""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
NICER = 10


def available_cpus(cgroup: Path = CGROUP) -> int:
    """Whole CPUs, at least 1: the least of the affinity mask and the cgroup quota (v2, v1).

    The container's limit, never the host's cores. Rounded down: two busy threads under a quota of
    1.5 spend it in three quarters of each period, and then stand still together with the event
    loop.
    """
    allowed = float(len(os.sched_getaffinity(0)))
    return max(1, math.floor(min(allowed, _quota_v2(cgroup), _quota_v1(cgroup))))


def give_way() -> None:
    """Let this thread, which computes, leave the cores to those that pass requests on.

    They need them for a moment only, and what computes waits for them next: docs/engine.md has
    what it is worth. On Linux niceness is a thread's own and what it starts inherits it; elsewhere
    it would be the process, event loop and all. Where it is not permitted all are alike.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            main_thread = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, 0, main_thread + NICER)


def _quota_v2(cgroup: Path) -> float:
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else math.inf


def _quota_v1(cgroup: Path) -> float:
    quota = _read(cgroup / "cpu" / "cpu.cfs_quota_us")
    period = _read(cgroup / "cpu" / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
