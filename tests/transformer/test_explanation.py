from dataclasses import fields

import numpy as np
import pytest
from pydantic import TypeAdapter

from serving.card import CLASSES, Card, InputSpec
from serving.errors import FieldError, InvalidField
from tests.transformer.rooms import EVIDENCE
from transformer.explanation import Explanation, explain_from, require_class
from transformer.prediction import Prediction, predict_from

BIAS = np.array([0.5, -1.0, 0.25, 2.0])
CAM = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
# What a network with average pooling and one linear layer says.
LOGITS = (CAM.mean((1, 2)) + BIAS).astype(np.float32)
PREDICTION = predict_from(
    LOGITS, Card("resnet18", InputSpec(64, 64), temperature=2.0), EVIDENCE, "id"
)


@pytest.mark.parametrize("index", range(4))
def test_the_cells_and_the_bias_add_up_to_the_logit(index: int) -> None:
    said = explain_from(PREDICTION, LOGITS, CAM, CLASSES[index])
    assert said.explained_class == CLASSES[index]
    assert said.logit == pytest.approx(LOGITS[index])
    assert np.sum(said.grid) + BIAS[index] == pytest.approx(said.logit, abs=1e-6)


def test_cells_are_rows_from_the_top_and_keep_their_sign() -> None:
    said = explain_from(PREDICTION, LOGITS, CAM, CLASSES[2])
    np.testing.assert_allclose(np.array(said.grid) * 15, CAM[2], rtol=1e-6)
    assert (len(said.grid), len(said.grid[0])) == (3, 5)
    assert np.min(said.grid) < 0 < np.max(said.grid)


def test_without_a_wish_the_predicted_class_is_explained() -> None:
    said = explain_from(PREDICTION, LOGITS, CAM, None)
    assert said.explained_class == PREDICTION.pred_class
    assert said.logit == LOGITS.max()


def test_an_explanation_is_a_whole_prediction_and_more() -> None:
    said = explain_from(PREDICTION, LOGITS, CAM, CLASSES[1])
    for item in fields(Prediction):
        assert getattr(said, item.name) == getattr(PREDICTION, item.name)
    names = [item.name for item in fields(Explanation)]
    assert names[len(fields(Prediction)) :] == ["explained_class", "method", "grid", "logit"]
    assert said.method == "class activation map"


def test_every_further_field_is_described() -> None:
    properties = TypeAdapter(Explanation).json_schema()["properties"]
    for name in ("explained_class", "method", "grid", "logit"):
        assert properties[name]["description"], name


@pytest.mark.parametrize("value", [None, *CLASSES])
def test_a_class_or_none_passes(value: str | None) -> None:
    assert require_class(value, "class") == value


@pytest.mark.parametrize("value", ["Normal", "", "cat", 3, ["normal"], {}])
def test_anything_else_is_refused_by_the_name_of_its_field(value: object) -> None:
    with pytest.raises(InvalidField, match=r"^instances\[2\]\.class: expected one of") as failed:
        require_class(value, "instances[2].class")
    expected = f"expected one of {', '.join(CLASSES)}"
    assert failed.value.fields == (FieldError("instances[2].class", expected),)
