"""What every measurement is given: images, weights, the bare work and the service itself."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bare import Bare
from benchmarks.images import benchmark_images
from benchmarks.servers import cpu_seconds, free_port
from benchmarks.weights import write_model
from ctscan.pair import Pair, ready
from serving.cpus import available_cpus
from serving.settings import Settings, read_settings

QUIET_S = 2.0
QUIET_SHARE = 0.1
SETTLED_S = 300.0


@dataclass(frozen=True)
class Running:
    """Both services; `ready_s` after their start a prediction would have succeeded."""

    pair: Pair
    ready_s: float

    @property
    def url(self) -> str:
        return self.pair.url

    @property
    def pids(self) -> dict[str, int]:
        """The process of each service."""
        return {name: child.process.pid for name, child in self.pair.children.items()}


@dataclass(frozen=True)
class Scene:
    """`environment` is that of a service with the benchmark's weights, without addresses."""

    folder: Path
    images: Sequence[bytes]
    weights: Path
    environment: dict[str, str]
    settings: Settings
    bare: Bare
    service: Running

    @property
    def cores(self) -> int:
        return available_cpus()


@contextmanager
def open_scene() -> Iterator[Scene]:
    """Everything made anew in a temporary folder, the service running and at rest."""
    with TemporaryDirectory(prefix="ctscan-bench-") as name:
        folder = Path(name)
        weights = write_model(folder)
        environment = environment_of(weights)
        settings = read_settings(environment)
        bare = Bare(settings)
        wait_until_quiet(os.getpid())
        with running(environment) as service:
            images = benchmark_images()
            yield Scene(folder, images, weights, environment, settings, bare, service)


def environment_of(weights: Path) -> dict[str, str]:
    """That of a service which writes beside its weights; it names no addresses."""
    folder = weights.parent
    return {
        **os.environ,
        "MODEL_PATH": str(weights),
        "FEEDBACK_DIR": str(folder / "feedback"),
        "DRIFT_CURRENT_PATH": str(folder / "drift.csv"),
    }


@contextmanager
def running(environment: Mapping[str, str]) -> Iterator[Running]:
    """Both services, ready and at rest."""
    http, grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))
    start = time.perf_counter()
    with Pair({**environment, "HTTP_ADDRESS": http, "GRPC_ADDRESS": grpc}, http) as pair:
        pair.wait_until(ready, lambda: True)
        service = Running(pair, time.perf_counter() - start)
        wait_until_quiet(*service.pids.values())
        yield service


def wait_until_quiet(*pids: int) -> None:
    """Wait until these processes do next to nothing: what they do after their start has ended."""
    until = time.monotonic() + SETTLED_S
    share = 1.0
    while share > QUIET_SHARE and time.monotonic() < until:
        before = cpu_seconds(*pids)
        time.sleep(QUIET_S)
        share = (cpu_seconds(*pids) - before) / QUIET_S
