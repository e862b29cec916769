"""A second service whose predictor goes away and stays away, while other tests run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.cluster import NAMESPACE, OVERLAY, PREDICTOR, TRANSFORMER, Cluster, until
from tests.e2e.ingress import Ingress
from tests.e2e.rendered import as_text, frugal, rendered

ABSENT_S = 300.0


@dataclass(frozen=True)
class Forsaken:
    """The service, its way in, its transformer pods, and since when it has no predictor."""

    cluster: Cluster
    ingress: Ingress
    transformers: set[str]
    since: float


@contextmanager
def forsaken_service(ingress: Ingress, png: bytes) -> Iterator[Forsaken]:
    """Deploy beside the service under test, predict once, take the predictor away."""
    cluster = Cluster(f"{NAMESPACE}-absence")
    manifests = as_text(frugal(rendered(OVERLAY, cluster.namespace)))
    try:
        cluster.kubectl("apply", "-f", "-", given=manifests)
        cluster.wait_ready()
        other = ingress.of(cluster.host())
        with other.client() as client:

            def status() -> int:
                return client.post("/predict", files={"file": png}).status_code

            until(lambda: status() == 200, "a prediction", 60)
            cluster.scale(PREDICTOR, 0)
            until(lambda: not cluster.pods(PREDICTOR), "the predictor is gone", 120)
            since = time.monotonic()
            until(lambda: status() == 503, "no prediction", 10)
        yield Forsaken(cluster, other, cluster.uids(TRANSFORMER), since)
    finally:
        cluster.delete()
