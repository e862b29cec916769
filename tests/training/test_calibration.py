from typing import Any

import numpy as np
import pytest

from serving.card import CLASSES, Card, InputSpec
from tests.transformer.rooms import EVIDENCE
from training.calibration import GREATEST, LEAST, fit_temperature
from transformer.prediction import calibrated, predict_from


def drawn(temperature: float, count: int = 20_000) -> tuple[Any, Any]:
    """Logits [N,4] and labels drawn from what they say at a temperature."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (count, 4)).astype(np.float32)
    below = calibrated(logits, temperature).cumsum(1)
    return logits, (random.random((count, 1)) > below).sum(1).clip(max=3)


def loss(logits: Any, labels: Any, temperature: float) -> float:
    right = calibrated(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(right).mean())


def test_probabilities_are_those_of_the_service() -> None:
    logits, _ = drawn(1, count=50)
    card = Card("custom_cnn", InputSpec(64, 64), temperature=1.7)
    for row, found in zip(logits, calibrated(logits, 1.7), strict=True):
        expected = predict_from(row, card, EVIDENCE, "id").probabilities
        assert [expected[name] for name in CLASSES] == found.tolist()


def test_logits_far_from_zero_do_not_overflow() -> None:
    assert calibrated([[5000.0, 0.0], [-5000.0, 0.0]], 1).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(true: float) -> None:
    logits, labels = drawn(true)
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.03)


def test_no_temperature_nearby_is_likelier() -> None:
    logits, labels = drawn(2, count=60)
    best = fit_temperature(logits, labels)
    for factor in (0.99, 1.01):
        assert loss(logits, labels, best) < loss(logits, labels, best * factor)


def test_what_the_data_do_not_tell_ends_at_a_bound() -> None:
    logits = np.eye(4)
    assert fit_temperature(logits, np.arange(4)) == pytest.approx(LEAST)
    assert fit_temperature(logits, (np.arange(4) + 1) % 4) == pytest.approx(GREATEST)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [([], []), ([[1.0, 2.0]], [0, 1]), ([1.0, 2.0], [0, 1]), ([[np.nan, 1.0]], [0])],
)
def test_what_cannot_be_fitted_is_said(logits: list[float], labels: list[int]) -> None:
    with pytest.raises(ValueError, match="logits"):
        fit_temperature(logits, labels)
