"""What the service adds to the latency of one client, image by image beside the bare work."""

import http.client
import time
from statistics import median

from benchmarks import request
from benchmarks.scene import Scene

PAUSE_S = 0.1


def measure_added_latency(scene: Scene, passing_on_url: str, times: int) -> dict[str, float]:
    """Service and bare work in turns, so that what slows the machine down falls on both.

    So is a front that only passes on, after about as long an idle time as the service.
    """
    service, front = (
        _Client(request.predict(url, scene.images)) for url in (scene.service.url, passing_on_url)
    )
    served: list[float] = []
    prepare: list[float] = []
    forward: list[float] = []
    passed_on: list[float] = []
    for _ in range(times):
        for index, image in enumerate(scene.images):
            prepare_ms, forward_ms = scene.bare.one(image)
            prepare.append(prepare_ms)
            forward.append(forward_ms)
            # Each comes first every other time: what the other still does would be in its way.
            if index % 2:
                passed_on.append(front.exchange_ms(index))
            served.append(service.exchange_ms(index))
            if not index % 2:
                passed_on.append(front.exchange_ms(index))
    rested = [service.rested_ms(index) for index in range(len(scene.images))]
    service.close()
    front.close()
    added = [s - p - f for s, p, f in zip(served, prepare, forward, strict=True)]
    return {
        "one.served_ms": median(served),
        "one.prepare_ms": median(prepare),
        "one.forward_ms": median(forward),
        "one.added_ms": median(added),
        "one.passed_on_ms": median(passed_on),
        "one.rested_ms": median(rested),
    }


class _Client:
    """One connection that is kept."""

    def __init__(self, target: request.Target) -> None:
        self._requests = target.requests
        self._connection = http.client.HTTPConnection(target.host, target.port, timeout=60)
        self._connection.connect()

    def exchange_ms(self, index: int) -> float:
        """Milliseconds from the first byte of a request to the last of its answer."""
        start = time.perf_counter()
        self._connection.sock.sendall(self._requests[index])
        answer = http.client.HTTPResponse(self._connection.sock)
        answer.begin()
        answer.read()
        assert answer.status == 200, answer.status
        return (time.perf_counter() - start) * 1000

    def rested_ms(self, index: int) -> float:
        """The same after a rest, which lets CPUs fall asleep."""
        time.sleep(PAUSE_S)
        return self.exchange_ms(index)

    def close(self) -> None:
        self._connection.close()
