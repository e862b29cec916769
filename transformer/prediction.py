"""The one answer that every door gives: REST, V1, V2 tensors and metadata, the CLI and the docs.

A new field is one line in `Prediction` and one in `predict_from`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from serving.card import CLASSES, Card
from serving.errors import InternalError
from serving.tensors import TensorSpec
from transformer.gate import Decision, Evidence, Reason, judge


@dataclass(frozen=True)
class Tensor:
    """Marks a field as a V2 output: its datatype, and its shape behind the row."""

    datatype: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class ModelVersion:
    """Which weights answered."""

    name: Annotated[str, Field(examples=["ctscan"])]
    version: Annotated[str, Field(examples=["0f3a9c1d2b4e"], description="Digest of the card.")]


@dataclass(frozen=True)
class Prediction:
    """What the model says of one slice. Research use only, not a medical device."""

    pred_index: Annotated[int, Tensor("INT64"), Field(description="Class index.", examples=[3])]
    pred_class: Annotated[
        str, Tensor("BYTES"), Field(description="Class name.", examples=["normal"])
    ]
    confidence: Annotated[
        float, Tensor("FP32"), Field(description="Its probability.", examples=[0.93])
    ]
    probabilities: Annotated[
        dict[str, float],
        Tensor("FP32", (len(CLASSES),)),
        Field(
            description="Every class and its calibrated probability, in index order.",
            examples=[dict(zip(CLASSES, (0.02, 0.01, 0.04, 0.93), strict=True))],
        ),
    ]
    decision: Annotated[
        Decision,
        Tensor("BYTES"),
        Field(
            description="Whether to rely on it: accept, review (a person should look) or abstain.",
            examples=["review"],
        ),
    ]
    reasons: Annotated[
        list[Reason],
        Tensor("BYTES"),
        Field(
            description="What speaks against accepting it; V2 joins them by commas.",
            examples=[["normal_unvalidated"]],
        ),
    ]
    prediction_id: Annotated[
        str,
        Tensor("BYTES"),
        Field(description="For `POST /feedback`.", examples=["5f0c7c1e2d3b4a59"]),
    ]
    model: Annotated[ModelVersion, Field(description="Which weights answered.")]


def predict_from(
    logits: NDArray[np.float32], card: Card, evidence: Evidence, prediction_id: str
) -> Prediction:
    """Logits [classes] of one row as a prediction, judged by the card's gate.

    Raises:
        InternalError: a logit is no finite number, so no class is the likeliest.
    """
    if not np.isfinite(logits).all():
        raise InternalError(
            "the network's answer to this image is no number: its weights overflow in the "
            "precision that the predictor runs them in"
        )
    shares = calibrated(logits, card.temperature).tolist()
    # Not numpy's argmax: it gives the interpreter up, and under load the event loop waits for it.
    best = shares.index(max(shares))
    verdict = judge(card.gate, card.classes[best], shares, evidence)
    return Prediction(
        pred_index=best,
        pred_class=card.classes[best],
        confidence=shares[best],
        probabilities=dict(zip(card.classes, shares, strict=True)),
        decision=verdict.decision,
        reasons=list(verdict.reasons),
        prediction_id=prediction_id,
        model=ModelVersion(card.name, card.version),
    )


def calibrated(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Probabilities [..., classes] of logits [..., classes] at the card's temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
    return shares


def output_specs() -> dict[str, TensorSpec]:
    """The V2 outputs, by name, in the order of the fields."""
    hints = get_type_hints(Prediction, include_extras=True)
    return {
        item.name: TensorSpec(item.name, marker.datatype, (-1, *marker.shape))
        for item in fields(Prediction)
        for marker in getattr(hints[item.name], "__metadata__", ())
        if isinstance(marker, Tensor)
    }


def output_array(predictions: Sequence[Prediction], spec: TensorSpec) -> NDArray[Any]:
    """One field of several predictions as the values of its V2 output."""
    values = [_plain(getattr(prediction, spec.name)) for prediction in predictions]
    return np.array(values, dtype=object) if spec.datatype == "BYTES" else np.array(values)


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return ",".join(value).encode()
    return list(value.values()) if isinstance(value, Mapping) else value
