"""`grpc.health.v1`, as kubelets and load balancers ask for it.

Without this a `grpc:` probe finds no service to ask: the SDK implements V2 health alone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.settings import MODEL_NAME

SERVICES = ("", "inference.GRPCInferenceService", MODEL_NAME)
WATCH_INTERVAL_S = 1.0

_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated, untyped
    """Serving means that a prediction would succeed now."""

    def __init__(self, ready: Callable[[], Awaitable[bool]]) -> None:
        self._ready = ready

    async def Check(self, request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"expected one of {list(SERVICES)}")
        return _Status(status=await self._status(request.service))

    async def Watch(
        self, request: Any, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[Any]:
        sent = None
        while not context.cancelled():
            status = await self._status(request.service)
            if status != sent:
                yield _Status(status=status)
                sent = status
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def _status(self, service: str) -> int:
        if service not in SERVICES:
            return int(_Status.SERVICE_UNKNOWN)
        return int(_Status.SERVING if await self._ready() else _Status.NOT_SERVING)
