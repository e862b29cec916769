"""Whether an answer can be relied on: a slice held against what the network was trained on.

Pure functions; every bound is the card's. How often it is right was measured:
docs/model-card.md, "When it should not answer".
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving.card import PROFILE_BINS, Gate
from transformer.statistics import Statistics

Decision = Literal["accept", "review", "abstain"]
Reason = Literal[
    "colour",
    "not_ct_profile",
    "rendering_mismatch",
    "far_from_training",
    "low_margin",
    "normal_unvalidated",
    "source_unvalidated",
    "gate_unavailable",
]

# What each reason means, and what it makes of an answer: abstain (there is no sense in it) or
# review (a person should look).
REASONS: dict[Reason, tuple[Decision, str]] = {
    "colour": ("abstain", "The image is coloured: CT is grey."),
    "not_ct_profile": ("abstain", "Its grey values are spread as in no training slice."),
    "rendering_mismatch": (
        "review",
        "Its grey values are not spread as in training slices of cancer: another CT window, say.",
    ),
    "far_from_training": ("abstain", "To the network it looks like no training slice."),
    "low_margin": ("review", "The two likeliest classes are too close together."),
    "normal_unvalidated": (
        "review",
        "The class is `normal`: the training data hold no normal slice of the cancers' source, so "
        "nobody knows what it is worth.",
    ),
    "source_unvalidated": (
        "review",
        "The image is DICOM: no DICOM of known class was there to test with.",
    ),
    "gate_unavailable": (
        "review",
        "The card of the weights has no gate, or the predictor could not measure all it needs.",
    ),
}
DECISIONS: tuple[Decision, ...] = get_args(Decision)
NEVER_ACCEPTED = "normal"

BIN = 256 // (PROFILE_BINS + 1)


@dataclass(frozen=True)
class Evidence:
    """What is known of one slice beside its logits.

    `distance` is the cosine distance of its features to the training features, None where the
    predictor does not measure it.
    """

    statistics: Statistics
    is_dicom: bool = False
    distance: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A decision, and every reason that speaks against accepting."""

    decision: Decision
    reasons: tuple[Reason, ...]


def judge(
    gate: Gate | None, pred_class: str, probabilities: Sequence[float], evidence: Evidence
) -> Verdict:
    """What to make of an answer: the gravest that any of its reasons asks for, else accept.

    Args:
        probabilities: calibrated, one for each class.
    """
    found = set(() if gate is None else _objections(gate, probabilities, evidence))
    if gate is None or (gate.feature_distance is not None and not _measured(evidence)):
        found.add("gate_unavailable")
    if pred_class == NEVER_ACCEPTED:
        found.add("normal_unvalidated")
    if evidence.is_dicom:
        found.add("source_unvalidated")
    reasons = tuple(reason for reason in REASONS if reason in found)
    asked_for = [REASONS[reason][0] for reason in reasons]
    return Verdict(max(asked_for, key=DECISIONS.index, default="accept"), reasons)


def _objections(gate: Gate, probabilities: Sequence[float], evidence: Evidence) -> Iterator[Reason]:
    """The reasons that the gate's bounds give."""
    yield from input_objections(gate, evidence.statistics)
    bound, distance = gate.feature_distance, evidence.distance
    if bound is not None and distance is not None and distance > bound:
        yield "far_from_training"
    second, best = sorted(probabilities)[-2:]
    if best - second < gate.margin:
        yield "low_margin"


def _measured(evidence: Evidence) -> bool:
    return evidence.distance is not None and math.isfinite(evidence.distance)


def input_objections(gate: Gate, statistics: Statistics) -> Iterator[Reason]:
    """The reasons that the image alone gives, whatever the network says of it."""
    if statistics.colour_share > gate.colour_share:
        yield "colour"
    profile = grey_profile(statistics.histogram)
    nearest = profile_distances(profile, gate.profiles).min()
    others = profile_distances(profile, gate.other_profiles).min(initial=nearest)
    if others > gate.ct_distance:
        yield "not_ct_profile"
    if nearest > gate.profile_distance:
        yield "rendering_mismatch"


def grey_profile(histogram: ArrayLike) -> NDArray[np.float64]:
    """Shares of equal bins of grey values [..., PROFILE_BINS] of histograms [..., 256].

    Black (below 8) is left out, so that a border or a tighter crop changes nothing.
    """
    counts = np.asarray(histogram, np.float64)
    bins = counts.reshape(*counts.shape[:-1], PROFILE_BINS + 1, BIN).sum(-1)[..., 1:]
    shares: NDArray[np.float64] = bins / np.maximum(bins.sum(-1, keepdims=True), 1)
    return shares


def profile_distances(profile: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Earth mover's distances of profiles [..., bins] to others [M, bins], in grey values [..., M].

    In one dimension it is the area between the two cumulative distributions.
    """
    one = np.cumsum(np.asarray(profile, np.float64), -1)[..., np.newaxis, :]
    other = np.cumsum(np.asarray(others, np.float64).reshape(-1, PROFILE_BINS), -1)
    distances: NDArray[np.float64] = np.abs(one - other).sum(-1) * BIN
    return distances
