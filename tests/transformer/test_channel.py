"""The channel to the predictors, with a real server at its end or none."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import ChannelConnectivity, aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

from transformer.channel import PredictorChannel, channel_options, count_addresses


class Predictor(GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, untyped
    """Answers once its gate is open."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def ServerLive(self, request: Any, context: Any) -> Any:
        self.entered.set()
        await self.gate.wait()
        return pb.ServerLiveResponse(live=True)


@asynccontextmanager
async def serving(predictor: Predictor, address: str) -> AsyncIterator[None]:
    server = aio.server()
    add_GRPCInferenceServiceServicer_to_server(predictor, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 'grpc.sock'}"


@pytest.fixture
async def channel(address: str) -> AsyncIterator[PredictorChannel]:
    made = PredictorChannel(address, "", 1024)
    yield made
    await made.close()


async def test_a_channel_is_connected_while_somebody_is_there(
    channel: PredictorChannel, address: str
) -> None:
    assert not await channel.connected()
    async with serving(Predictor(), address):
        channel._renew()
        assert await channel.connected()
    # That the server has gone reaches the channel in its own time.
    async with asyncio.timeout(30):
        await channel._channel.wait_for_state_change(ChannelConnectivity.READY)
    assert not await channel.connected()


async def test_a_channel_that_is_still_connecting_is_not_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transformer.channel.CONNECT_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        channel = PredictorChannel(f"{host}:{port}", "", 1024)
        assert not await channel.connected()
        await channel.close()


async def test_a_call_under_way_outlives_the_renewal(
    channel: PredictorChannel, address: str
) -> None:
    predictor = Predictor()
    predictor.gate.clear()
    async with serving(predictor, address):
        old = asyncio.ensure_future(channel.stub.ServerLive(pb.ServerLiveRequest()))
        await asyncio.wait_for(predictor.entered.wait(), 30)
        channel._renew()
        new = asyncio.ensure_future(channel.stub.ServerLive(pb.ServerLiveRequest()))
        predictor.gate.set()
        assert (await old).live
        assert (await new).live


async def test_a_channel_is_ready_once_it_is_connected(
    channel: PredictorChannel, address: str
) -> None:
    assert not channel.ready
    async with serving(Predictor(), address):
        channel._renew()
        assert await channel.connected()
        assert channel.ready


async def test_the_service_is_reached_by_a_new_connection_while_the_target_names_none(
    address: str, tmp_path: Path
) -> None:
    channel = PredictorChannel(f"unix:{tmp_path / 'gone.sock'}", address, 1024)
    for _ in range(2):
        # The second server takes the place of the first, as its connection does not outlive it.
        async with serving(Predictor(), address), asyncio.timeout(30):
            with pytest.raises(aio.AioRpcError):
                await channel.stub.ServerLive(pb.ServerLiveRequest())
            assert await channel.connected()
            assert not channel.ready
            async with channel.through_service() as stub:
                assert (await stub.ServerLive(pb.ServerLiveRequest())).live
    assert not await channel.connected()
    await channel.close()


async def test_without_a_service_a_call_is_tried_again_the_same_way(
    channel: PredictorChannel,
) -> None:
    async with channel.through_service() as stub:
        assert stub is channel.stub


@pytest.mark.parametrize(
    ("addresses", "found", "renewed"),
    [
        ([0, 0, 2, 2], False, 1),
        ([0, 2, 0, 2], False, 2),
        ([0, 2, 2, 2], True, 0),
        ([2, 2, 2, 2], True, 0),
        ([0, 0, 0, 0], False, 0),
    ],
)
async def test_the_first_address_after_none_is_tried_at_once(
    channel: PredictorChannel,
    monkeypatch: pytest.MonkeyPatch,
    addresses: list[int],
    found: bool,
    renewed: int,
) -> None:
    looks = iter(addresses)

    async def count(_: str) -> int:
        return next(looks)

    async def connected(_: aio.Channel) -> bool:
        return found

    monkeypatch.setattr("transformer.channel.count_addresses", count)
    monkeypatch.setattr("transformer.channel.connected", connected)
    stubs = set()
    for expected in addresses:
        assert await channel.look() == expected
        stubs.add(channel.stub)
    assert len(stubs) == 1 + renewed


@pytest.mark.parametrize(
    ("target", "count"),
    [
        ("unix:/tmp/grpc.sock", 1),
        ("predictor:8081", 3),
        ("dns:///predictor:8081", 3),
        ("dns:predictor:8081", 3),
        ("[2001:db8::1]:8081", 3),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", 2),
        ("nobody:8081", 0),
        ("not-encodable:8081", 0),
        ("predictor", 0),
        ("dns:///predictor", 0),
        ("a..b:8081", 0),
    ],
)
async def test_addresses_of_a_target_are_counted(
    monkeypatch: pytest.MonkeyPatch, target: str, count: int
) -> None:
    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if host == "not-encodable":
            raise UnicodeError
        if host not in ("predictor", "2001:db8::1"):
            raise socket.gaierror
        # One address can be listed twice.
        return [(0, 0, 0, "", (f"10.0.0.{last}", port)) for last in (1, 2, 3, 3)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    assert await count_addresses(target) == count
    channel = PredictorChannel(target, "", 1024)
    assert await channel.look() == count
    await channel.close()


def test_messages_as_large_as_a_body_pass() -> None:
    options = dict(channel_options(1234))
    assert int(options["grpc.max_send_message_length"]) >= 1234
