"""The largest things that the API accepts, several at a time, fit into the memory of the pods."""

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable

import grpc
import numpy as np
import pytest
from PIL import Image

from serving.phantom import phantom
from serving.settings import MIB, Limits
from tests.e2e.cluster import PREDICTOR, TRANSFORMER, Cluster
from tests.e2e.ingress import Ingress
from tests.e2e.load import infer_request

pytestmark = pytest.mark.further

LIMITS = Limits()
AT_A_TIME = 8
# Too slow within its deadline is an answer, too, on a machine that is busy otherwise.
ANSWERED = (200, 429, 504)
STATUS_OF = {grpc.StatusCode.RESOURCE_EXHAUSTED: 429, grpc.StatusCode.DEADLINE_EXCEEDED: 504}
PEAK = """
from pathlib import Path
for status in Path("/proc").glob("[0-9]*/status"):
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    if fields["PPid"].strip() == "1":
        print(int(fields["VmHWM"].split()[0]) * 1024)
"""
# Of the memory limit: what else counts to it are files in /tmp, and those can be dropped.
SHARE = 0.9

Send = Callable[[], Awaitable[int]]


@pytest.fixture(scope="module")
def wide_png() -> bytes:
    """The most pixels there may be, with alpha: what takes the most memory once it is decoded."""
    side = LIMITS.max_side_px
    grey = phantom(0, side, side, noise=0)
    target = io.BytesIO()
    Image.fromarray(np.stack([grey] * 3 + [grey | 128], axis=-1)).save(
        target, "PNG", compress_level=9
    )
    return target.getvalue()


@pytest.fixture(scope="module")
def large_bmp() -> bytes:
    """As many bytes as one file may have, nearly."""
    side = 2360
    target = io.BytesIO()
    Image.fromarray(np.stack([phantom(0, side, side)] * 3, axis=-1)).save(target, "BMP")
    assert 0.95 * LIMITS.file_bytes < len(target.getvalue()) <= LIMITS.file_bytes
    return target.getvalue()


async def test_the_largest_requests_of_every_door(
    cluster: Cluster, ingress: Ingress, png: bytes, wide_png: bytes, large_bmp: bytes
) -> None:
    rows = LIMITS.rows
    # As many as are decoded before the deadline on two cores, with three others beside it.
    wide = 16
    three = (LIMITS.body_bytes - MIB) // len(large_bmp)
    async with ingress.async_client(timeout=90) as client, ingress.grpc() as stub:

        async def post(path: str, **body: object) -> int:
            answer = await client.post(path, **body)  # type: ignore[arg-type]
            return answer.status_code

        def v1(file: bytes, count: int) -> Awaitable[int]:
            encoded = {"b64": base64.b64encode(file).decode()}
            return post("/v1/models/ctscan:predict", json={"instances": [encoded] * count})

        async def over_grpc(file: bytes, count: int) -> int:
            try:
                await stub.ModelInfer(infer_request(*[file] * count), timeout=60)
            except grpc.aio.AioRpcError as error:
                return STATUS_OF.get(error.code(), 500)
            return 200

        sends: dict[str, Send] = {
            "most pixels": lambda: post("/predict", files={"file": wide_png}),
            "largest file": lambda: post("/predict", files={"file": large_bmp}),
            "explained": lambda: post("/explain", files={"file": wide_png}),
            "most rows": lambda: v1(png, rows),
            "most rows of most pixels": lambda: v1(wide_png, wide),
            "largest V1 body": lambda: v1(large_bmp, three - 1),
            "most files": lambda: post(
                "/predict/batch", files=[("files", wide_png)] * LIMITS.batch_files
            ),
            "largest gRPC message": lambda: over_grpc(large_bmp, three),
            "most rows over gRPC": lambda: over_grpc(png, rows),
        }
        for name, send in sends.items():
            statuses = await asyncio.gather(*(send() for _ in range(AT_A_TIME)))
            assert set(statuses) <= {*ANSWERED, 501}, f"{name}: {statuses}"
            for component in (PREDICTOR, TRANSFORMER):
                used, limit = await asyncio.to_thread(memory, cluster, component)
                print(f"{name}: {component} {used / MIB:.0f} of {limit / MIB:.0f} MiB at most")
                assert used <= SHARE * limit, f"{name}: {component}"
    assert cluster.restarts(PREDICTOR) == cluster.restarts(TRANSFORMER) == 0


def memory(cluster: Cluster, component: str) -> tuple[int, int]:
    """The most memory that the service ever had, and the limit of its container, in bytes."""
    (pod,) = cluster.pods(component)
    text = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
    limit = int(text[:-2]) * {"Mi": MIB, "Gi": 1024 * MIB}[text[-2:]]
    return int(cluster.run_in_pod(pod["metadata"]["name"], PEAK)), limit
