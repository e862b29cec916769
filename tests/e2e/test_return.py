"""A predictor that comes back after minutes is found as fast as after a moment."""

import asyncio
import time

import pytest

from tests.e2e.absence import ABSENT_S, Forsaken
from tests.e2e.cluster import TRANSFORMER
from tests.e2e.recovery import assert_recovers, assert_refused

pytestmark = pytest.mark.further


async def test_the_first_prediction_after_minutes(forsaken: Forsaken, png: bytes) -> None:
    cluster = forsaken.cluster
    await asyncio.sleep(max(0.0, forsaken.since + ABSENT_S - time.monotonic()))
    with forsaken.ingress.client() as client:
        assert_refused(client, png)
        assert_recovers(cluster, client, png)
    assert cluster.uids(TRANSFORMER) == forsaken.transformers
    assert cluster.restarts(TRANSFORMER) == 0
