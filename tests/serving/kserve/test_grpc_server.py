import socket
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import CollectorRegistry

from serving.byte_budget import ByteBudget
from serving.kserve.grpc_server import grpc_server
from serving.kserve.repository import ClosedRepository
from serving.listen import bind
from serving.settings import MIB, ConfigError, Limits
from tests.serving.kserve.toy import Toy, data_plane

Build = Callable[..., aio.Server]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Builds servers at an address, and stops them at the end."""
    servers: list[aio.Server] = []

    def build(address: str, limits: Limits | None = None) -> aio.Server:
        plane = data_plane(Toy())
        closed = ClosedRepository(plane.model_registry)
        limits = limits or Limits()
        budget = ByteBudget(limits.bodies_bytes, print)
        servers.append(
            grpc_server(address, plane, closed, plane.ready, limits, CollectorRegistry(), budget)
        )
        return servers[-1]

    yield build
    for server in servers:
        await server.stop(None)


def free_port() -> int:
    with closing(bind("127.0.0.1:0")) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_a_port_taken_by_any_server_is_refused(build: Build) -> None:
    with closing(bind("127.0.0.1:0")) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cannot listen on {address}"):
            build(address)


async def test_a_port_is_not_shared_with_another_grpc_server(build: Build) -> None:
    address = f"127.0.0.1:{free_port()}"
    build(address)
    with pytest.raises(ConfigError, match="is the port taken"):
        build(address)


async def test_a_server_of_the_sdks_kind_shares_its_port_in_silence() -> None:
    # What `grpc_server` mends; delete that part when this fails.
    address = f"127.0.0.1:{free_port()}"
    servers = [aio.server(), aio.server()]
    ports = {server.add_insecure_port(address) for server in servers}
    for server in servers:
        await server.stop(None)
    if not hasattr(socket, "SO_REUSEPORT"):
        pytest.skip("this system cannot share ports")
    assert len(ports) == 1


async def infer(address: str, size: int) -> int:
    """Sends a tensor of this size and returns the size of the one that comes back."""
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    request = pb.ModelInferRequest(
        model_name="ctscan",
        inputs=[{"name": "values", "datatype": "UINT8", "shape": [size]}],
        outputs=[{"name": "values"}],
        raw_input_contents=[bytes(size)],
    )
    async with aio.insecure_channel(address, options=unlimited) as channel:
        answer: Any = await GRPCInferenceServiceStub(channel).ModelInfer(request)
    return len(answer.raw_output_contents[0])


async def test_a_body_at_the_limit_passes_and_a_larger_one_is_refused(
    build: Build, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path / 'grpc.sock'}"
    await build(address, Limits(body_bytes=MIB)).start()
    assert await infer(address, MIB) == MIB
    with pytest.raises(aio.AioRpcError) as refused:
        await infer(address, 2 * MIB)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await infer(address, 1) == 1


async def test_the_default_limit_is_larger_than_the_sdks_eight_mebibytes(
    build: Build, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path / 'grpc.sock'}"
    await build(address).start()
    assert await infer(address, 9 * MIB) == 9 * MIB


async def test_health_is_served_beside_v2(build: Build, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'grpc.sock'}"
    await build(address).start()
    async with aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="ctscan"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_connections_end_so_that_clients_look_for_new_pods(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    make = aio.server

    def server(*, options: list[tuple[str, Any]], **others: Any) -> aio.Server:
        given.update(options)
        return make(options=options, **others)

    monkeypatch.setattr(aio, "server", server)
    build(f"unix:{tmp_path / 'grpc.sock'}")
    assert given["grpc.max_connection_age_ms"] == 60_000
    # A call under way outlives its connection's age, by more than the longest deadline.
    assert given["grpc.max_connection_age_grace_ms"] > Limits().request_timeout_s * 1000
