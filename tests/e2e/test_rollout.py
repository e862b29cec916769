"""A roll-out of both services at once loses no request."""

import asyncio

from tests.e2e.cluster import PREDICTOR, TRANSFORMER, Cluster, is_ready, until
from tests.e2e.ingress import Ingress
from tests.e2e.load import load

LEAST = 2000
GO_ON_S = 10.0


async def test_new_pods_of_both_services_under_load(
    cluster: Cluster, ingress: Ingress, png: bytes
) -> None:
    before = cluster.uids(PREDICTOR, TRANSFORMER)
    assert len(before) == 2

    async with load(ingress, png) as found:
        await found.wait_for(100)
        await asyncio.to_thread(replace_all, cluster, before)
        # Whoever kept a connection to the old pods has met their end by now.
        await asyncio.sleep(GO_ON_S)
        await found.wait_for(max(0, LEAST - found.sent))

    assert found.failures == []
    assert found.sent >= LEAST
    assert min(found.answered["rest"], found.answered["grpc"]) >= LEAST // 4
    assert cluster.restarts(PREDICTOR) == cluster.restarts(TRANSFORMER) == 0


def replace_all(cluster: Cluster, before: set[str]) -> None:
    """Restart both services; return when the last of the old pods is gone."""
    cluster.restart(PREDICTOR, TRANSFORMER)
    until(lambda: not before & cluster.uids(PREDICTOR, TRANSFORMER), "the old pods are gone", 240)
    for component in (PREDICTOR, TRANSFORMER):
        assert [is_ready(pod) for pod in cluster.pods(component)] == [True]
