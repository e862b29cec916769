"""With the component `gateway-auth` only who has a key gets in, and nobody to the metrics."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from tests.e2e.cluster import TRANSFORMER, Cluster, until
from tests.e2e.ingress import Ingress
from tests.e2e.load import infer_request
from tests.e2e.volume import applied

pytestmark = pytest.mark.further

COMPONENT = Path(__file__).parents[2] / "manifests" / "components" / "gateway-auth"
POLICIES = "\n---\n".join(
    (COMPONENT / name).read_text(encoding="utf-8") for name in ("api-keys.yaml", "no-metrics.yaml")
)
KEY, OTHER = "a key of the tests", "one that is taken back"
KEYS = f"""
apiVersion: v1
kind: Secret
metadata: {{name: ctscan-api-keys}}
stringData: {{viewer: {KEY}, former: {OTHER}}}
"""
HEADERS = {"x-api-key": KEY}
# Ways to write the same path; each must be stopped at the gateway or there is nothing at its end.
METRICS = [
    *("/metrics", "/metrics/", "/metrics?a=b", "//metrics", "/./metrics", "/x/../metrics"),
    *("/%6detrics", "/metrics;a", "/metrics%2f", "/METRICS"),
]


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, ingress: Ingress) -> Iterator[Ingress]:
    """The ingress while the component is in force; until the Secret is there nobody gets in."""
    with ingress.client() as client:
        with applied(cluster, POLICIES):
            until(lambda: client.get("/health").status_code == 500, "nobody gets in", 60)
            with applied(cluster, KEYS):
                until(lambda: status(client, HEADERS) == 200, "a key opens", 60)
                yield ingress
        until(lambda: status(client) == 200, "everybody gets in again", 60)


def status(client: httpx.Client, headers: dict[str, str] | None = None) -> int:
    return client.get("/health", headers=headers).status_code


@pytest.fixture
def client(guarded: Ingress) -> Iterator[httpx.Client]:
    with guarded.client() as opened:
        yield opened


def test_a_key_opens_over_rest(client: httpx.Client, png: bytes) -> None:
    for headers, expected in (({}, 401), ({"x-api-key": "another"}, 401), (HEADERS, 200)):
        answer = client.post("/predict", files={"file": png}, headers=headers)
        assert answer.status_code == expected, headers


async def test_a_key_opens_over_grpc(guarded: Ingress, png: bytes) -> None:
    async with guarded.grpc() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ModelInfer(infer_request(png), timeout=40)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        answer = await stub.ModelInfer(
            infer_request(png), timeout=40, metadata=tuple(HEADERS.items())
        )
        assert answer.outputs


def test_the_transformers_own_host_is_no_way_around(cluster: Cluster, guarded: Ingress) -> None:
    with guarded.of(cluster.host(TRANSFORMER)).client() as client:
        assert status(client) == 401
        assert status(client, HEADERS) == 200


@pytest.mark.parametrize("path", METRICS)
def test_metrics_are_for_nobody_outside(client: httpx.Client, path: str) -> None:
    # As it is written: httpx would tidy the path.
    url = client.base_url.copy_with(raw_path=path.encode())
    answer = client.get(url, headers=HEADERS, follow_redirects=True)
    assert answer.status_code in (403, 404), answer.text
    assert "ctscan_" not in answer.text
    assert client.get(url).status_code in (401, 307)


def test_a_key_that_is_taken_back_opens_nothing(cluster: Cluster, client: httpx.Client) -> None:
    assert status(client, {"x-api-key": OTHER}) == 200
    change = '[{"op": "remove", "path": "/data/former"}]'
    cluster.kubectl("patch", "secret", "ctscan-api-keys", "--type=json", "-p", change)
    until(lambda: status(client, {"x-api-key": OTHER}) == 401, "the key is of no use", 30)
    assert status(client, HEADERS) == 200
