"""Transformers come with the load and go with it, and none of them takes a request along."""

import asyncio
import io
import json
from collections.abc import Iterator

import pytest
from PIL import Image

from serving.phantom import phantom
from tests.e2e.cluster import TRANSFORMER, Cluster, is_ready, until
from tests.e2e.ingress import Ingress
from tests.e2e.load import load

pytestmark = pytest.mark.further

GO_ON_S = 10.0
# Minutes of quiet are awaited elsewhere; here seconds. The target is lower than the component's, so
# that a small machine reaches it with room to spare.
QUICK = {
    "spec": {
        "maxReplicas": 3,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "AverageValue", "averageValue": "500m"},
                },
            }
        ],
        "behavior": {
            "scaleDown": {
                "stabilizationWindowSeconds": 15,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}],
            }
        },
    }
}


@pytest.fixture
def scaler(cluster: Cluster) -> Iterator[str]:
    """The autoscaler of the transformers, in a hurry; as it was when the test is over."""
    name = f"ctscan-{TRANSFORMER}-cpu"
    cluster.kubectl("patch", "hpa", name, "--type=merge", "-p", json.dumps(QUICK))
    yield name
    cluster.apply()


@pytest.fixture(scope="module")
def heavy_png() -> bytes:
    """Little to send and for the predictor, much to decode."""
    target = io.BytesIO()
    Image.fromarray(phantom(0, 4096, 4096, noise=0)).save(target, "PNG")
    return target.getvalue()


@pytest.mark.usefixtures("scaler")
async def test_transformers_by_load(
    cluster: Cluster, ingress: Ingress, png: bytes, heavy_png: bytes
) -> None:
    (first,) = cluster.uids(TRANSFORMER)

    async with load(ingress, heavy_png, clients=3, pause_s=0) as heavy:
        await asyncio.to_thread(until, lambda: ready(cluster) >= 2, "two transformers", 180)
        # Until the gateway sends something to the new ones.
        await heavy.wait_for(30)
    grown = cluster.uids(TRANSFORMER)

    async with load(ingress, png, clients=1) as light:
        await asyncio.to_thread(until, lambda: count(cluster) == 1, "one transformer", 240)
        await asyncio.sleep(GO_ON_S)

    assert len(grown) >= 2
    assert first in grown
    assert heavy.failures == light.failures == []
    assert heavy.sent >= 30
    assert light.sent >= 100
    assert cluster.restarts(TRANSFORMER) == 0


def count(cluster: Cluster) -> int:
    """All transformers, those that are ending among them."""
    return len(cluster.pods(TRANSFORMER))


def ready(cluster: Cluster) -> int:
    return sum(is_ready(pod) for pod in cluster.pods(TRANSFORMER))
