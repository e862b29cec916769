from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field, TypeAdapter

from serving.card import CLASSES, Card, InputSpec
from serving.errors import InternalError
from tests.transformer.rooms import EVIDENCE, GATE
from transformer import prediction
from transformer.prediction import Prediction, Tensor, output_array, output_specs, predict_from

LOGITS = np.array([0.0, 1.0, 3.0, -2.0], np.float32)


def card(temperature: float = 1.0) -> Card:
    return Card("resnet18", InputSpec(64, 64), temperature=temperature)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_probabilities_are_the_softmax_at_the_cards_temperature(temperature: float) -> None:
    said = predict_from(LOGITS, card(temperature), EVIDENCE, "id")
    powers = np.exp(LOGITS.astype(np.float64) / temperature)
    assert list(said.probabilities) == list(CLASSES)
    assert list(said.probabilities.values()) == pytest.approx((powers / powers.sum()).tolist())
    assert sum(said.probabilities.values()) == pytest.approx(1.0, abs=1e-12)


def test_the_class_is_the_likeliest_and_its_probability_the_confidence() -> None:
    said = predict_from(LOGITS, card(), EVIDENCE, "id")
    assert (said.pred_index, said.pred_class) == (2, CLASSES[2])
    assert said.confidence == said.probabilities[CLASSES[2]]
    assert said.prediction_id == "id"
    assert (said.model.name, said.model.version) == ("ctscan", card().version)


def test_huge_logits_do_not_overflow() -> None:
    said = predict_from(np.array([1e30, 0, 0, 0], np.float32), card(0.01), EVIDENCE, "id")
    assert said.confidence == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_no_prediction(value: float) -> None:
    logits = np.array([value, 1, 2, 3], np.float32)
    with pytest.raises(InternalError, match="is no number"):
        predict_from(logits, replace(card(), gate=GATE), EVIDENCE, "id")


def test_the_gate_of_the_card_judges_the_calibrated_probabilities() -> None:
    sure = replace(card(), gate=GATE)
    said = predict_from(LOGITS, sure, EVIDENCE, "id")
    assert (said.decision, said.reasons) == ("accept", [])
    # The same logits, at a temperature that leaves little between the two best.
    said = predict_from(LOGITS, replace(sure, temperature=9.0), EVIDENCE, "id")
    assert (said.decision, said.reasons) == ("review", ["low_margin"])


def test_reasons_are_one_element_of_a_v2_output_joined_by_commas() -> None:
    dicom = replace(EVIDENCE, is_dicom=True)
    said = [predict_from(LOGITS, replace(card(), gate=GATE), it, "id") for it in (EVIDENCE, dicom)]
    both = predict_from(-LOGITS, card(), dicom, "id")
    array = output_array([*said, both], output_specs()["reasons"])
    assert array.tolist() == [
        *(b"", b"source_unvalidated"),
        b"normal_unvalidated,source_unvalidated,gate_unavailable",
    ]


def test_outputs_are_the_marked_fields_in_their_order() -> None:
    marked = [item.name for item in fields(Prediction) if item.name != "model"]
    assert list(output_specs()) == marked
    specs = output_specs()
    assert specs["probabilities"].metadata() == {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": [-1, len(CLASSES)],
    }


@pytest.mark.parametrize("count", [1, 3])
def test_an_output_array_has_the_shape_that_its_spec_says(count: int) -> None:
    said: Sequence[Prediction] = [
        predict_from(LOGITS, card(), EVIDENCE, f"id{i}") for i in range(count)
    ]
    for spec in output_specs().values():
        array = output_array(said, spec)
        assert array.shape == (count, *spec.shape[1:])
    assert (
        output_array(said, output_specs()["pred_class"]).tolist() == [CLASSES[2].encode()] * count
    )


def test_a_new_field_is_a_v2_output_and_documented_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclass(frozen=True)
    class Wider(Prediction):
        margin: Annotated[float, Tensor("FP32"), Field(description="To the next class.")]

    plain = predict_from(LOGITS, card(), EVIDENCE, "id")
    monkeypatch.setattr(prediction, "Prediction", Wider)
    specs = output_specs()
    assert list(specs)[-1] == "margin"
    assert specs["margin"].metadata() == {"name": "margin", "datatype": "FP32", "shape": [-1]}
    said = Wider(**{item.name: getattr(plain, item.name) for item in fields(plain)}, margin=0.25)
    assert output_array([said], specs["margin"]).tolist() == [0.25]
    schema = TypeAdapter(Wider).json_schema()
    assert schema["properties"]["margin"]["description"] == "To the next class."


def test_a_list_is_one_cell_of_the_commands_csv() -> None:
    from ctscan.predict import as_csv

    rows = as_csv(
        [{"file": "a", "reasons": ["low_margin", "colour"]}, {"file": "b", "reasons": []}]
    )
    assert rows.splitlines()[1:] == ["a,low_margin;colour,", "b,,"]


def test_a_new_field_is_a_column_of_the_commands_csv() -> None:
    from ctscan.predict import as_csv

    assert as_csv([{"file": "a", "margin": 0.25}]).splitlines() == ["file,margin,error", "a,0.25,"]
