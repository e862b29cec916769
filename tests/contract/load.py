"""Requests that go on in threads while something happens to the services."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

Send = Callable[[httpx.Client, int], httpx.Response]


class Load:
    """What came back, with the number of each request."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, httpx.Response]] = []
        self.broken = 0

    def statuses(self) -> set[int]:
        return {answer.status_code for _, answer in self.answers}

    def wait_for(self, more: int) -> None:
        """Return once so many further requests were answered."""
        goal = len(self.answers) + more
        deadline = threading.Event()
        for _ in range(3000):
            if len(self.answers) >= goal:
                return
            deadline.wait(0.02)
        raise AssertionError(f"no {more} answers within a minute")


@contextmanager
def load(url: str, send: Send, threads: int = 4) -> Iterator[Load]:
    """Send one request after another in each thread until the block ends."""
    found, stop = Load(), threading.Event()
    numbers = iter(range(1_000_000))

    def work() -> None:
        with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
            while not stop.is_set():
                number = next(numbers)
                try:
                    found.answers.append((number, send(client, number)))
                except httpx.HTTPError:
                    # The service itself was killed.
                    found.broken += 1
                    stop.wait(0.05)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield found
    finally:
        stop.set()
        for worker in workers:
            worker.join()
