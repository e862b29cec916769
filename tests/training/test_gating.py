from dataclasses import replace

import numpy as np
import pytest

from serving.card import PROFILE_BINS, Gate
from tests.training.answers import outcomes
from training.gating import accepts
from training.outcomes import AS_IS
from transformer.prediction import calibrated


def gate(margin: float = 0.3, feature_distance: float | None = 0.5) -> Gate:
    black = (1.0, *[0.0] * (PROFILE_BINS - 1))
    return Gate((black,), (), 1.0, 1.0, margin, feature_distance)


# An answer of margin 2 leads by 0.64, one of 0.5 by 0.14.
GIVEN = replace(
    outcomes(
        {AS_IS: [(0, 0, 2.0), (1, 2, 2.0), (0, 0, 0.5), (0, 3, 2.0), (1, 1, 2.0), (2, 2, 2.0)]}
    ),
    distance=np.array([0.1, np.nan, 0.1, 0.1, 0.6, 0.1], np.float32),
    reasons=np.array(["", "", "", "", "", "rendering_mismatch"]),
)


@pytest.mark.parametrize(
    ("gate_", "accepted"),
    [
        # A wrong answer is accepted as well: the gate does not know. Far: the fifth.
        (gate(), [True, True, False, False, False, False]),
        (gate(margin=0.1), [True, True, True, False, False, False]),
        (gate(margin=0.9), [False] * 6),
        (gate(feature_distance=None), [True, True, False, False, True, False]),
    ],
)
def test_one_objection_is_enough(gate_: Gate, accepted: list[bool]) -> None:
    assert accepts(gate_, calibrated(GIVEN.logits, 1), GIVEN).tolist() == accepted


def test_the_margin_is_of_calibrated_probabilities() -> None:
    assert accepts(gate(), calibrated(GIVEN.logits, 10), GIVEN).sum() == 0
