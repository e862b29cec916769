"""The transformer before a predictor that answers at once, against bare decode and resize.

Beside it a front of the same predictor that only passes on.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import request
from benchmarks.bare import prepare_cpu_ms
from benchmarks.load import closed_loop, run
from benchmarks.others import Others
from benchmarks.scene import Scene
from benchmarks.servers import Server, answers, cpu_seconds, free_port


@dataclass(frozen=True)
class Alone:
    transformer: Server
    stub: Server
    url: str
    passing_on_url: str


@contextmanager
def transformer_alone(scene: Scene) -> Iterator[Alone]:
    """A transformer of its own, the stub that it asks, and a front of that which only passes on."""
    card = str(scene.weights.with_suffix(".yaml"))
    http, grpc, own_http, own_grpc, front_http = (free_port() for _ in range(5))
    stub = Server(
        "stub predictor",
        [sys.executable, "-m", "benchmarks.stub_predictor", card, str(http), str(grpc)],
        scene.environment,
        lambda: answers(f"127.0.0.1:{http}", "/card"),
        scene.folder / "stub.log",
    )
    transformer = Server(
        "transformer",
        [sys.executable, "-m", "transformer"],
        {
            **scene.environment,
            "HTTP_ADDRESS": f"127.0.0.1:{own_http}",
            "GRPC_ADDRESS": f"127.0.0.1:{own_grpc}",
            "PREDICTOR_HTTP_ADDRESS": f"127.0.0.1:{http}",
            "PREDICTOR_GRPC_ADDRESS": f"127.0.0.1:{grpc}",
            "DRIFT_CURRENT_PATH": str(scene.folder / "drift-alone.csv"),
        },
        lambda: answers(f"127.0.0.1:{own_http}", "/v2/health/ready"),
        scene.folder / "transformer.log",
    )
    front = Server(
        "passing on",
        [sys.executable, "-m", "benchmarks.pass_on", str(front_http), f"127.0.0.1:{grpc}", card],
        scene.environment,
        lambda: answers(f"127.0.0.1:{front_http}", "/"),
        scene.folder / "passing-on.log",
    )
    with stub, transformer, front:
        urls = (f"http://127.0.0.1:{port}" for port in (own_http, front_http))
        yield Alone(transformer, stub, *urls)


def measure_transformer(scene: Scene, alone: Alone, seconds: float) -> dict[str, float]:
    """Images/s at 32 connections, as a share of what bare decode and resize make of these cores.

    Of what is left of them: client, stub and other programs have no part in a transformer's pod.
    """
    bare_ms = prepare_cpu_ms(scene.bare, scene.images, seconds / 4)
    others = Others()
    before = cpu_seconds(alone.stub.pid), cpu_seconds(alone.transformer.pid)
    load = run(closed_loop(request.predict(alone.url, scene.images), 32, seconds))
    stub_s = cpu_seconds(alone.stub.pid) - before[0]
    own_s = cpu_seconds(alone.transformer.pid) - before[1]
    cores = scene.cores - (stub_s + load.client_cpu_s) / load.wall_s - others.cores()
    return {
        "transformer.per_second": load.per_second,
        "transformer.cpu_ms": own_s * 1000 / len(load.outcomes),
        "transformer.cores_left": cores,
        "transformer.bare_per_second": cores * 1000 / bare_ms,
        "transformer.failures": load.failures,
        "ratio.transformer": load.per_second * bare_ms / 1000 / cores,
    }
