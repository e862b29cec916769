"""What the figures were measured on."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil

from serving.cpus import available_cpus


def machine() -> dict[str, str | float]:
    """Processor, cores, memory, versions, and what else the machine had to do before."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_name(),
        "features": ", ".join(name for name in ("avx512_bf16", "amx_bf16") if name in cpu_flags()),
        "cores": available_cpus(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def cpu_name() -> str:
    """The processor's own name, where the system tells it."""
    return _cpu_line("model name") or platform.processor()


def cpu_flags() -> list[str]:
    return _cpu_line("flags").split()


def _cpu_line(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((ln.partition(":")[2].strip() for ln in lines if ln.startswith(name)), "")
