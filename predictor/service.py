"""The tensor door: V2 tensors in, a batch, scores out."""

import asyncio
from collections.abc import Hashable
from concurrent.futures import Future
from typing import Any

import numpy as np
import orjson
from kserve import InferRequest, InferResponse, Model
from numpy.typing import NDArray

from predictor.engine import Engine, Scores
from predictor.metrics import PredictorMetrics
from serving.batcher import Batcher
from serving.card import CLASSES, Card
from serving.errors import (
    InvalidRequest,
    InvalidTensor,
    ModelNotLoaded,
    NoActivationMaps,
    StaleCard,
    TooLarge,
)
from serving.kserve.lifecycle import Lifecycle
from serving.request import current_request, new_id, until_deadline
from serving.settings import MODEL_NAME, Settings
from serving.tensors import TensorSpec, only_input, parameter, read_array, requested, write_output

OUTPUTS = {
    "logits": TensorSpec("logits", "FP32", (-1, len(CLASSES))),
    "cam": TensorSpec("cam", "FP32", (-1, len(CLASSES), -1, -1)),
    "distance": TensorSpec("distance", "FP32", (-1,)),
}
# What a caller says of the card it prepared its rows for.
INPUT_DIGEST = "input_digest"
CARD_VERSION = "card_version"
# What an answer carries when the caller's card is of another version.
CARD = "card"


class TensorModel(Model):  # type: ignore[misc]  # the SDK is untyped
    """The model as KServe's doors see it; `engine` is None when started without weights."""

    def __init__(
        self,
        engine: Engine | None,
        settings: Settings,
        metrics: PredictorMetrics,
        lifecycle: Lifecycle,
    ) -> None:
        super().__init__(MODEL_NAME)
        self.engine_room = engine
        self._settings = settings
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._warm = False
        most_rows = engine.most_rows if engine else settings.predictor.max_batch_rows
        self.batcher: Batcher[NDArray[np.uint8], Scores] = Batcher(
            self._forward,
            max_rows=most_rows,
            max_queue_rows=settings.limits.queue_rows,
            in_flight=engine.in_flight if engine else 1,
            metrics=metrics.batches,
        )

    async def warm_up(self, warmed: "Future[None] | None" = None) -> None:
        """Make the engine ready; until then requests are told to come back.

        Where its warm-up is under way already, `warmed` tells when that has ended.
        """
        if self.engine_room is None:
            return
        engine = self.engine_room
        await asyncio.wrap_future(warmed or engine.runner.submit(engine.warm_up))
        self._metrics.model.info(
            {
                "version": engine.card.version,
                "architecture": engine.card.architecture,
                "device": engine.device.type,
                "precision": engine.way.precision,
                "engine": engine.way.name,
            }
        )
        self._warm = True

    async def healthy(self) -> bool:
        return self._warm and not self._lifecycle.draining

    def card_answer(self) -> dict[str, Any]:
        """What `GET /card` says: the whole truth about this predictor."""
        engine = self.engine_room
        process = self._settings.process
        return {
            "version": engine.card.version if engine else None,
            "device": engine.device.type if engine else None,
            # Warm-up tries several: none is in use before it ends.
            "precision": engine.way.precision if engine and self._warm else None,
            "model_loaded": engine is not None,
            "batch_rows": self.batcher.max_rows,
            "ready": self._warm and not self._lifecycle.draining,
            "model_path": str(process.model_path),
            "config_path": str(process.config_path),
            "card": engine.card.to_dict() if engine else None,
        }

    async def predict(self, payload: Any, headers: dict[str, str] | None = None) -> InferResponse:
        """Logits, and on request what else is offered, of uint8 rows [N, H, W, C]."""
        if not isinstance(payload, InferRequest):
            raise InvalidRequest("the predictor takes V2 tensors: send images to the transformer")
        if self.engine_room is None:
            raise ModelNotLoaded("the predictor was started without weights (LOAD_MODEL=0)")
        if not self._warm:
            raise ModelNotLoaded("the predictor is warming up: try again")
        card = self.engine_room.card
        _require_current(payload, card)
        names = self._requested(payload, card)
        rows = self._read_rows(payload, card)
        async with until_deadline():
            scores = await self.batcher.submit(
                list(rows), current_request().deadline, key=rows.shape[-1]
            )
        return InferResponse(
            payload.id or new_id(),
            MODEL_NAME,
            [write_output(OUTPUTS[name], _column(scores, name)) for name in names],
            model_version=card.version,
            parameters=(
                {CARD: orjson.dumps(card.to_wire()).decode()}
                if _knows_another(payload, card)
                else None
            ),
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        return [self._input(self.engine_room.card).metadata()] if self.engine_room else []

    def get_output_types(self) -> list[dict[str, Any]]:
        return [OUTPUTS[name].metadata() for name in self._offered()]

    async def close(self) -> None:
        """Finish what runs; the doors have drained before."""
        await self.batcher.close()
        if self.engine_room is not None:
            self.engine_room.runner.shutdown()

    async def _forward(
        self, key: Hashable, rows: list[NDArray[np.uint8]], deadline: float
    ) -> list[Scores]:
        assert self.engine_room is not None
        with self._metrics.stages.stage("compute"):
            return await asyncio.get_running_loop().run_in_executor(
                self.engine_room.runner, self.engine_room.run, rows
            )

    def _requested(self, payload: InferRequest, card: Card) -> list[str]:
        wanted = [output.name for output in payload.request_outputs or ()]
        if "cam" in wanted and "cam" not in self._offered():
            raise NoActivationMaps(
                f"a network of the kind {card.architecture} has no class activation maps: "
                "it can classify an image, but not explain the answer"
            )
        missing = "distance" in wanted and "distance" not in self._offered()
        if missing and _knows_another(payload, card):
            raise _stale(f"weights {card.version} offer no distance: read the card again", card)
        return requested(payload, self._offered(), ["logits"])

    def _read_rows(self, payload: InferRequest, card: Card) -> NDArray[np.uint8]:
        spec = self._input(card)
        tensor = only_input(payload, spec)
        if tensor.shape[0] > self._settings.limits.rows:
            raise TooLarge(
                f"the request has {tensor.shape[0]} rows, at most {self._settings.limits.rows} "
                "are accepted: split it"
            )
        accepted = sorted({1, card.input.channels})
        if tensor.shape[3] not in accepted:
            raise InvalidTensor(
                f"tensor 'image': has {tensor.shape[3]} channels, expected one of {accepted}"
            )
        return read_array(tensor, spec)

    def _input(self, card: Card) -> TensorSpec:
        return TensorSpec("image", "UINT8", (-1, card.input.height, card.input.width, -1))

    def _offered(self) -> list[str]:
        engine = self.engine_room
        if engine is None or not self._warm:
            return ["logits"]
        extra = {"cam": engine.has_cam, "distance": engine.has_distance}
        return ["logits", *(name for name, offered in extra.items() if offered)]


def _require_current(payload: InferRequest, card: Card) -> None:
    prepared_for = parameter(payload, INPUT_DIGEST)
    if prepared_for is None or prepared_for == card.input.digest:
        return
    raise _stale(
        f"the rows were prepared for input {prepared_for}, these weights take "
        f"{card.input.digest}: read the card again",
        card,
    )


def _knows_another(payload: InferRequest, card: Card) -> bool:
    """Whether the caller goes by a card of another version."""
    return parameter(payload, CARD_VERSION) not in (None, card.version)


def _stale(text: str, card: Card) -> StaleCard:
    error = StaleCard(text)
    error.card = card.to_wire()
    return error


def _column(scores: list[Scores], name: str) -> NDArray[np.float32]:
    return np.stack([getattr(item, name) for item in scores])
