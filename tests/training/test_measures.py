import math

import numpy as np
import pytest

from training.measures import (
    Share,
    balanced_accuracy,
    brier,
    confusion,
    precision,
    recall,
    reliability,
    risk_coverage,
    share,
)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    # Wilson intervals as published tables give them.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(hits: int, total: int, low: float, high: float) -> None:
    assert Share(hits, total).interval == pytest.approx((low, high), abs=1e-4)


def test_a_share_of_nothing_is_no_number() -> None:
    assert math.isnan(Share(0, 0).value)
    assert all(math.isnan(end) for end in Share(0, 0).interval)


def test_intervals_stay_within_zero_and_one_and_mirror() -> None:
    low, high = Share(3, 3).interval
    assert (low, high) == pytest.approx((1 - Share(0, 3).interval[1], 1))
    assert high <= 1


def test_shares_add_up() -> None:
    assert Share(1, 2) + Share(3, 4) == Share(4, 6)
    assert share(np.array([True, False, True])) == Share(2, 3)


TABLE = confusion(np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, 1, 0]), 4)


def test_the_confusion_has_labels_as_rows() -> None:
    assert TABLE.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]


def test_recall_is_of_the_label_and_precision_of_the_answer() -> None:
    assert recall(TABLE, 0) == Share(2, 3)
    assert precision(TABLE, 0) == Share(2, 3)
    assert recall(TABLE, 1) == Share(2, 2)
    assert precision(TABLE, 1) == Share(2, 3)
    assert precision(TABLE, 2) == Share(0, 0)


def test_balanced_accuracy_is_over_the_classes_there_are() -> None:
    assert balanced_accuracy(TABLE) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert math.isnan(balanced_accuracy(np.zeros((4, 4), np.int64)))


def test_brier_runs_from_nought_to_two() -> None:
    sure = np.eye(4)[[2, 2]]
    assert brier(sure, np.array([2, 2])) == 0
    assert brier(sure, np.array([2, 1])) == 1
    assert brier(np.full((1, 4), 0.25), np.array([0])) == pytest.approx(0.75**2 + 3 * 0.25**2)


def test_the_calibration_error_weighs_bins_by_what_they_hold() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.55])
    found = reliability(confidence, np.array([True, True, False, True]))
    assert found.count.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert found.right[9] == pytest.approx(2 / 3)
    assert found.confidence[5] == pytest.approx(0.55)
    assert np.isnan(found.right[0])
    assert found.ece == pytest.approx((3 * (0.95 - 2 / 3) + 0.45) / 4)


def test_confidence_at_the_ends_has_a_bin() -> None:
    found = reliability(np.array([0.0, 0.1, 1.0]), np.array([False, False, True]), bins=10)
    assert found.count.tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_the_surest_are_answered_first() -> None:
    curve = risk_coverage(np.array([0.5, 0.9, 0.7, 0.8]), np.array([False, True, False, True]))
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert curve.at(0.5) == 0
    assert curve.at(0.51) == pytest.approx(1 / 3)
    assert curve.area == pytest.approx((1 / 3 + 1 / 2) / 4)


def test_equals_do_not_depend_on_their_order() -> None:
    confidence, right = np.array([0.9, 0.9, 0.4]), np.array([True, False, True])
    one = risk_coverage(confidence, right)
    other = risk_coverage(confidence, right[[1, 0, 2]])
    assert one.risk.tolist() == other.risk.tolist() == pytest.approx([0.5, 0.5, 1 / 3])


def test_nothing_has_no_risk() -> None:
    curve = risk_coverage(np.zeros(0), np.zeros(0, bool))
    assert len(curve.risk) == 0
    assert math.isnan(curve.area)
