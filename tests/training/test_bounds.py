import numpy as np
import pytest

from training.bounds import fit_feature_distance, fit_margin
from training.measures import margins
from training.outcomes import AS_IS, Outcomes, joined
from transformer.prediction import calibrated


def outcomes(best: list[float], variant: str = AS_IS, index: int = 0) -> Outcomes:
    """Answers whose best class has these logits; the others have 0."""
    count = len(best)
    logits = np.zeros((count, 4), np.float32)
    logits[:, index] = best
    return Outcomes(
        picture=np.array([str(at) for at in range(count)]),
        label=np.zeros(count, np.int64),
        fold=np.zeros(count, np.int64),
        variant=np.full(count, variant),
        logits=logits,
        distance=np.zeros(count, np.float32),
        reasons=np.full(count, ""),
    )


def test_a_margin_is_what_parts_the_two_best_after_calibration() -> None:
    logits = np.log([[0.7, 0.2, 0.05, 0.05], [0.3, 0.3, 0.2, 0.2]])
    assert margins(calibrated(logits, 1.0)) == pytest.approx([0.5, 0.0], abs=1e-9)
    assert margins(calibrated(logits * 2, 2.0)) == pytest.approx([0.5, 0.0], abs=1e-9)


def test_the_margin_turns_the_most_uncertain_tenth_away() -> None:
    found = outcomes(np.linspace(0.1, 3, 100).tolist())
    bound = fit_margin(found, 1.0)
    assert (margins(calibrated(found.logits, 1.0)) < bound).mean() == pytest.approx(0.1)


def test_what_is_called_normal_or_was_changed_does_not_count() -> None:
    plain = outcomes([1.0, 2.0, 3.0])
    normal, changed = outcomes([0.1] * 9, index=3), outcomes([0.1] * 9, variant="pad_10")
    every = joined([plain, normal, changed])
    assert fit_margin(every, 1.0) == fit_margin(plain, 1.0)
    assert fit_margin(normal, 1.0) == 0.0


def test_the_distance_lets_all_but_a_few_held_out_slices_pass() -> None:
    relative = np.linspace(0, 3, 101)
    assert fit_feature_distance(relative, 0.2) == pytest.approx(0.2 * 2.97)
