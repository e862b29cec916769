"""How many CPUs this process may use: the container's limit, never the host's cores."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> int:
    """Whole CPUs, at least 1: the least of the affinity mask and the cgroup quota (v2, v1).

    Rounded down: two busy threads under a quota of 1.5 spend it in three quarters of each period,
    and then stand still together with the event loop.
    """
    allowed = float(len(os.sched_getaffinity(0)))
    return max(1, math.floor(min(allowed, _quota_v2(cgroup), _quota_v1(cgroup))))


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
