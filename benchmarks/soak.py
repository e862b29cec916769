"""Memory under load: `python -m benchmarks.soak --minutes 60`.

What a service holds at the end against what it held after the first minutes, in which caches and
pools only fill.
"""

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import request
from benchmarks.images import benchmark_images
from benchmarks.load import closed_loop, run
from benchmarks.scene import Running, environment_of, running
from benchmarks.servers import resident_mb
from benchmarks.weights import write_model

CONNECTIONS = 32
EVERY_S = 30.0
FILLED_AFTER_S = 300.0
# Samples that the two ends of a comparison are the means of.
SAMPLES = 4

Sample = tuple[float, Mapping[str, float]]


def main() -> None:
    """Load the service, tell its memory twice a minute, and at the end the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    minutes = parser.parse_args().minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with TemporaryDirectory(prefix="ctscan-soak-") as folder:
        environment = environment_of(write_model(Path(folder)))
        with running(environment) as service:
            samples = watch(service, minutes * 60)
    for name, share in growth(samples).items():
        print(f"{name}: {share:+.1%} after the first {FILLED_AFTER_S / 60:.0f} minutes")


def watch(service: Running, seconds: float) -> list[Sample]:
    """Seconds since the start and MB of each service, sampled under load."""
    target = request.predict(service.url, benchmark_images())
    start = time.perf_counter()
    samples: list[Sample] = []
    while (elapsed := time.perf_counter() - start) < seconds:
        load = run(closed_loop(target, CONNECTIONS, min(EVERY_S, seconds - elapsed)))
        elapsed = time.perf_counter() - start
        memory = {name: resident_mb(pid) for name, pid in service.pids.items()}
        samples.append((elapsed, memory))
        text = ", ".join(f"{name} {mb:.1f} MB" for name, mb in memory.items())
        rate = f"{load.per_second:.1f} requests/s, {load.failures} not 200"
        print(f"{elapsed:6.0f} s: {text}; {rate}", flush=True)
    return samples


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """By what share the memory of each service grew after the first minutes.

    Raises:
        ValueError: the samples end before that.
    """
    later = [memory for elapsed, memory in samples if elapsed >= FILLED_AFTER_S]
    if len(later) < 2 * SAMPLES:
        raise ValueError(f"too short: {2 * SAMPLES} samples after the first 5 minutes are needed")
    return {
        name: _mean(later[-SAMPLES:], name) / _mean(later[:SAMPLES], name) - 1 for name in later[0]
    }


def _mean(samples: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(memory[name] for memory in samples) / len(samples)


if __name__ == "__main__":
    main()
