"""The REST door of the old script, and health: thin, everything is decided behind it."""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, File, Form, Header, Request, Response, UploadFile
from pydantic import BaseModel, Field

from serving import errors
from serving.byte_budget import ByteBudget
from serving.card import CLASSES
from serving.doors import Problem, as_service_error, let_go, problem
from serving.errors import FieldError, InvalidField, TooLarge
from serving.kserve.lifecycle import Lifecycle
from serving.openapi import problem_responses
from serving.request import until_deadline
from serving.settings import Settings
from transformer.client import PredictorClient
from transformer.decode import ACCEPTED, Slice, require_size
from transformer.explanation import Explanation, require_class
from transformer.fair_pool import FairPool
from transformer.feedback import Correction, FeedbackStore, Saved
from transformer.metrics import TransformerMetrics
from transformer.pipeline import Pipeline
from transformer.prediction import Prediction

IMAGE = f"One chest-CT slice as a file: {ACCEPTED}."
WANTED = f"The class to explain, one of {', '.join(CLASSES)}; without it the predicted one."
ONE_FILE = "expected one file: send a request for each, or /predict/batch for several"
# So much of a field's name is shown in an error.
FIELD_CHARS = 64
PREDICT_ERRORS = (
    errors.InvalidField,
    errors.InvalidImage,
    errors.UnsuitableImage,
    errors.TooLarge,
    errors.Overloaded,
    errors.PredictorUnavailable,
    errors.DeadlineExceeded,
)
EXPLAIN_ERRORS = (*PREDICT_ERRORS, errors.NoActivationMaps)
PICTURE = {
    "description": "JSON, or with `Accept: image/png` a picture of it.",
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}
# The predictor knows the window for a DICOM file; no other correction needs it.
FEEDBACK_ERRORS = (
    errors.InvalidField,
    errors.InvalidImage,
    errors.UnsuitableImage,
    errors.ContradictoryFeedback,
    errors.TooLarge,
    errors.Overloaded,
    errors.PredictorUnavailable,
    errors.StorageFailed,
    errors.DeadlineExceeded,
)


class Health(BaseModel):
    """The old script's keys; device, model_loaded and model_path are the predictor's own words."""

    ok: bool = Field(description="Whether a prediction would succeed now.")
    device: str | None = Field(examples=["cpu"])
    model_loaded: bool
    config_path: str = Field(examples=["configs/config.yaml"])
    model_path: str | None = Field(examples=["models/model.pt"])
    model_version: str | None = Field(examples=["0f3a9c1d2b4e"])
    feedback_durable: bool = Field(description="Whether corrections outlive this container.")


class FeedbackSaved(BaseModel):
    """Where a correction was stored."""

    saved_to: str = Field(examples=["feedback/normal/image-0123456789ab.png"])
    label: str = Field(alias="class", examples=["normal"])


@dataclass(frozen=True)
class Rooms:
    """What the routes hand their work to.

    Corrections are written in `storage`; their images are held within `images` meanwhile.
    """

    pipeline: Pipeline
    client: PredictorClient
    store: FeedbackStore
    metrics: TransformerMetrics
    lifecycle: Lifecycle
    settings: Settings
    storage: FairPool
    images: ByteBudget


def rest_routes(rooms: Rooms) -> APIRouter:
    """`/predict`, `/predict/batch`, `/explain`, `/feedback` and `/health`."""
    router = APIRouter()
    limits = rooms.settings.limits

    @router.post(
        "/predict",
        tags=["classify"],
        response_model=Prediction,
        responses=problem_responses(*PREDICT_ERRORS),
        dependencies=[Depends(require_fields_once)],
        summary="Classify one slice",
    )
    async def predict(file: Annotated[UploadFile, File(description=IMAGE)]) -> Response:
        (prediction,) = await rooms.pipeline.predict([await read(file)])
        return as_json(prediction)

    @router.post(
        "/predict/batch",
        tags=["classify"],
        response_model=list[Prediction | Problem],
        responses=problem_responses(
            errors.InvalidField, errors.TooLarge, errors.Overloaded, errors.DeadlineExceeded
        ),
        summary="Classify several slices; a bad file gets a problem in its place",
    )
    async def predict_batch(
        files: Annotated[list[UploadFile], File(description=f"At most {limits.batch_files}.")],
    ) -> Response:
        if len(files) > limits.batch_files:
            raise TooLarge(
                f"{len(files)} files were sent, at most {limits.batch_files} are accepted: "
                "split them"
            )
        return as_json(await asyncio.gather(*(predict_or_problem(file) for file in files)))

    async def predict_or_problem(file: UploadFile) -> Prediction | dict[str, Any]:
        try:
            (prediction,) = await rooms.pipeline.predict([await read(file)])
            return prediction
        except errors.ClientLeft:
            raise
        except Exception as error:
            let_go(error)
            return problem(as_service_error(error))

    @router.post(
        "/explain",
        tags=["classify"],
        response_model=Explanation,
        responses={200: PICTURE, **problem_responses(*EXPLAIN_ERRORS)},
        dependencies=[Depends(require_fields_once)],
        summary="Say how much each cell of a slice adds to a class",
    )
    async def explain(
        file: Annotated[UploadFile, File(description=IMAGE)],
        wanted: Annotated[
            str | None, Form(alias="class", description=WANTED, examples=[CLASSES[0]])
        ] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        explained = require_class(wanted, "class")
        data = await read(file)
        if prefers_png(accept):
            return Response(await rooms.pipeline.draw(data, explained), media_type="image/png")
        (explanation,) = await rooms.pipeline.explain([data], [explained])
        return as_json(explanation)

    @router.post(
        "/feedback",
        tags=["classify"],
        response_model=FeedbackSaved,
        responses=problem_responses(*FEEDBACK_ERRORS),
        dependencies=[Depends(require_fields_once)],
        summary="Confirm or correct a prediction",
    )
    async def feedback(
        file: Annotated[UploadFile, File(description=IMAGE)],
        predicted_class: Annotated[str, Form(examples=[CLASSES[0]])],
        is_correct: Annotated[bool, Form(examples=[False])],
        correct_class: Annotated[str | None, Form(examples=[CLASSES[3]])] = None,
        prediction_id: Annotated[str | None, Form(examples=["5f0c7c1e2d3b4a59"])] = None,
        comment: Annotated[str | None, Form()] = None,
    ) -> Response:
        correction = Correction.of(
            predicted_class, is_correct, correct_class, prediction_id, comment, limits
        )
        ct_slice = await rooms.pipeline.decode(await read(file))
        with rooms.images.holding(ct_slice.nbytes):
            async with until_deadline():
                saved = await rooms.storage.run(lambda: save(ct_slice, correction))
        return as_json({"saved_to": str(saved.path), "class": saved.label})

    def save(ct_slice: Slice, correction: Correction) -> Saved:
        """Store and count: what has begun is done, even when nobody waits for the answer then."""
        try:
            saved = rooms.store.save(ct_slice.image, correction)
        except errors.StorageFailed:
            rooms.metrics.feedback_failed.inc()
            raise
        if saved.new:
            agreement = "correct" if correction.is_correct else "wrong"
            rooms.metrics.feedback.labels(saved.label, agreement).inc()
            if not correction.is_correct:
                rooms.metrics.prediction_error.inc()
        return saved

    @router.get(
        "/health",
        tags=["operation"],
        response_model=Health,
        summary="Whether a prediction would succeed now, and by which weights",
    )
    async def health() -> Response:
        status = await rooms.client.status()
        process = rooms.settings.process
        return as_json(
            {
                "ok": status.ready and not rooms.lifecycle.draining,
                "device": status.device,
                "model_loaded": status.model_loaded,
                "config_path": str(process.config_path),
                "model_path": status.model_path,
                "model_version": status.version,
                "feedback_durable": process.feedback_durable,
            }
        )

    async def read(file: UploadFile) -> bytes:
        require_size(file.size or 0, limits)
        return await file.read()

    return router


async def require_fields_once(request: Request) -> None:
    """Refuse a form that has a field twice: none is dropped without a word.

    Raises:
        InvalidField: there is more than one of a field.
    """
    sent = Counter(name for name, _ in (await request.form()).multi_items())
    for name, times in sent.items():
        if times > 1:
            shown = name[:FIELD_CHARS]
            what = ONE_FILE if name == "file" else "expected once, as only one would count"
            raise InvalidField(f"{shown}: {what}", fields=(FieldError(shown, what),))


def prefers_png(accept: str) -> bool:
    """Whether an `Accept` header ranks image/png above JSON; a wildcard is no wish for either.

    Source: RFC 9110 section 12.5.1.
    """
    quality = {"image/png": 0.0, "application/json": 0.0}
    for item in accept.lower().split(","):
        kind, _, parameters = item.partition(";")
        found = re.search(r"(?:^|;)\s*q=([01](?:\.\d{0,3})?)\s*(?:;|$)", parameters)
        quality[kind.strip()] = float(found[1]) if found else 1.0
    return quality["image/png"] > quality["application/json"]


def as_json(content: Any) -> Response:
    """JSON straight from dataclasses, floats in full precision."""
    return Response(orjson.dumps(content), media_type="application/json")
