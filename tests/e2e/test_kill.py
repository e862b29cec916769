"""A predictor that dies with calls in it takes no request along: they are tried on another one."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import PREDICTOR, TRANSFORMER, Cluster, is_ready, until
from tests.e2e.ingress import Ingress
from tests.e2e.load import Load, load
from tests.e2e.metrics import metric

pytestmark = pytest.mark.further

CLIENTS = 4
# A connection is looked up anew once a minute at the latest (grpc.max_connection_age_ms).
FOUND_WITHIN_S = 90.0
SHARED = 400
# Looks at the load, half a second apart, without an answer in between.
STILL = 4
# PID 1 is an init that hands signals on; the kernel drops those that nobody in it handles. A
# process that was stopped first has calls in it when it dies.
SIGNAL = """
import os, signal
from pathlib import Path
for status in Path("/proc").glob("[0-9]*/stat"):
    pid, rest = status.parent.name, status.read_text().rpartition(")")[2].split()
    if rest[1] == "1":
        os.kill(int(pid), signal.{name})
        print(pid)
"""


@pytest.fixture
def two_predictors(cluster: Cluster) -> Iterator[list[Any]]:
    """Two predictors, one again when the test is over."""
    cluster.hold(PREDICTOR, 2)
    until(lambda: len(ready(cluster)) == 2, "two predictors", 240)
    yield ready(cluster)
    cluster.hold(PREDICTOR, 1)
    until(lambda: len(cluster.pods(PREDICTOR)) == 1, "one predictor", 120)
    cluster.wait_ready()


def ready(cluster: Cluster) -> list[Any]:
    return [pod for pod in cluster.pods(PREDICTOR) if is_ready(pod)]


def rows(cluster: Cluster, pods: list[Any]) -> list[float]:
    """How many rows each of the predictors has been sent."""
    return [metric(cluster, pod, "ctscan_batch_rows_sum") for pod in pods]


async def test_a_killed_predictor_under_load(
    cluster: Cluster, ingress: Ingress, png: bytes, two_predictors: list[Any]
) -> None:
    (transformer,) = cluster.pods(TRANSFORMER)
    async with load(ingress, png, CLIENTS) as found:
        await asyncio.to_thread(both_asked, cluster, two_predictors)
        before = await asyncio.to_thread(rows, cluster, two_predictors)
        await found.wait_for(SHARED)
        after = await asyncio.to_thread(rows, cluster, two_predictors)
        retries = metric(cluster, transformer, "ctscan_predictor_retries_total")
        assert found.failures == []

        victim = two_predictors[0]
        await asyncio.to_thread(kill, cluster, victim, found)
        await found.wait_for(SHARED)
        await asyncio.to_thread(started_anew, cluster, victim)
        await found.wait_for(SHARED)

    share = (after[0] - before[0]) / (sum(after) - sum(before))
    assert 0.4 <= share <= 0.6
    # What was in it at most: each client has one request under way.
    assert len(found.failures) <= 2 * CLIENTS
    retried = metric(cluster, transformer, "ctscan_predictor_retries_total") - retries
    assert retried >= 1
    # A call that died is tried once more, and there was somebody to take it.
    assert found.failures == []
    assert cluster.restarts(TRANSFORMER) == 0


def both_asked(cluster: Cluster, pods: list[Any]) -> None:
    """Return once the transformer has found both predictors."""
    begin = rows(cluster, pods)

    def asked() -> bool:
        return all(now > then for now, then in zip(rows(cluster, pods), begin, strict=True))

    until(asked, "both predictors are asked", FOUND_WITHIN_S)


def kill(cluster: Cluster, pod: Any, found: Load) -> None:
    """Stop the process until calls wait in it, then kill it."""
    name = pod["metadata"]["name"]
    assert cluster.run_in_pod(name, SIGNAL.format(name="SIGSTOP")).strip()
    # Every slot of the transformer ends up in the one that does not answer: nothing moves on.
    seen = [-1] * STILL

    def stands_still() -> bool:
        seen[:] = [*seen[1:], found.sent]
        return len(set(seen)) == 1

    until(stands_still, "calls wait in the stopped predictor", 20)
    assert cluster.run_in_pod(name, SIGNAL.format(name="SIGKILL")).strip()


def started_anew(cluster: Cluster, pod: Any) -> None:
    """Wait until the container of the pod was restarted and is ready."""
    name = pod["metadata"]["name"]

    def again() -> bool:
        now = cluster.get("pod", name)
        return now["status"]["containerStatuses"][0]["restartCount"] == 1 and is_ready(now)

    until(again, "the killed predictor is ready again", 180)
