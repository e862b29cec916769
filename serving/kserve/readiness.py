"""Readiness that tells the truth.

Without this `/v2/health/ready` is true with no model ready, an inference call on a model that is
not ready loads it on the request path, and the server offers an extension that we refuse.
"""

from typing import Any

from kserve.errors import ModelNotFound
from kserve.model import BaseKServeModel
from kserve.protocol.dataplane import DataPlane

from serving import __version__
from serving.settings import MODEL_NAME


class TruthfulDataPlane(DataPlane):  # type: ignore[misc]  # the SDK is untyped
    """The SDK's data plane, ready only when every model is."""

    async def ready(self) -> bool:
        models = self._model_registry.get_models().values()
        return bool(models) and all([await model.healthy() for model in models])

    async def model_ready(
        self, model_name: str, disable_predictor_health_check: bool = False
    ) -> bool:
        model = await self.get_model(model_name)
        # The SDK asks with the flag set before each inference: the model itself answers then,
        # in its own words, so that a request costs no second look.
        return disable_predictor_health_check or await model.healthy()

    async def get_model(self, name: str) -> BaseKServeModel:
        model = self._model_registry.get_model(name)
        if model is None:
            raise ModelNotFound(name)
        return model

    def metadata(self) -> dict[str, Any]:
        return {
            "name": MODEL_NAME,
            "version": __version__,
            "extensions": ["binary_tensor_data"],
        }

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        metadata: dict[str, Any] = await super().model_metadata(model_name)
        return {**metadata, "platform": "ctscan"}
