"""The way in from outside: HTTP by the Host header, gRPC by `:authority`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from grpc import aio
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub


@dataclass(frozen=True)
class Ingress:
    """An ingress and the host name by which it knows the service."""

    url: str
    host: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Host": self.host}

    @property
    def address(self) -> str:
        return self.url.partition("://")[2].rstrip("/")

    def client(self, timeout: float = 40.0) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers=self.headers, timeout=timeout, trust_env=False
        )

    def async_client(self, timeout: float = 40.0) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers=self.headers, timeout=timeout, trust_env=False
        )

    @asynccontextmanager
    async def grpc(self) -> AsyncIterator[Any]:
        """A stub of the V2 service."""
        options = [("grpc.default_authority", self.host), ("grpc.enable_http_proxy", 0)]
        async with aio.insecure_channel(self.address, options=options) as channel:
            yield GRPCInferenceServiceStub(channel)

    def of(self, host: str) -> "Ingress":
        """The same ingress, asked for another name."""
        return Ingress(self.url, host)
