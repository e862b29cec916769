"""No version of a model can be addressed, over gRPC as over REST.

Without this the SDK's servicer answers for a version that nobody has as if none had been named.
"""

from typing import Any

import grpc
from kserve.protocol.grpc.servicer import InferenceServicer

from serving.errors import UnknownModel


class UnversionedServicer(InferenceServicer):  # type: ignore[misc]  # the SDK is untyped
    """The SDK's servicer, for models that have one version at a time."""

    async def ModelReady(self, request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        _require_none("version", request.version)
        return await super().ModelReady(request, context)

    async def ModelMetadata(
        self, request: Any, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> Any:
        _require_none("version", request.version)
        return await super().ModelMetadata(request, context)

    async def ModelInfer(self, request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        _require_none("model_version", request.model_version)
        return await super().ModelInfer(request, context)


def _require_none(field: str, version: str) -> None:
    if version:
        raise no_versions(f"leave {field} out")


def no_versions(remedy: str) -> UnknownModel:
    """The error of both doors; `remedy` says what to do."""
    return UnknownModel(f"versions of a model cannot be addressed: {remedy}")
