"""What numbers that no reader of a CT would look at tell about the class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Distances that differ by less than this share of the lengths involved are the same distance.
TIE = 1e-12


@dataclass(frozen=True)
class Neighbours:
    """How often the nearest neighbour has the right class, as shares from 0 to 1.

    `recall` has one share for each class (NaN: none of it was asked); `asked` counts the pictures
    that had any neighbour at all.
    """

    right: float
    recall: tuple[float, ...]
    asked: int


def auc(scores: Numbers, positive: Flags) -> float:
    """Probability that a positive scores higher than a negative, a tie counting one half.

    From mid-ranks (Mann and Whitney's U). NaN where either side is empty.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    wins = float(ranks[positive].sum()) - positives * (positives + 1) / 2
    return wins / (positives * negatives)


def share_scores(kinds: npt.NDArray[Any], positive: Flags) -> Numbers:
    """For each picture the share of positives among those of its kind: the best score of kinds.

    It is fitted to the pictures that it is used on, which flatters where there are many kinds.
    """
    _, inverse = np.unique(kinds, return_inverse=True)
    scores: Numbers = (np.bincount(inverse, weights=positive) / np.bincount(inverse))[inverse]
    return scores


def standardised(features: Numbers, reference: Numbers) -> Numbers:
    """Features [N,F] in standard deviations from the reference's mean [M,F]."""
    spread = reference.std(0)
    scaled: Numbers = (features - reference.mean(0)) / np.where(spread > 0, spread, 1)
    return scaled


def nearest_neighbours(
    features: Numbers,
    labels: npt.NDArray[np.int64],
    reference: Numbers,
    reference_labels: npt.NDArray[np.int64],
    barred: Flags,
    classes: int,
) -> Neighbours:
    """Classify each row of `features` [N,F] by the nearest row of `reference` [M,F].

    `barred` [N,M] says whom not to ask: oneself, say. Of several nearest ones each counts its part.
    """
    distances = squared_distances(features, reference)
    slack = TIE * ((features**2).sum(1)[:, np.newaxis] + (reference**2).sum(1))
    distances = np.where(barred, np.inf, distances)
    asked = ~barred.all(1)
    nearest = (distances <= distances.min(1, keepdims=True) + slack) & ~barred
    same = labels[:, np.newaxis] == reference_labels
    right = ((nearest & same).sum(1) / np.maximum(nearest.sum(1), 1))[asked]
    return Neighbours(
        right=_mean(right),
        recall=tuple(_mean(right[labels[asked] == label]) for label in range(classes)),
        asked=int(asked.sum()),
    )


def squared_distances(features: Numbers, reference: Numbers) -> Numbers:
    """Squared Euclidean distances [N,M]; exact for whole numbers such as grey values."""
    lengths = (features**2).sum(1)[:, np.newaxis] + (reference**2).sum(1)
    distances: Numbers = np.maximum(lengths - 2 * (features @ reference.T), 0)
    return distances


def _mean(shares: Numbers) -> float:
    return float(shares.mean()) if len(shares) else float("nan")
