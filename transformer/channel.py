"""The gRPC channel to the predictors: spread over all of them, and quick to find new ones.

A name's addresses come from a cluster's DNS, which may go on telling the old ones for half a minute
(kubeadm's and kind's CoreDNS cache answers for 30 s). A Service's own address is always true, but a
connection to it stays with one predictor and goes when that goes: it is for when none of the name's
can be reached, and made anew each time.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from serving.settings import dns_address, split_address

# A channel that is just connecting is waited for so long before it is called unconnected.
CONNECT_SECONDS = 1.0
# For calls under way on a channel that is given up.
CLOSE_SECONDS = 30.0


class PredictorChannel:
    """A channel that can be asked whether it leads anywhere, and be made anew if it does not.

    `target` names every predictor's address; `service`, if not empty, is one for all of them.
    """

    def __init__(self, target: str, service: str, message_bytes: int) -> None:
        self._target = target
        self._options = channel_options(message_bytes)
        self._closing: set[asyncio.Task[None]] = set()
        self._addresses = 0
        self._open()
        self._service = service

    @property
    def ready(self) -> bool:
        """Whether it knows of a predictor that can be reached."""
        return bool(self._channel.get_state() is grpc.ChannelConnectivity.READY)

    @asynccontextmanager
    async def through_service(self) -> AsyncIterator[GRPCInferenceServiceStub]:
        """For a call that none of the target's predictors took; without a Service, the same way."""
        if not self._service:
            yield self.stub
            return
        async with self._opened(self._service) as channel:
            yield GRPCInferenceServiceStub(channel)

    async def connected(self) -> bool:
        """Whether a call would find a predictor."""
        if await connected(self._channel):
            return True
        if not self._service:
            return False
        async with self._opened(self._service) as channel:
            return await connected(channel)

    async def look(self) -> int:
        """How many addresses the target names now; the first after none are tried at once.

        A channel whose name led nowhere asks less and less often, after some minutes every two
        minutes, and no option shortens it: it is made anew. Source: gRPC's
        GRPC_DNS_RECONNECT_MAX_BACKOFF_SECONDS.
        """
        known, self._addresses = self._addresses, await count_addresses(self._target)
        if self._addresses and not known and not await connected(self._channel):
            self._renew()
        return self._addresses

    async def close(self) -> None:
        """Close the channel and those that were given up; the doors have drained before."""
        await self._channel.close()
        await asyncio.gather(*self._closing)

    def _renew(self) -> None:
        closing = asyncio.create_task(self._channel.close(CLOSE_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._open()

    def _open(self) -> None:
        self._channel = self._opened(self._target)
        # Its calls go to each predictor in turn.
        self.stub = GRPCInferenceServiceStub(self._channel)

    def _opened(self, target: str) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(target, options=self._options)


async def connected(channel: grpc.aio.Channel) -> bool:
    """Whether a call on this channel would find its way; one that is connecting is waited for."""
    failed = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            while True:
                state = channel.get_state(try_to_connect=True)
                if state is grpc.ChannelConnectivity.READY:
                    return True
                if state in failed:
                    return False
                await channel.wait_for_state_change(state)
    except TimeoutError:
        return False


def channel_options(message_bytes: int) -> list[tuple[str, str | int]]:
    """A channel that spreads calls over all predictors and finds new and returning ones fast."""
    balancing: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    return [
        ("grpc.service_config", json.dumps(balancing)),
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.dns_min_time_between_resolutions_ms", 1000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # Despite its name the time that a peer has to greet: a throttled one needs more than 100.
        ("grpc.min_reconnect_backoff_ms", 2000),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # Never idle: an idle channel is not connected.
        ("grpc.client_idle_timeout_ms", 2**31 - 1),
        # A channel that is made anew tries at once, whatever its forerunner waits for.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 5_000),
    ]


async def count_addresses(target: str) -> int:
    """How many addresses a gRPC target names now; 0 if its name does not resolve."""
    scheme, _, addresses = target.partition(":")
    if scheme in ("unix", "ipv4", "ipv6"):
        return len(addresses.split(","))
    try:
        host, port = split_address(dns_address(target))
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1, family=0)
    except (OSError, ValueError):
        return 0
    return len({entry[4][0] for entry in found})
