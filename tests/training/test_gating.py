from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.training.answers import outcomes
from training.calibration import probabilities
from training.gating import accepts
from training.outcomes import AS_IS


@dataclass(frozen=True)
class Bounds:
    margin: float = 0.3
    feature_distance: float | None = 0.5


# An answer of margin 2 leads by 0.64, one of 0.5 by 0.14.
GIVEN = replace(
    outcomes(
        {AS_IS: [(0, 0, 2.0), (1, 2, 2.0), (0, 0, 0.5), (0, 3, 2.0), (1, 1, 2.0), (2, 2, 2.0)]}
    ),
    distance=np.array([0.1, np.nan, 0.1, 0.1, 0.6, 0.1], np.float32),
    reasons=np.array(["", "", "", "", "", "rendering_mismatch"]),
)


@pytest.mark.parametrize(
    ("bounds", "accepted"),
    [
        # A wrong answer is accepted as well: the gate does not know. Far: the fifth.
        (Bounds(), [True, True, False, False, False, False]),
        (Bounds(margin=0.1), [True, True, True, False, False, False]),
        (Bounds(margin=0.9), [False] * 6),
        (Bounds(feature_distance=None), [True, True, False, False, True, False]),
    ],
)
def test_one_objection_is_enough(bounds: Bounds, accepted: list[bool]) -> None:
    assert accepts(bounds, probabilities(GIVEN.logits, 1), GIVEN).tolist() == accepted


def test_the_margin_is_of_calibrated_probabilities() -> None:
    assert accepts(Bounds(), probabilities(GIVEN.logits, 10), GIVEN).sum() == 0
