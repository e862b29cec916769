"""How long each service takes to be ready, started alone as in a pod, and its memory then."""

import subprocess
import sys
import time

from benchmarks.scene import Scene, wait_until_quiet
from benchmarks.servers import Server, answers, free_port, resident_mb


def measure_start_up(scene: Scene) -> dict[str, float]:
    """Seconds until `/readyz` answers 200, and resident memory at rest.

    What the service still has to do for clients that left would slow the start of others down, and
    so would libraries that have yet to be read from the disk.
    """
    wait_until_quiet(*scene.service.pids.values())
    ports = [f"127.0.0.1:{free_port()}" for _ in range(4)]
    subprocess.run([sys.executable, "-c", "import kserve, torch"], check=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import kserve"], check=True)
    kserve_s = time.perf_counter() - start
    addresses = {
        "predictor": {"HTTP_ADDRESS": ports[0], "GRPC_ADDRESS": ports[1]},
        "transformer": {
            "HTTP_ADDRESS": ports[2],
            "GRPC_ADDRESS": ports[3],
            "PREDICTOR_HTTP_ADDRESS": ports[0],
            "PREDICTOR_GRPC_ADDRESS": ports[1],
        },
    }
    servers = {
        name: Server(
            name,
            [sys.executable, "-m", name],
            {**scene.environment, **own},
            lambda address=own["HTTP_ADDRESS"]: answers(address, "/readyz"),  # type: ignore[misc]
            scene.folder / f"start-{name}.log",
        )
        for name, own in addresses.items()
    }
    figures = {"ready.import_kserve_s": kserve_s}
    with servers["predictor"] as predictor:
        wait_until_quiet(predictor.pid)
        with servers["transformer"] as transformer:
            wait_until_quiet(transformer.pid)
            for server in (predictor, transformer):
                figures[f"ready.{server.name}_s"] = server.ready_s
                figures[f"rss.{server.name}_mb"] = resident_mb(server.pid)
    return figures | {"ready.beyond_kserve_s": figures["ready.transformer_s"] - kserve_s}
