"""The main path: bytes of images in, predictions out. Read this file first.

bytes → decode → statistics → preprocess → (client → predictor) → prediction
                                                                └→ drift, metrics
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from serving.card import InputSpec
from serving.errors import Overloaded, ServiceError, StaleCard
from serving.request import until_deadline
from serving.settings import Limits
from transformer.client import Answer, PredictorClient
from transformer.decode import Slice, decode
from transformer.drift import DriftLog, DriftRow
from transformer.metrics import TransformerMetrics
from transformer.prediction import Prediction, predict_from
from transformer.preprocess import preprocess
from transformer.statistics import Statistics, require_contrast, summarise

# How often the card known first is tried, and those that take its place. In a roll-out predictors
# of both kinds answer in turn: what one says is wrong for the next, and half of the tries fail.
TRIES_OF_CARDS = (1, *[2] * 9)


@dataclass(frozen=True)
class Prepared:
    """A slice ready to be sent: its row uint8 [H, W, 1 or C] and its grey statistics."""

    row: NDArray[np.uint8]
    statistics: Statistics


class Pipeline:
    """Predicts for every door."""

    def __init__(
        self,
        client: PredictorClient,
        drift: DriftLog,
        metrics: TransformerMetrics,
        limits: Limits,
        threads: ThreadPoolExecutor,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._drift = drift
        self._metrics = metrics
        self._limits = limits
        self._threads = threads
        self._clock = clock
        self._rows_inside = 0

    async def predict(self, images: Sequence[bytes], place: str = "image[{}]") -> list[Prediction]:
        """One prediction for each image file, in order.

        Raises:
            ServiceError: a bad image fails the call; of several it is named by `place`, which
                holds its index.
        """
        async with self._admitted(len(images)):
            prepared, answers = await self._infer(images, place)
        predictions = [
            predict_from(answer.logits, answer.card, uuid.uuid4().hex) for answer in answers
        ]
        for item, prediction in zip(prepared, predictions, strict=True):
            self._record(item.statistics, prediction)
        return predictions

    async def decode(self, data: bytes) -> Slice:
        """One image file alone, as `predict` would read it."""
        loop = asyncio.get_running_loop()
        async with self._admitted(1):
            return await loop.run_in_executor(self._threads, decode, data, self._limits)

    async def _infer(
        self, images: Sequence[bytes], place: str
    ) -> tuple[list[Prepared], list[Answer]]:
        """Prepare as the card says; where the predictor has other weights now, as theirs says."""
        prepared: dict[InputSpec, list[Prepared]] = {}
        for tries in TRIES_OF_CARDS:
            card = await self._client.card()
            if card.input not in prepared:
                prepared[card.input] = await self._prepare_all(images, card.input, place)
            slices = prepared[card.input]
            for _ in range(tries):
                try:
                    return slices, await self._client.infer([item.row for item in slices], card)
                except StaleCard as error:
                    stale = error
        raise stale

    async def _prepare_all(
        self, images: Sequence[bytes], spec: InputSpec, place: str
    ) -> list[Prepared]:
        """Decode and resize in the pool, so that the event loop stays free."""
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(self._threads, self._prepare, data, spec) for data in images]
        prepared: list[Prepared] = []
        for index, outcome in enumerate(await asyncio.gather(*jobs, return_exceptions=True)):
            if isinstance(outcome, ServiceError) and len(images) > 1:
                raise outcome.at(place.format(index))
            if isinstance(outcome, BaseException):
                raise outcome
            prepared.append(outcome)
        return prepared

    def _prepare(self, data: bytes, spec: InputSpec) -> Prepared:
        with self._metrics.stages.stage("decode"):
            ct_slice = decode(data, self._limits)
        with self._metrics.stages.stage("preprocess"):
            statistics = summarise(ct_slice)
            require_contrast(statistics, self._limits)
            return Prepared(preprocess(ct_slice.image, spec), statistics)

    def _record(self, statistics: Statistics, prediction: Prediction) -> None:
        self._metrics.predictions.labels(prediction.pred_class).inc()
        self._metrics.confidence.observe(prediction.confidence)
        self._metrics.grey_mean.observe(statistics.mean)
        self._metrics.grey_std.observe(statistics.std)
        self._drift.append(
            DriftRow.of(
                statistics,
                prediction.pred_index,
                prediction.pred_class,
                prediction.confidence,
                self._clock(),
            )
        )

    @asynccontextmanager
    async def _admitted(self, rows: int) -> AsyncIterator[None]:
        """Let the rows in if they fit, and end their work at the request's deadline."""
        if self._rows_inside + rows > self._limits.queue_rows:
            self._metrics.batches.shed("queue_full")
            raise Overloaded(
                f"{self._rows_inside} images are under way, at most {self._limits.queue_rows} "
                "are taken: try again later"
            )
        self._rows_inside += rows
        try:
            async with until_deadline():
                yield
        finally:
            self._rows_inside -= rows
