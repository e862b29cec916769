import numpy as np
import pytest

from training.bounds import fit_feature_distance, fit_margin, margins
from training.outcomes import AS_IS, Outcomes


def outcomes(best: list[float], variant: str = AS_IS, index: int = 0) -> Outcomes:
    """Answers whose best class has these logits; the others have 0."""
    count = len(best)
    logits = np.zeros((count, 4), np.float32)
    logits[:, index] = best
    return Outcomes(
        picture=np.array([str(at) for at in range(count)]),
        label=np.zeros(count),
        fold=np.zeros(count),
        variant=np.full(count, variant),
        logits=logits,
        distance=np.zeros(count),
        reasons=np.full(count, ""),
    )


def test_a_margin_is_what_parts_the_two_best_after_calibration() -> None:
    logits = np.log([[0.7, 0.2, 0.05, 0.05], [0.3, 0.3, 0.2, 0.2]])
    assert margins(logits, 1.0) == pytest.approx([0.5, 0.0], abs=1e-9)
    assert margins(logits * 2, 2.0) == pytest.approx([0.5, 0.0], abs=1e-9)


def test_the_margin_turns_the_most_uncertain_tenth_away() -> None:
    found = outcomes(np.linspace(0.1, 3, 100).tolist())
    bound = fit_margin(found, 1.0)
    assert (margins(found.logits, 1.0) < bound).mean() == pytest.approx(0.1)


def test_what_is_called_normal_or_was_changed_does_not_count() -> None:
    plain = outcomes([1.0, 2.0, 3.0])
    normal, changed = outcomes([0.1] * 9, index=3), outcomes([0.1] * 9, variant="pad_10")
    parts = [getattr(plain, "logits"), normal.logits, changed.logits]
    every = Outcomes(
        *(
            np.concatenate([getattr(part, name) for part in (plain, normal, changed)])
            for name in ("picture", "label", "fold", "variant")
        ),
        logits=np.concatenate(parts),
        distance=np.zeros(21),
        reasons=np.full(21, ""),
    )
    assert fit_margin(every, 1.0) == fit_margin(plain, 1.0)
    assert fit_margin(normal, 1.0) == 0.0


def test_the_distance_grows_by_what_new_slices_lie_further_off() -> None:
    own = np.full(50, 0.2, np.float32)
    held = np.linspace(0, 0.3, 101)
    bound = fit_feature_distance(own, [(np.full(40, 0.1, np.float32), held)])
    assert bound == pytest.approx(0.2 * 0.297 / 0.1)
