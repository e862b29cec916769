"""The main path: bytes of images in, predictions out. Read this file first.

bytes → decode → statistics → preprocess → (client → predictor) → gate → prediction
                                                                       └→ drift, metrics
Explaining takes the same way and asks the predictor for its activation maps too.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from serving.admission import BUSY_ROWS, Admission, Rate
from serving.card import InputSpec, Window
from serving.errors import (
    ModelNotLoaded,
    PredictorUnavailable,
    ServiceError,
    StaleCard,
)
from serving.request import current_request, new_id, until_deadline
from serving.settings import Limits
from transformer.client import Answer, PredictorClient
from transformer.decode import Slice, decode
from transformer.dicom import is_dicom
from transformer.drift import DriftLog, DriftRow
from transformer.explanation import Explanation, explain_from
from transformer.fair_pool import FairPool
from transformer.gate import Evidence
from transformer.metrics import TransformerMetrics
from transformer.overlay import overlay
from transformer.prediction import Prediction, predict_from
from transformer.preprocess import preprocess
from transformer.statistics import Statistics, require_contrast, summarise

# How often the card known first is tried, and those that take its place. In a roll-out predictors
# of both kinds answer in turn: what one says is wrong for the next, and half of the tries fail.
TRIES_OF_CARDS = (1, *[2] * 9)

# How one of several images is named in an error, by its index.
PLACE = "image[{}]"


@dataclass(frozen=True)
class Prepared:
    """A slice ready to be sent: its row uint8 [H, W, 1 or C], and what is known of it already."""

    row: NDArray[np.uint8]
    evidence: Evidence


class Pipeline:
    """Predicts and explains for every door."""

    def __init__(
        self,
        client: PredictorClient,
        drift: DriftLog,
        metrics: TransformerMetrics,
        limits: Limits,
        pool: FairPool,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._drift = drift
        self._metrics = metrics
        self._limits = limits
        self._pool = pool
        self._clock = clock
        self._rows_inside = 0
        self._admission = Admission(limits.queue_rows, metrics.batches.shed, client.rate)
        # Decoding has a rate of its own: where it is the slower, the predictors' says nothing.
        self._undecoded = 0
        self._decoding = Rate()
        self._room_to_decode = Admission(limits.queue_rows, metrics.batches.shed, self._decoding)

    async def predict(self, images: Sequence[bytes], place: str = PLACE) -> list[Prediction]:
        """One prediction for each image file, in order.

        Raises:
            ServiceError: a bad image fails the call; of several it is named by `place`, which
                holds its index.
        """
        async with self._admitted(len(images)):
            answers, evidence = await self._infer(images, place)
        predictions = [prediction_of(*pair) for pair in zip(answers, evidence, strict=True)]
        for pair in zip(evidence, predictions, strict=True):
            self._record(*pair)
        return predictions

    async def explain(
        self, images: Sequence[bytes], classes: Sequence[str | None], place: str = PLACE
    ) -> list[Explanation]:
        """One explanation for each image file, in order, of the class beside it or the predicted.

        Nothing of it goes to the drift log or the metrics of predictions.

        Raises:
            NoActivationMaps: the network has none.
            ServiceError: as for `predict`.
        """
        async with self._admitted(len(images)):
            answers, evidence = await self._infer(images, place, cam=True)
        return [self._explained(*it) for it in zip(answers, evidence, classes, strict=True)]

    async def draw(self, image: bytes, wanted: str | None) -> bytes:
        """The explanation of one image file as a PNG; raises as `explain` does."""
        async with self._admitted(1):
            (answer,), (evidence,) = await self._infer([image], PLACE, cam=True)
            explanation = self._explained(answer, evidence, wanted)
            window = answer.card.input.window
            return await self._pool.run(partial(self._draw, image, window, explanation))

    async def decode(self, data: bytes) -> Slice:
        """One image file alone, if `predict` would take it.

        Raises:
            PredictorUnavailable: a DICOM file, and nobody tells the window to show it in.
            ServiceError: a bad image.
        """
        async with self._admitted(1):
            window = (await self._client.card()).input.window if is_dicom(data) else None
            ct_slice, _ = await self._pool.run(partial(self._suitable, data, window))
            return ct_slice

    def require_room(self, rows: int = 1) -> None:
        """Refuse the request under way where so many rows cannot be taken.

        Raises:
            Overloaded: they do not fit, or would not be done by its deadline.
        """
        deadline = current_request().deadline
        self._admission.require(self._rows_inside, rows, deadline, now())
        self._room_to_decode.require(self._undecoded, rows, deadline, now())

    async def _infer(
        self, images: Sequence[bytes], place: str, *, cam: bool = False
    ) -> tuple[list[Answer], list[Evidence]]:
        """Prepare as the card says; where the predictor has other weights now, as theirs says."""
        prepared: dict[InputSpec, list[Prepared]] = {}
        for tries in TRIES_OF_CARDS:
            card = await self._client.card()
            if card.input not in prepared:
                prepared[card.input] = await self._prepare_all(images, card.input, place)
            slices = prepared[card.input]
            rows = [item.row for item in slices]
            for _ in range(tries):
                try:
                    answers = await self._client.infer(rows, card, cam=cam)
                except StaleCard as error:
                    stale = error.with_traceback(None)  # which holds the images
                else:
                    return answers, [
                        replace(item.evidence, distance=answer.distance)
                        for item, answer in zip(slices, answers, strict=True)
                    ]
        raise stale

    async def _prepare_all(
        self, images: Sequence[bytes], spec: InputSpec, place: str
    ) -> list[Prepared]:
        """Decode and resize in the pool, so that the event loop stays free."""
        jobs = [partial(self._prepare, data, spec) for data in images]
        prepared: list[Prepared] = []
        for index, outcome in enumerate(await self._decoded(jobs)):
            if isinstance(outcome, ServiceError) and len(images) > 1:
                raise outcome.at(place.format(index))
            if isinstance(outcome, Exception):
                raise outcome
            prepared.append(outcome)
        return prepared

    async def _decoded(self, jobs: Sequence[Callable[[], Prepared]]) -> list[Prepared | Exception]:
        """What became of the jobs; how many a second do tells whether more can be taken."""
        self._undecoded += len(jobs)
        try:
            outcomes = await self._pool.run_all(jobs)
        except BaseException:
            self._undecoded -= len(jobs)
            if self._undecoded < BUSY_ROWS:
                self._decoding.failed()
            raise
        self._undecoded -= len(jobs)
        self._decoding.finished(len(jobs), self._undecoded, now())
        return outcomes

    def _prepare(self, data: bytes, spec: InputSpec) -> Prepared:
        ct_slice, statistics = self._suitable(data, spec.window)
        with self._metrics.stages.stage("preprocess"):
            row = preprocess(ct_slice.pixels, spec)
            return Prepared(row, Evidence(statistics, ct_slice.is_dicom))

    def _suitable(self, data: bytes, window: Window | None) -> tuple[Slice, Statistics]:
        with self._metrics.stages.stage("decode"):
            ct_slice = decode(data, self._limits, window)
            statistics = summarise(ct_slice)
            require_contrast(statistics, self._limits)
            return ct_slice, statistics

    def _explained(self, answer: Answer, evidence: Evidence, wanted: str | None) -> Explanation:
        assert answer.cam is not None
        prediction = prediction_of(answer, evidence)
        explanation = explain_from(prediction, answer.logits, answer.cam, wanted)
        self._metrics.explanations.labels(explanation.explained_class).inc()
        return explanation

    def _draw(self, data: bytes, window: Window | None, explanation: Explanation) -> bytes:
        # Decoded again: to keep the pixels while the predictor works would cost every prediction
        # their memory.
        ct_slice = decode(data, self._limits, window)
        with self._metrics.stages.stage("draw"):
            return overlay(ct_slice, explanation)

    def _record(self, evidence: Evidence, prediction: Prediction) -> None:
        self._metrics.predictions.labels(prediction.pred_class).inc()
        self._metrics.confidence.observe(prediction.confidence)
        self._metrics.decisions.labels(prediction.decision).inc()
        for reason in prediction.reasons:
            self._metrics.gate_reasons.labels(reason).inc()
        self._metrics.grey_mean.observe(evidence.statistics.mean)
        self._metrics.grey_std.observe(evidence.statistics.std)
        self._drift.append(DriftRow.of(evidence, prediction, self._clock()))

    @asynccontextmanager
    async def _admitted(self, rows: int) -> AsyncIterator[None]:
        """Let the rows in if they fit, and end their work at the request's deadline."""
        self.require_room(rows)
        self._rows_inside += rows
        try:
            async with until_deadline():
                yield
        except (PredictorUnavailable, ModelNotLoaded):
            self._metrics.batches.shed("no_predictor")
            raise
        finally:
            self._rows_inside -= rows


def now() -> float:
    """The running loop's clock, which deadlines go by, in seconds."""
    return asyncio.get_running_loop().time()


def prediction_of(answer: Answer, evidence: Evidence) -> Prediction:
    """The predictor's answer for one row as a prediction with an id of its own."""
    return predict_from(answer.logits, answer.card, evidence, new_id())
