"""What the transformer's rooms need from outside, in the smallest form."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from serving.request import CURRENT, Request
from transformer.metrics import TransformerMetrics


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
