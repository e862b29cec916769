import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.kserve.grpc_health import SERVICES, WATCH_INTERVAL_S, Health

Status = health_pb2.HealthCheckResponse


class Model:
    """Says whether it is ready."""

    def __init__(self) -> None:
        self.ready = True

    async def __call__(self) -> bool:
        return self.ready


@pytest.fixture
async def model() -> Model:
    return Model()


@pytest.fixture
async def stub(model: Model, tmp_path: Path) -> AsyncIterator[Any]:
    server = aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(Health(model), server)
    address = f"unix:{tmp_path / 'grpc.sock'}"
    server.add_insecure_port(address)
    await server.start()
    async with aio.insecure_channel(address) as channel:
        yield health_pb2_grpc.HealthStub(channel)
    await server.stop(None)


def asked(service: str) -> Any:
    return health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_serves_while_a_prediction_would_succeed(
    stub: Any, model: Model, service: str
) -> None:
    assert (await stub.Check(asked(service))).status == Status.SERVING
    model.ready = False
    assert (await stub.Check(asked(service))).status == Status.NOT_SERVING


async def test_an_unknown_service_is_not_found(stub: Any) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await stub.Check(asked("other"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "ctscan" in str(refused.value.details())


async def test_a_watcher_of_an_unknown_service_is_told_so_and_kept(stub: Any) -> None:
    call = stub.Watch(asked("other"))
    assert (await call.read()).status == Status.SERVICE_UNKNOWN
    assert not call.done()
    call.cancel()


async def test_a_watcher_is_told_at_once(stub: Any) -> None:
    call = stub.Watch(asked(""))
    assert (await call.read()).status == Status.SERVING
    call.cancel()


class Context:
    """As much of a call's context as a watcher looks at."""

    def __init__(self) -> None:
        self.over = False

    def cancelled(self) -> bool:
        return self.over


@pytest.mark.looptime
async def test_a_watcher_hears_of_each_change_and_of_nothing_else(model: Model) -> None:
    context = Context()
    watch = Health(model).Watch(asked(""), context)
    seen: list[tuple[float, int]] = []
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def follow() -> None:
        async for answer in watch:
            seen.append((loop.time() - began, answer.status))

    following = asyncio.ensure_future(follow())
    await asyncio.sleep(10.5 * WATCH_INTERVAL_S)
    model.ready = False
    await asyncio.sleep(10 * WATCH_INTERVAL_S)
    context.over = True
    await following
    assert seen == [(0.0, Status.SERVING), (11 * WATCH_INTERVAL_S, Status.NOT_SERVING)]
