"""What single numbers and nearest neighbours tell about the class of a sample.

Every figure counts a picture once for each split and class that it is in: `distinct`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.duplicates import Ints
from training.samples import Sample
from training.shortcuts import (
    Flags,
    Neighbours,
    Numbers,
    auc,
    nearest_neighbours,
    share_scores,
    standardised,
)

NORMAL = "normal"
STATISTICS = ("mean", "std", "min", "max", "p01", "p50", "p99", "height", "width")
SIZE = ("height", "width")
KIND = "file kind"


@dataclass(frozen=True)
class Giveaway:
    """How well one number tells `target` from all other classes of a split: AUC, NaN if unasked."""

    split: str
    target: str
    feature: str
    auc: float


@dataclass(frozen=True)
class Guess:
    """1-NN from `reference` on the pictures of `split`; `strangers`: lookalikes are not asked."""

    features: str
    reference: str
    split: str
    strangers: bool
    neighbours: Neighbours


def targets(classes: Sequence[str]) -> list[str]:
    """The classes to tell from the rest: `normal` alone if there is one, else every one."""
    if NORMAL in classes:
        return [NORMAL]
    return list(classes[1:] if len(classes) == 2 else classes)


def column(samples: Sequence[Sample], feature: str) -> Numbers:
    """One statistic of each sample [N]; `aspect` is width to height."""
    if feature == "aspect":
        return column(samples, "width") / column(samples, "height")
    return np.array([getattr(sample.statistics, feature) for sample in samples], np.float64)


def find_giveaways(
    samples: Sequence[Sample], distinct: Flags, splits: Sequence[str], asked: Sequence[str]
) -> list[Giveaway]:
    """AUC of every statistic and of the kind of file, for each split and each class asked."""
    found = []
    for split in splits:
        chosen = [s for s, once in zip(samples, distinct, strict=True) if once]
        chosen = [sample for sample in chosen if sample.place.split == split]
        kinds = np.array([sample.kind for sample in chosen])
        for target in asked:
            positive = np.array([sample.place.label == target for sample in chosen])
            for feature in (*STATISTICS, "aspect"):
                value = auc(column(chosen, feature), positive)
                found.append(Giveaway(split, target, feature, value))
            value = auc(share_scores(kinds, positive), positive)
            found.append(Giveaway(split, target, KIND, value))
    return found


def make_guesses(
    samples: Sequence[Sample],
    distinct: Flags,
    splits: Sequence[str],
    classes: Sequence[str],
    alike: Ints,
) -> list[Guess]:
    """Leave-one-out within each split, and from the first split to every other."""
    labels = np.array([classes.index(sample.place.label) for sample in samples])
    of_split = np.array([splits.index(sample.place.split) for sample in samples])
    rows = [np.flatnonzero(distinct & (of_split == at)) for at in range(len(splits))]
    ways = [(at, at) for at in range(len(splits))] + [(0, at) for at in range(1, len(splits))]
    found = []
    for name, numbers in _feature_sets(samples, rows[0]).items():
        for reference, asked in ways:
            known, new = rows[reference], rows[asked]
            for strangers, groups in ((False, np.arange(len(samples))), (True, alike)):
                answer = nearest_neighbours(
                    numbers[new],
                    labels[new],
                    numbers[known],
                    labels[known],
                    barred=groups[new][:, np.newaxis] == groups[known],
                    classes=len(classes),
                )
                found.append(Guess(name, splits[reference], splits[asked], strangers, answer))
    return found


def _feature_sets(samples: Sequence[Sample], basis: Ints) -> dict[str, Numbers]:
    """What neighbours are near in, [N,F] each; statistics in standard deviations of the basis."""
    size, statistics = (
        np.stack([column(samples, name) for name in names], 1) for names in (SIZE, STATISTICS)
    )
    return {
        "size": standardised(size, size[basis]),
        "statistics": standardised(statistics, statistics[basis]),
        "tiny pixels": np.stack([sample.tiny.ravel().astype(np.float64) for sample in samples]),
    }
