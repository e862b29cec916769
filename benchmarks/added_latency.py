"""What the service adds to the latency of one client, image by image beside the bare work."""

import http.client
import statistics
import time

from benchmarks import request
from benchmarks.scene import Scene


def measure_added_latency(scene: Scene, times: int) -> dict[str, float]:
    """Service and bare work in turns, so that what slows the machine down falls on both."""
    target = request.predict(scene.service.url, scene.images)
    client = http.client.HTTPConnection(target.host, target.port, timeout=60)
    client.connect()
    served: list[float] = []
    prepare: list[float] = []
    forward: list[float] = []
    for _ in range(times):
        for image, sent in zip(scene.images, target.requests, strict=True):
            prepare_ms, forward_ms = scene.bare.one(image)
            prepare.append(prepare_ms)
            forward.append(forward_ms)
            served.append(_exchange_ms(client, sent))
    client.close()
    added = [s - p - f for s, p, f in zip(served, prepare, forward, strict=True)]
    return {
        "one.served_ms": statistics.median(served),
        "one.prepare_ms": statistics.median(prepare),
        "one.forward_ms": statistics.median(forward),
        "one.added_ms": statistics.median(added),
    }


def _exchange_ms(client: http.client.HTTPConnection, sent: bytes) -> float:
    start = time.perf_counter()
    client.sock.sendall(sent)
    answer = http.client.HTTPResponse(client.sock)
    answer.begin()
    answer.read()
    assert answer.status == 200, answer.status
    return (time.perf_counter() - start) * 1000
