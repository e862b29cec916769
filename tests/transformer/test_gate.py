from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from serving.card import CLASSES, PROFILE_BINS, Gate
from tests.transformer.rooms import EVIDENCE, GATE
from transformer.gate import (
    BIN,
    DECISIONS,
    REASONS,
    Decision,
    Evidence,
    Reason,
    Verdict,
    grey_profile,
    input_objections,
    judge,
    profile_distances,
)

SURE = (0.02, 0.9, 0.05, 0.03)
MEASURED = replace(GATE, feature_distance=0.3)


def said(
    gate: Gate | None = GATE,
    pred_class: str = CLASSES[1],
    probabilities: Sequence[float] = SURE,
    evidence: Evidence = EVIDENCE,
) -> Verdict:
    return judge(gate, pred_class, probabilities, evidence)


def seen(*values: int, black: int = 0, colour_share: float = 0.0) -> Evidence:
    """A slice with one pixel of each of the values, and so many black ones."""
    histogram = np.bincount(values, minlength=256)
    histogram[0] += black
    statistics = replace(
        EVIDENCE.statistics, histogram=tuple(histogram.tolist()), colour_share=colour_share
    )
    return replace(EVIDENCE, statistics=statistics)


def profile_at(value: int) -> tuple[float, ...]:
    """All pixels at one grey value."""
    return tuple(grey_profile(np.bincount([value], minlength=256)).tolist())


def test_a_slice_like_those_trained_on_with_a_clear_class_is_accepted() -> None:
    assert said() == Verdict("accept", ())


def test_every_reason_has_a_decision_and_is_told_in_the_order_of_the_table() -> None:
    assert list(REASONS) == list(get_args(Reason))
    assert {decision for decision, _ in REASONS.values()} == {"review", "abstain"}
    assert set(DECISIONS) == set(get_args(Decision))


@pytest.mark.parametrize(
    ("verdict", "reason", "decision"),
    [
        (said(evidence=seen(100, colour_share=0.06)), "colour", "abstain"),
        (said(evidence=replace(EVIDENCE, is_dicom=True)), "source_unvalidated", "review"),
        (said(pred_class="normal"), "normal_unvalidated", "review"),
        (said(probabilities=(0.1, 0.5, 0.31, 0.09)), "low_margin", "review"),
        (said(None), "gate_unavailable", "review"),
        (said(MEASURED), "gate_unavailable", "review"),
        (
            said(MEASURED, evidence=replace(EVIDENCE, distance=0.31)),
            "far_from_training",
            "abstain",
        ),
    ],
)
def test_what_speaks_against_accepting_decides(
    verdict: Verdict, reason: Reason, decision: Decision
) -> None:
    assert reason in verdict.reasons
    assert verdict.decision == decision
    assert REASONS[reason][0] == decision


@pytest.mark.parametrize(
    "evidence",
    [EVIDENCE, replace(EVIDENCE, distance=0.5), replace(EVIDENCE, is_dicom=True)],
)
def test_normal_and_dicom_are_never_accepted(evidence: Evidence) -> None:
    for gate in (None, GATE, MEASURED):
        assert said(gate, "normal", evidence=evidence).decision != "accept"
        dicom = replace(evidence, is_dicom=True)
        assert said(gate, evidence=dicom).decision != "accept"


def test_the_gravest_reason_decides_and_all_are_told() -> None:
    evidence = replace(EVIDENCE, distance=0.5, is_dicom=True)
    assert said(MEASURED, "normal", (0.1, 0.2, 0.3, 0.4), evidence) == Verdict(
        "abstain",
        ("far_from_training", "low_margin", "normal_unvalidated", "source_unvalidated"),
    )


def test_without_a_gate_the_rest_is_still_told() -> None:
    evidence = replace(EVIDENCE, is_dicom=True)
    assert said(None, "normal", (0.25,) * 4, evidence) == Verdict(
        "review", ("normal_unvalidated", "source_unvalidated", "gate_unavailable")
    )


def test_a_distance_that_is_no_number_was_not_measured() -> None:
    evidence = replace(EVIDENCE, distance=float("nan"))
    assert said(MEASURED, evidence=evidence) == Verdict("review", ("gate_unavailable",))


@pytest.mark.parametrize("distance", [0.0, 0.3, 2.0])
def test_a_distance_that_nobody_bounds_says_nothing(distance: float) -> None:
    assert said(evidence=replace(EVIDENCE, distance=distance)) == Verdict("accept", ())


def test_bounds_themselves_are_still_good() -> None:
    evidence = replace(seen(100, colour_share=GATE.colour_share), distance=0.3)
    gate = replace(
        MEASURED,
        profiles=(profile_at(100 + 2 * BIN),),
        profile_distance=2.0 * BIN,
        ct_distance=2.0 * BIN,
        margin=0.5,
    )
    assert said(gate, probabilities=(0.75, 0.25, 0, 0), evidence=evidence) == Verdict("accept", ())


# Grey values


@pytest.mark.parametrize(
    ("value", "reasons"),
    [
        (100, set()),
        (108, set()),
        (116, {"rendering_mismatch"}),
        (132, {"rendering_mismatch", "not_ct_profile"}),
        # Nearer to what is never accepted: as CT as any, but not rendered as the rest.
        (220, {"rendering_mismatch"}),
        (255, {"rendering_mismatch", "not_ct_profile"}),
    ],
)
def test_the_nearest_profile_counts(value: int, reasons: set[Reason]) -> None:
    gate = replace(
        GATE,
        profiles=(profile_at(100), profile_at(20)),
        other_profiles=(profile_at(220),),
        profile_distance=12.0,
        ct_distance=20.0,
    )
    assert set(input_objections(gate, seen(value).statistics)) == reasons


def test_without_other_profiles_the_first_ones_stand_for_all_ct() -> None:
    gate = replace(GATE, profiles=(profile_at(100),), profile_distance=12.0, ct_distance=20.0)
    found = [*input_objections(gate, seen(132).statistics)]
    assert found == ["not_ct_profile", "rendering_mismatch"]


def test_how_much_is_black_changes_nothing() -> None:
    shares = grey_profile(seen(50, 50, 200, black=7).statistics.histogram)
    assert shares.sum() == pytest.approx(1)
    assert shares[50 // BIN - 1] == pytest.approx(2 / 3)
    np.testing.assert_array_equal(shares, grey_profile(seen(50, 50, 200).statistics.histogram))


def test_profiles_are_those_of_the_histograms_row_by_row() -> None:
    histograms = np.random.default_rng(0).integers(0, 99, (3, 256))
    together = grey_profile(histograms)
    assert together.shape == (3, PROFILE_BINS)
    for row, histogram in zip(together, histograms, strict=True):
        np.testing.assert_array_equal(row, grey_profile(histogram))


def test_a_histogram_of_black_alone_has_an_empty_profile() -> None:
    assert grey_profile(np.bincount([3, 7], minlength=256)).tolist() == [0.0] * PROFILE_BINS


@pytest.mark.parametrize("bins", [0, 1, 5, -4])
def test_a_profile_moved_by_some_bins_is_that_many_grey_values_away(bins: int) -> None:
    start = np.zeros(PROFILE_BINS)
    start[10:14] = (0.1, 0.4, 0.3, 0.2)
    moved = np.roll(start, bins)
    assert profile_distances(start, [moved]) == pytest.approx([abs(bins) * BIN])
    assert profile_distances(moved, [start]) == pytest.approx([abs(bins) * BIN])


def test_half_of_the_pixels_moved_is_half_the_distance() -> None:
    start, end = np.zeros(PROFILE_BINS), np.zeros(PROFILE_BINS)
    start[4], end[4], end[14] = 1, 0.5, 0.5
    assert profile_distances([start, end], [start, end]).tolist() == [[0, 40], [40, 0]]
