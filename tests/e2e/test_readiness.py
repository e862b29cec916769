"""While there is no predictor, the transformer says so itself, and recovers by itself."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.cluster import PREDICTOR, TRANSFORMER, Cluster, is_ready, until

RECOVERY_S = 15.0


@pytest.fixture
def without_predictor(cluster: Cluster) -> Iterator[None]:
    """No predictor in the cluster, until the test is over."""
    cluster.scale(PREDICTOR, 0)
    until(lambda: not cluster.pods(PREDICTOR), "the predictor is gone", 120)
    yield
    cluster.scale(PREDICTOR, 1)
    cluster.wait_ready()


@pytest.mark.usefixtures("without_predictor")
def test_the_transformer_tells_that_there_is_no_predictor_and_finds_the_next(
    cluster: Cluster, rest: httpx.Client, png: bytes
) -> None:
    transformers, restarts = cluster.uids(TRANSFORMER), cluster.restarts(TRANSFORMER)

    refused = rest.post("/predict", files={"file": png})
    assert refused.status_code == 503
    # Our own words, not those of the ingress.
    assert refused.json()["type"] == "urn:ctscan:error:predictor-unavailable"
    assert int(refused.headers["retry-after"]) > 0
    health = rest.get("/health")
    assert health.status_code == 200
    assert [health.json()[key] for key in ("ok", "model_loaded")] == [False, False]
    assert rest.get("/v2/health/ready").status_code == 503
    assert rest.get("/readyz").status_code == 200

    cluster.scale(PREDICTOR, 1)
    until(lambda: any(is_ready(pod) for pod in cluster.pods(PREDICTOR)), "a predictor", 240)
    ready_at = time.monotonic()
    until(lambda: predicts(rest, png), "a prediction", RECOVERY_S)
    assert time.monotonic() - ready_at <= RECOVERY_S
    assert rest.get("/health").json()["ok"] is True
    assert cluster.uids(TRANSFORMER) == transformers
    assert cluster.restarts(TRANSFORMER) == restarts


def predicts(client: httpx.Client, png: bytes) -> bool:
    return client.post("/predict", files={"file": png}).status_code == 200
