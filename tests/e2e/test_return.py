"""A predictor that comes back after minutes is found as fast as after a moment."""

import asyncio
import time

import pytest

from tests.e2e.absence import ABSENT_S, Forsaken
from tests.e2e.cluster import PREDICTOR, TRANSFORMER, is_ready, until

pytestmark = pytest.mark.further

RECOVERY_S = 15.0


async def test_the_first_prediction_after_minutes(forsaken: Forsaken, png: bytes) -> None:
    cluster = forsaken.cluster
    await asyncio.sleep(max(0.0, forsaken.since + ABSENT_S - time.monotonic()))
    with forsaken.ingress.client() as client:

        def predicts() -> bool:
            return client.post("/predict", files={"file": png}).status_code == 200

        refused = client.post("/predict", files={"file": png})
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:ctscan:error:predictor-unavailable"
        assert int(refused.headers["retry-after"]) > 0

        cluster.scale(PREDICTOR, 1)
        until(lambda: any(is_ready(pod) for pod in cluster.pods(PREDICTOR)), "a predictor", 240)
        ready_at = time.monotonic()
        until(predicts, "a prediction", RECOVERY_S)
        assert time.monotonic() - ready_at <= RECOVERY_S
        assert client.get("/health").json()["ok"] is True
    assert cluster.uids(TRANSFORMER) == forsaken.transformers
    assert cluster.restarts(TRANSFORMER) == 0
