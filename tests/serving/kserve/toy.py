"""The smallest model that KServe's doors can serve: a tensor comes back as it went in."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from kserve import InferRequest, InferResponse, Model
from kserve.model_repository import ModelRepository

from serving.errors import InvalidRequest
from serving.kserve.readiness import TruthfulDataPlane
from serving.request import CURRENT, Request
from serving.settings import MODEL_NAME
from serving.tensors import TensorSpec, only_input, read_array, requested, write_output

VALUES = TensorSpec("values", "UINT8", (-1,))
NAMES = TensorSpec("names", "BYTES", (-1,))


class Toy(Model):  # type: ignore[misc]  # the SDK is untyped
    """`fail` is raised instead of an answer; while `gate` is closed no request ends."""

    def __init__(self) -> None:
        super().__init__(MODEL_NAME)
        self.serving = True
        self.loaded = 0
        self.requests: list[Request] = []
        self.entered = asyncio.Semaphore(0)
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = asyncio.Event()
        self.fail: Callable[[], Exception] | None = None

    def load(self) -> bool:
        self.loaded += 1
        return True

    async def healthy(self) -> bool:
        return self.serving

    async def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        if (request := CURRENT.get()) is not None:
            self.requests.append(request)
        self.entered.release()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.fail is not None:
            raise self.fail()
        if isinstance(payload, InferRequest):
            return self._infer(payload)
        if not isinstance(payload, dict):
            raise InvalidRequest("the body is no JSON object")
        return {"predictions": payload["instances"]}

    async def explain(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        return {**await self.predict(payload, headers), "why": len(payload["instances"])}

    def get_input_types(self) -> list[dict[str, Any]]:
        return [VALUES.metadata()]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [VALUES.metadata(), NAMES.metadata()]

    def _infer(self, payload: InferRequest) -> InferResponse:
        values = read_array(only_input(payload, VALUES), VALUES)
        outputs = []
        for name in requested(payload, ["values", "names"], ["values", "names"]):
            if name == "values":
                outputs.append(write_output(VALUES, values))
            else:
                names = [f"ü{value}".encode() for value in values]
                outputs.append(write_output(NAMES, np.array(names, np.object_)))
        return InferResponse(payload.id or "1", MODEL_NAME, outputs, model_version="v1")


def data_plane(model: Toy) -> TruthfulDataPlane:
    """Our data plane over the one model."""
    registry = ModelRepository()
    registry.update(model)
    return TruthfulDataPlane(registry)
