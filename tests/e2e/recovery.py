"""What a client is told while there is no predictor, and how soon one that is ready serves it."""

import time

import httpx

from tests.e2e.cluster import PREDICTOR, Cluster, is_ready, until

RECOVERY_S = 15.0


def assert_refused(client: httpx.Client, png: bytes) -> None:
    """A prediction is refused in our own words, not in those of the ingress."""
    refused = client.post("/predict", files={"file": png})
    assert refused.status_code == 503
    assert refused.json()["type"] == "urn:ctscan:error:predictor-unavailable"
    assert int(refused.headers["retry-after"]) > 0


def assert_recovers(cluster: Cluster, client: httpx.Client, png: bytes) -> None:
    """Bring a predictor back; it is found in time, and said to be."""

    def predicts() -> bool:
        return client.post("/predict", files={"file": png}).status_code == 200

    cluster.scale(PREDICTOR, 1)
    until(lambda: any(is_ready(pod) for pod in cluster.pods(PREDICTOR)), "a predictor", 240)
    ready_at = time.monotonic()
    until(predicts, "a prediction", RECOVERY_S)
    assert time.monotonic() - ready_at <= RECOVERY_S
    assert client.get("/health").json()["ok"] is True
