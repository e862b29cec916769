"""While there is no predictor, the transformer says so itself, and recovers by itself."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.cluster import PREDICTOR, TRANSFORMER, Cluster, until
from tests.e2e.recovery import assert_recovers, assert_refused


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

    assert_refused(rest, png)
    health = rest.get("/health")
    assert health.status_code == 200
    assert [health.json()[key] for key in ("ok", "model_loaded")] == [False, False]
    assert rest.get("/v2/health/ready").status_code == 503
    assert rest.get("/readyz").status_code == 200

    assert_recovers(cluster, rest, png)
    assert cluster.uids(TRANSFORMER) == transformers
    assert cluster.restarts(TRANSFORMER) == restarts
