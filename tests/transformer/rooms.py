"""What the transformer's rooms need from outside, in the smallest form."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from serving.card import Gate
from serving.request import CURRENT, Request
from serving.settings import Limits
from tests.images import grey, png
from transformer.decode import decode
from transformer.gate import Evidence, grey_profile
from transformer.metrics import TransformerMetrics
from transformer.statistics import summarise

# What is known of some grey slice.
EVIDENCE = Evidence(summarise(decode(png(grey()), Limits())))
# A gate of weights that were trained on such slices.
GATE = Gate(
    profiles=(tuple(grey_profile(EVIDENCE.statistics.histogram).tolist()),),
    other_profiles=(),
    profile_distance=10.0,
    ct_distance=20.0,
    margin=0.2,
)


class Inline(Executor):
    """Works where it is called, so that fake time does not run ahead of it; counts the jobs."""

    def __init__(self) -> None:
        self.jobs = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.jobs += 1
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def metrics() -> TransformerMetrics:
    return TransformerMetrics(CollectorRegistry())


@contextmanager
def request(seconds: float = 30.0) -> Iterator[None]:
    """A request under way, with its deadline so many seconds from now."""
    token = CURRENT.set(Request("test", asyncio.get_running_loop().time() + seconds))
    try:
        yield
    finally:
        CURRENT.reset(token)
