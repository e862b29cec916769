import math

import numpy as np
import pytest

from tests.training.answers import drawn, outcomes
from training.blanking import BLANKINGS
from training.calibration import fit_temperature
from training.cue_swaps import CUE_SWAPS
from training.evaluation import Evaluation, EvaluationError
from training.measures import Flags, Floats, Share
from training.outcomes import AS_IS, Outcomes
from training.renderings import RENDERINGS, SHIFTS
from training.scoring import SWAP

CANCERS = [(0, 0, 3.0), (1, 1, 3.0), (2, 0, 1.0), (2, 3, 1.0)]
NORMALS = [(3, 3, 4.0), (3, 0, 0.5)]


def test_cancers_count_by_their_class_with_and_without_the_answer_normal() -> None:
    score = Evaluation(outcomes({AS_IS: CANCERS + NORMALS}), 1).score
    assert score.right == Share(3, 6)
    assert score.cancers == Share(2, 4)
    # Without `normal` the last cancer's three logits are equal, and the first of them is taken.
    assert score.three == Share(2, 4)
    logits = outcomes({AS_IS: [(2, 3, 1.0)]})
    logits.logits[0, 2] = 0.5
    assert Evaluation(logits, 1).score.three == Share(1, 1)


def test_the_temperature_changes_confidence_and_no_answer() -> None:
    given = outcomes({AS_IS: CANCERS})
    sharp, soft = Evaluation(given, 0.5).score, Evaluation(given, 2).score
    assert sharp.right == soft.right
    assert sharp.confidence > soft.confidence
    confidence = np.mean([math.exp(z / 2) / (math.exp(z / 2) + 3) for z in (3, 3, 1, 1)])
    assert soft.confidence == pytest.approx(confidence)
    assert soft.gap == pytest.approx(confidence - 0.5)


def test_loss_is_against_the_pictures_as_they_are() -> None:
    given = outcomes(
        {
            AS_IS: [*CANCERS, (3, 3, 1.0)],
            # A normal slice that is lost is no cancer.
            "jpeg_80": [*CANCERS, (3, 0, 1.0)],
            "pad_25": [(0, 1, 1.0), *CANCERS[1:]],
            "crop_10": [(0, 1, 1.0), (1, 0, 1.0), *CANCERS[2:]],
            "table": [(0, 0, 1.0), (1, 1, 1.0), (2, 2, 1.0), (2, 2, 1.0)],
        }
    )
    found = Evaluation(given, 1)
    # In the order in which the renderings are listed, not in that of the rows.
    assert [score.variant for score in found.renderings] == ["jpeg_80", "crop_10", "pad_25"]
    assert [found.loss(score) for score in found.renderings] == [0, 0.5, 0.25]
    assert found.mean_loss == pytest.approx(0.25)
    assert found.worst is not None
    assert found.worst.variant == "crop_10"
    assert [found.loss(score) for score in found.shifts] == [-0.5]


def test_the_estimate_spans_as_is_and_shifted() -> None:
    given = outcomes({AS_IS: CANCERS, "table": CANCERS[:2] * 2, "crop_10": [(0, 1, 1.0)] * 4})
    middle, low, high = Evaluation(given, 1).estimate
    assert middle == pytest.approx((0.5 + 1) / 2)
    assert low == Share(2, 4).interval[0]
    assert high == Share(4, 4).interval[1]


def test_sides_count_who_crosses_over() -> None:
    given = outcomes({AS_IS: CANCERS + NORMALS, SWAP + "size": [(0, 3, 9.0), (3, 3, 9.0)]})
    as_is, size = Evaluation(given, 1).swaps
    assert (as_is.cancers, as_is.normals) == (Share(3, 4), Share(1, 2))
    assert as_is.balanced == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert (size.cancers, size.normals) == (Share(0, 1), Share(1, 1))
    assert size.auc == 0.5
    assert as_is.auc == pytest.approx((4 + 2) / 8, abs=0.2)


def test_who_stays_is_told_of_those_that_were_on_their_side_before() -> None:
    swapped = [*CANCERS[:3], (2, 2, 9.0), (3, 0, 9.0), (3, 3, 9.0)]
    given = outcomes({AS_IS: CANCERS + NORMALS, SWAP + "size": swapped})
    as_is, size = Evaluation(given, 1).swaps
    assert (as_is.cancers_stay, as_is.normals_stay) == (Share(3, 3), Share(1, 1))
    # The last cancer and the last normal come over: neither makes up for the normal that goes.
    assert (size.cancers, size.normals) == (Share(4, 4), Share(1, 2))
    assert (size.cancers_stay, size.normals_stay) == (Share(3, 3), Share(0, 1))


def test_everything_that_was_scored_is_listed() -> None:
    swaps = [SWAP + name for name in CUE_SWAPS]
    names = [AS_IS, *RENDERINGS, *SHIFTS, *BLANKINGS, *swaps]
    found = Evaluation(drawn(names), 1)
    assert [score.variant for score in found.renderings] == [*RENDERINGS]
    assert [score.variant for score in found.shifts] == [*SHIFTS]
    assert [sides.variant for sides in found.swaps] == [AS_IS, *swaps]
    assert [sides.variant for sides in found.blanked] == [AS_IS, *BLANKINGS]


def test_the_cross_fitted_score_uses_the_other_folds_temperature() -> None:
    given = drawn([AS_IS, "table", "swap_size"], folds=2)
    found = Evaluation(given, 1.3).cross_fitted
    assert found is not None
    confidence = 0.0
    for fold in (0, 1):
        rest = given.where((given.fold != fold) & (given.variant != "swap_size"))
        part = given.of(AS_IS).where(given.of(AS_IS).fold == fold)
        score = Evaluation(part, fit_temperature(rest.logits, rest.label)).score
        confidence += score.confidence * score.total / 60
    assert found.confidence == pytest.approx(confidence, rel=1e-4)
    assert found.right == Evaluation(given, 1).score.right
    assert Evaluation(drawn(folds=1), 1).cross_fitted is None


def test_cancers_right_are_told_fold_by_fold() -> None:
    found = Evaluation(outcomes({AS_IS: CANCERS}, folds=2), 1).by_fold
    assert found == {0: Share(1, 2), 1: Share(1, 2)}


def test_slices_called_normal_are_not_among_those_to_answer() -> None:
    curve = Evaluation(outcomes({AS_IS: CANCERS + NORMALS}), 1).risk_coverage([AS_IS])
    assert len(curve.risk) == 4
    assert curve.risk[-1] == pytest.approx(2 / 4)
    assert curve.at(0.5) == 0


def test_the_gate_is_measured_on_what_is_not_called_normal() -> None:
    seen: list[int] = []

    def sure(shares: Floats, chosen: Outcomes) -> Flags:
        seen.append(len(chosen))
        accepted: Flags = shares.max(1) > 0.6
        return accepted

    given = outcomes({AS_IS: CANCERS + NORMALS})
    found = Evaluation(given, 1, sure).acceptance([AS_IS])
    assert seen == [4]
    assert found is not None
    assert found.accepted == Share(2, 4)
    assert found.wrong == Share(0, 2)
    assert found.wrong_of_all == Share(2, 4)
    assert Evaluation(given, 1).acceptance([AS_IS]) is None


def test_figures_are_plain_and_say_the_same() -> None:
    found = Evaluation(drawn([AS_IS, "jpeg_80", "table"]), 1)
    figures = found.figures()
    assert figures["cancers_right"][0] == round(found.score.cancers.value, 4)
    assert figures["cancers_right"][3] == found.score.cancers.total
    assert figures["worst_rendering"] == "jpeg_80"
    assert figures["estimate_on_unseen_cancers"][0] == round(found.estimate[0], 4)
    kinds = {type(value) for value in figures.values()}
    assert kinds <= {int, float, str, list}


def test_a_folder_of_normals_alone_still_has_figures() -> None:
    figures = Evaluation(outcomes({AS_IS: NORMALS}), 1).figures()
    assert math.isnan(figures["cancers_right"][0])
    assert figures["worst_rendering"] is None


def test_without_pictures_as_they_are_nothing_can_be_said() -> None:
    with pytest.raises(EvaluationError, match="no picture as it is"):
        Evaluation(outcomes({"table": CANCERS}), 1)
