"""Requests that go on while something happens to the pods: REST and gRPC, each answer looked at."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.e2e.ingress import Ingress

Send = Callable[[], Awaitable[str]]
# Rather a steady stream than all that the machine can do: the pods that start need it too.
PAUSE_S = 0.05


class Load:
    """How many requests were answered, over which door, and what went wrong with the others."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.failures: list[str] = []

    @property
    def sent(self) -> int:
        return self.answered.total() + len(self.failures)

    async def wait_for(self, more: int) -> None:
        """Return once so many further requests came back."""
        goal = self.sent + more
        while self.sent < goal:
            await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def load(ingress: Ingress, png: bytes, clients: int = 4) -> AsyncIterator[Load]:
    """Send one request after another from so many clients of each door until the block ends."""
    found, stop = Load(), asyncio.Event()

    async def work(door: str, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            if failure := await send():
                found.failures.append(f"{door} after {loop.time() - began:.2f} s: {failure}")
            else:
                found.answered[door] += 1
            await asyncio.sleep(PAUSE_S)

    async with ingress.async_client() as rest, ingress.grpc() as stub:
        tasks = [asyncio.create_task(work("rest", over_rest(rest, png))) for _ in range(clients)]
        tasks += [asyncio.create_task(work("grpc", over_grpc(stub, png))) for _ in range(clients)]
        try:
            yield found
        finally:
            stop.set()
            await asyncio.gather(*tasks)


def over_rest(client: httpx.AsyncClient, png: bytes) -> Send:
    async def send() -> str:
        try:
            answer = await client.post("/predict", files={"file": ("slice.png", png)})
        except httpx.HTTPError as error:
            return repr(error)
        if answer.status_code == 200 and "pred_class" in answer.json():
            return ""
        return f"{answer.status_code} {answer.headers.get('server')} {answer.text[:300]}"

    return send


def over_grpc(stub: Any, png: bytes) -> Send:
    async def send() -> str:
        try:
            answer = await stub.ModelInfer(infer_request(png), timeout=40)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name} {error.details()}"
        return "" if answer.outputs else "an answer without outputs"

    return send


def infer_request(*files: bytes) -> Any:
    """A V2 request for image files."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(files)]}
    return pb.ModelInferRequest(
        model_name="ctscan",
        inputs=[{**tensor, "contents": {"bytes_contents": list(files)}}],
    )
