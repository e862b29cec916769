"""Figures of a classifier from its probabilities and the right classes."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Standard deviations of the normal distribution that hold 95 %.
TWO_SIDED_95 = 1.959963984540054
BINS = 10


@dataclass(frozen=True)
class Share:
    """`hits` of `total`, with the 95 % interval that independent cases would give (Wilson 1927)."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """From 0 to 1; NaN of nothing."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its ends; NaN of nothing."""
        if not self.total:
            return math.nan, math.nan
        z2 = TWO_SIDED_95**2
        middle = (self.hits + z2 / 2) / (self.total + z2)
        spread = self.hits * (self.total - self.hits) / self.total + z2 / 4
        half = TWO_SIDED_95 * math.sqrt(spread) / (self.total + z2)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __add__(self, other: "Share") -> "Share":
        return Share(self.hits + other.hits, self.total + other.total)


@dataclass(frozen=True)
class Reliability:
    """Bins of equal width in confidence, [BINS] each; `ece` is the expected calibration error.

    `confidence` and `right` are means over the bin, NaN where it is empty.
    """

    count: Ints
    confidence: Floats
    right: Floats
    ece: float


@dataclass(frozen=True)
class RiskCoverage:
    """What share is wrong (`risk`) when only the surest share is answered (`coverage`), [N]."""

    coverage: Floats
    risk: Floats

    @property
    def area(self) -> float:
        """Mean risk over all coverages: less is better."""
        return float(self.risk.mean()) if len(self.risk) else math.nan

    def at(self, coverage: float) -> float:
        """The risk where at least this share is answered."""
        return float(self.risk[np.searchsorted(self.coverage, coverage - 1e-12)])


def margins(shares: Floats) -> Floats:
    """By how much the best class exceeds the second: [N] of probabilities [N,classes]."""
    ordered = np.sort(shares, axis=1)
    found: Floats = ordered[:, -1] - ordered[:, -2]
    return found


def share(flags: Flags) -> Share:
    """How many of the flags are set."""
    return Share(int(flags.sum()), len(flags))


def confusion(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts [classes,classes]: the row is the label, the column the answer."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (labels, predicted), 1)
    return table


def recall(table: Ints, label: int) -> Share:
    """Of the slices of a class those that were called so."""
    return Share(int(table[label, label]), int(table[label].sum()))


def precision(table: Ints, label: int) -> Share:
    """Of the slices that were called so those that are."""
    return Share(int(table[label, label]), int(table[:, label].sum()))


def balanced_accuracy(table: Ints) -> float:
    """The mean recall of the classes that occur; NaN if none does."""
    shares = [recall(table, label).value for label in range(len(table)) if table[label].sum()]
    return float(np.mean(shares)) if shares else math.nan


def brier(shares: Floats, labels: Ints) -> float:
    """Mean squared distance of probabilities [N,classes] from the truth, 0 to 2 (Brier 1950)."""
    truth = np.eye(shares.shape[1])[labels]
    return float(((shares - truth) ** 2).sum(1).mean())


def reliability(confidence: Floats, right: Flags, bins: int = BINS) -> Reliability:
    """How often answers of a confidence are right; a confidence at a bin's end lies below it."""
    at = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(at, confidence, bins) / count
        hits = np.bincount(at, right, bins) / count
    gaps = np.nan_to_num(np.abs(means - hits))
    return Reliability(count, means, hits, float((gaps * count).sum() / max(len(confidence), 1)))


def risk_coverage(confidence: Floats, right: Flags) -> RiskCoverage:
    """From the surest answer to all of them; of equal ones each counts the mean of its equals."""
    order = np.argsort(-confidence, kind="stable")
    values, wrong = confidence[order], (~right[order]).astype(np.float64)
    _, group = np.unique(-values, return_inverse=True)
    wrong = (np.bincount(group, wrong) / np.bincount(group))[group] if len(group) else wrong
    ranks = np.arange(1, len(values) + 1)
    return RiskCoverage(ranks / max(len(values), 1), wrong.cumsum() / ranks)
