"""The V1 and V2 doors: images in JSON or tensors in, the one `Prediction` out."""

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from kserve import InferRequest, InferResponse, Model
from pydantic import BaseModel

from serving.card import CLASSES
from serving.errors import FieldError, InvalidField, InvalidRequest, TooLarge
from serving.request import new_id, until_deadline
from serving.settings import MODEL_NAME, Limits
from serving.tensors import (
    TensorSpec,
    decode_base64,
    only_input,
    read_bytes,
    requested,
    write_output,
)
from transformer.explanation import Explanation, require_class
from transformer.fair_pool import FairPool
from transformer.pipeline import Pipeline
from transformer.prediction import Prediction, output_array, output_specs

INPUT = TensorSpec("image", "BYTES", (-1,))
# Characters of base64 in one request; decoding so many takes about a millisecond.
LARGE_TEXT = 256 * 1024
# Where a V1 body has its images.
PLACE = "instances[{}].b64"


class V1Predictions(BaseModel):
    """The answer of V1 `:predict`: one prediction for each instance, in order."""

    predictions: list[Prediction]


class V1Explanations(BaseModel):
    """The answer of V1 `:explain`: one explanation for each instance, in order."""

    predictions: list[Explanation]


class ImageModel(Model):  # type: ignore[misc]  # the SDK is untyped
    """The model as KServe's doors see it. `ready` says whether a prediction would succeed now."""

    def __init__(
        self,
        pipeline: Pipeline,
        pool: FairPool,
        limits: Limits,
        ready: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(MODEL_NAME)
        self._pipeline = pipeline
        self._pool = pool
        self._limits = limits
        self._ready = ready
        self._outputs = output_specs()

    async def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """A V2 request with one BYTES tensor, or a V1 body with instances."""
        if isinstance(payload, InferRequest):
            return await self._infer(payload)
        instances = self._instances(payload, {"b64": "..."})
        images = await self._images(instances)
        return {"predictions": await self._pipeline.predict(images, PLACE)}

    async def explain(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """A V1 body with instances, each of which may name the class to be explained."""
        instances = self._instances(payload, {"b64": "...", "class": CLASSES[0]})
        images = await self._images(instances)
        classes = [require_class(item.get("class"), f"{field}.class") for field, item in instances]
        return {"predictions": await self._pipeline.explain(images, classes, PLACE)}

    async def healthy(self) -> bool:
        return await self._ready()

    def get_input_types(self) -> list[dict[str, Any]]:
        return [INPUT.metadata()]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [spec.metadata() for spec in self._outputs.values()]

    async def _infer(self, payload: InferRequest) -> InferResponse:
        names = requested(payload, list(self._outputs), list(self._outputs))
        tensor = only_input(payload, INPUT)
        # Before the elements are split: millions of empty ones would take seconds.
        self._require_rows(tensor.shape[0])
        texts = tensor.data if tensor._raw_data is None else []
        images = await self._beside_the_loop(texts or [], partial(read_bytes, tensor, INPUT))
        predictions = await self._pipeline.predict(images)
        return InferResponse(
            payload.id or new_id(),
            MODEL_NAME,
            [self._output(name, predictions) for name in names],
            model_version=predictions[0].model.version,
        )

    async def _images(self, instances: list[tuple[str, dict[str, Any]]]) -> list[bytes]:
        texts = [item["b64"] for _, item in instances]
        return await self._beside_the_loop(texts, lambda: [_image(*it) for it in instances])

    async def _beside_the_loop(
        self, texts: Sequence[Any], work: Callable[[], list[bytes]]
    ) -> list[bytes]:
        """Decode base64 texts where it holds up no other request, if that takes long."""
        size = sum(len(text) for text in texts if isinstance(text, str))
        if size < LARGE_TEXT:
            return work()
        async with until_deadline():
            return await self._pool.run(work)

    def _output(self, name: str, predictions: list[Prediction]) -> Any:
        spec = self._outputs[name]
        return write_output(spec, output_array(predictions, spec))

    def _instances(self, body: Any, example: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
        """The instances of a V1 body, each after its path; they have `b64`, and keys of `example`.

        Source: TF Serving's REST API, which V1 follows.
        """
        if not isinstance(body, dict):
            raise InvalidRequest('the body is no JSON object: expected {"instances": [...]}')
        instances = body.get("instances")
        if not isinstance(instances, list) or not instances:
            raise InvalidField(
                'instances: expected a list of at least one {"b64": "..."}',
                fields=(FieldError("instances", "expected a list with at least one image"),),
            )
        self._require_rows(len(instances))
        named = [(f"instances[{index}]", item) for index, item in enumerate(instances)]
        for field, item in named:
            if not isinstance(item, dict) or not {"b64"} <= set(item) <= set(example):
                expected = f"expected {json.dumps(example)}"
                raise InvalidField(f"{field}: {expected}", fields=(FieldError(field, expected),))
        return named

    def _require_rows(self, rows: int) -> None:
        if rows > self._limits.rows:
            raise TooLarge(
                f"the request has {rows} images, at most {self._limits.rows} are accepted: split it"
            )


def _image(field: str, instance: dict[str, Any]) -> bytes:
    return decode_base64(instance["b64"], f"{field}.b64")
