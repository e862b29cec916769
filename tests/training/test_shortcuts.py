import numpy as np
import pytest

from training.shortcuts import (
    auc,
    nearest_neighbours,
    share_scores,
    squared_distances,
    standardised,
)


@pytest.mark.parametrize("values", [3, 50, 10_000], ids=["many ties", "some ties", "hardly any"])
def test_auc_is_the_share_of_pairs_in_order(values: int) -> None:
    random = np.random.default_rng(values)
    scores = random.integers(0, values, 80).astype(np.float64)
    positive = random.random(80) < 0.3
    wins = [
        1.0 if one > other else 0.5 if one == other else 0.0
        for one in scores[positive]
        for other in scores[~positive]
    ]
    assert auc(scores, positive) == pytest.approx(np.mean(wins), abs=1e-12)


def test_auc_of_one_class_alone_is_not_a_number() -> None:
    assert np.isnan(auc(np.arange(3.0), np.ones(3, np.bool_)))
    assert np.isnan(auc(np.arange(3.0), np.zeros(3, np.bool_)))


def test_kinds_are_scored_by_their_share_of_positives() -> None:
    kinds = np.array(["PNG", "JPEG", "PNG", "JPEG", "PNG"])
    positive = np.array([True, True, False, True, False])
    assert share_scores(kinds, positive) == pytest.approx([1 / 3, 1, 1 / 3, 1, 1 / 3])


def test_a_constant_feature_stays_finite() -> None:
    features = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert standardised(features, features).tolist() == [[-1, 0], [1, 0]]


@pytest.mark.parametrize("values", [3, 256])
def test_neighbours_are_those_of_a_search_through_all(values: int) -> None:
    random = np.random.default_rng(values)
    features = random.integers(0, values, (40, 4)).astype(np.float64)
    reference = random.integers(0, values, (30, 4)).astype(np.float64)
    labels, known = random.integers(0, 3, 40), random.integers(0, 3, 30)
    barred = random.random((40, 30)) < 0.2
    credits = []
    for row, label, bars in zip(features, labels, barred, strict=True):
        apart = ((reference - row) ** 2).sum(1)
        nearest = (apart == apart[~bars].min()) & ~bars
        credits.append(np.mean(known[nearest] == label))
    found = nearest_neighbours(features, labels, reference, known, barred, 3)
    assert found.right == pytest.approx(np.mean(credits), abs=1e-12)
    for label, share in enumerate(found.recall):
        assert share == pytest.approx(np.mean(np.array(credits)[labels == label]), abs=1e-12)


def test_equal_rows_tie_also_after_standardising() -> None:
    rows = np.array([[0.1, 0.7], [0.3, 0.2], [0.3, 0.2], [0.3, 0.2]]) / 3
    labels = np.array([0, 1, 1, 0])
    found = nearest_neighbours(rows, labels, rows, labels, np.eye(4, dtype=np.bool_), 2)
    # The first has three nearest; of the others each has the two equal ones.
    assert found.right == pytest.approx((1 / 3 + 1 / 2 + 1 / 2 + 0) / 4)


def test_who_has_no_neighbour_is_not_asked() -> None:
    rows, labels = np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 1])
    barred = np.eye(3, dtype=np.bool_)
    barred[2] = True
    found = nearest_neighbours(rows, labels, rows, labels, barred, 2)
    assert (found.asked, found.right, found.recall[0]) == (2, 1, 1)
    assert np.isnan(found.recall[1])


def test_distances_of_grey_values_are_exact() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (20, 256)).astype(np.float64)
    expected = ((rows[:, np.newaxis] - rows) ** 2).sum(2)
    assert np.array_equal(squared_distances(rows, rows), expected)
