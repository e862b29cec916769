"""One deployment for all tests on the cluster; what it looked like when a test failed is kept.

The current kube context says which cluster, INGRESS where its gateway listens. `KEEP=1` leaves the
deployment behind.
"""

import os
import re
from collections.abc import Generator, Iterator

import httpx
import pytest

from tests.contract.slices import slice_png
from tests.e2e.absence import Forsaken, forsaken_service
from tests.e2e.cluster import Cluster, until
from tests.e2e.evidence import collect
from tests.e2e.ingress import Ingress


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect the evidence of a failure while it is still there."""
    report = yield
    if report.failed:
        folder = collect(re.sub(r"\W+", "-", item.name).strip("-"))
        report.sections.append(("evidence", f"what the cluster says: {folder}/"))
    return report


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The service, deployed and ready; a deployment that was kept is brought up to date."""
    found = Cluster()
    found.apply()
    yield found
    if os.environ.get("KEEP") != "1":
        found.delete()


@pytest.fixture(scope="session")
def ingress(cluster: Cluster) -> Ingress:
    """The ingress, once it lets requests through to the service."""
    found = Ingress(os.environ.get("INGRESS", "http://127.0.0.1:30080"), cluster.host())
    with found.client() as client:
        until(lambda: answers(client, "/v2/health/ready"), "a way through the ingress", 60)
    return found


@pytest.fixture
def rest(ingress: Ingress) -> Iterator[httpx.Client]:
    """A plain HTTP client of the service."""
    with ingress.client() as client:
        yield client


@pytest.fixture(scope="session")
def png() -> bytes:
    """A small slice as a PNG file."""
    return slice_png(seed=0)


@pytest.fixture(scope="session")
def forsaken(ingress: Ingress, png: bytes) -> Iterator[Forsaken]:
    """A second service, without a predictor from the first test on that asks for it."""
    with forsaken_service(ingress, png) as found:
        yield found


def answers(client: httpx.Client, path: str) -> bool:
    """Whether the path answers 200."""
    try:
        return client.get(path).status_code == 200
    except httpx.HTTPError:
        return False
