"""The SDK's gRPC servicer on a server of our own making.

Without this messages are cut off at 8 MiB, connections live for ever (so that a channel never sees
new pods), a taken port is silently shared, and there is no way to listen on a Unix socket.
"""

from collections.abc import Awaitable, Callable

from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from prometheus_client import CollectorRegistry

from serving.byte_budget import ByteBudget
from serving.kserve.grpc_door import GrpcDoor
from serving.kserve.grpc_health import Health
from serving.kserve.repository import ClosedRepository
from serving.kserve.versions import UnversionedServicer
from serving.metrics import GrpcMetrics
from serving.settings import ConfigError, Limits


def grpc_server(
    address: str,
    data_plane: DataPlane,
    repository: ClosedRepository,
    ready: Callable[[], Awaitable[bool]],
    limits: Limits,
    registry: CollectorRegistry,
    budget: ByteBudget,
) -> aio.Server:
    """A server with the V2 and health services, bound but not started.

    Raises:
        ConfigError: the address is taken.
    """
    server = aio.server(
        interceptors=(GrpcDoor(limits.request_timeout_s, GrpcMetrics(registry), budget),),
        options=[
            ("grpc.max_send_message_length", limits.message_bytes),
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.so_reuseport", 0),
            ("grpc.max_connection_age_ms", 60_000),
            ("grpc.max_connection_age_grace_ms", 60_000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ],
    )
    grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
        UnversionedServicer(data_plane, repository), server
    )
    health_pb2_grpc.add_HealthServicer_to_server(Health(ready), server)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {address}: is the port taken?") from error
    return server
