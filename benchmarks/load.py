"""Load on one HTTP service: closed loop, each connection its own thread, over kept connections."""

import http.client
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

BOUNDARY = "ctscan-benchmark"


@dataclass(frozen=True)
class Load:
    """What came of it: seconds of each 200 answer, other statuses, and the whole run's seconds."""

    seconds: tuple[float, ...]
    failures: int
    wall_s: float

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.wall_s

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.seconds) * 1000

    @property
    def p99_ms(self) -> float:
        return sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))] * 1000


def multipart(image: bytes) -> bytes:
    """The body of `POST /predict`."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="slice.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def closed_loop(url: str, images: Sequence[bytes], connections: int, requests: int) -> Load:
    """Send `requests` in all; each connection sends its next as soon as it has its answer."""
    bodies = [multipart(image) for image in images]
    turns = iter(range(requests))
    lock = threading.Lock()
    seconds: list[float] = []
    failures = 0

    def connection() -> None:
        nonlocal failures
        client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                break
            took, status = post(client, bodies[turn % len(bodies)])
            with lock:
                if status == 200:
                    seconds.append(took)
                else:
                    failures += 1
        client.close()

    threads = [threading.Thread(target=connection) for _ in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(tuple(seconds), failures, time.perf_counter() - start)


def post(client: http.client.HTTPConnection, body: bytes) -> tuple[float, int]:
    """Seconds and status of one `POST /predict`."""
    start = time.perf_counter()
    client.request(
        "POST",
        "/predict",
        body,
        {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    answer = client.getresponse()
    answer.read()
    return time.perf_counter() - start, answer.status
