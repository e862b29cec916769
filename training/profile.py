"""The grey profiles of a gate and their bounds, fitted to the histograms of training slices.

A mean over all slices would resemble none of them: where several sources and windows met, it is a
blur, and a bound wide enough for the odd ones lets everything in. So a few slices stand for the
rest, and the nearest of them counts. The bounds come from slices that were left out when the
profiles were chosen.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from serving.card import CLASSES
from transformer.gate import NEVER_ACCEPTED, grey_profile, profile_distances

PROFILES = 12
OTHER_PROFILES = 6
# So many of the slices that were left out are within the bounds: of those that can be accepted
# within `profile_distance`, of all within `ct_distance`.
RENDERED_ALIKE = 0.975
CT = 0.995
FOLDS = 5
# Neighbours in the order of the files may show one patient: they are left out together.
RUN = 8
DECIMALS = 4

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Profile(TypedDict):
    """What a `Gate` has of the grey values; see there."""

    profiles: tuple[tuple[float, ...], ...]
    other_profiles: tuple[tuple[float, ...], ...]
    profile_distance: float
    ct_distance: float


def fit_profile(histograms: Ints, labels: Ints) -> Profile:
    """Profiles and bounds from grey histograms [N,256] and class indices [N], in order of files.

    Raises:
        ValueError: no slice is of a class that can be accepted.
    """
    acceptable = np.asarray(labels) != CLASSES.index(NEVER_ACCEPTED)
    if not acceptable.any():
        raise ValueError("no slice is of a class that can be accepted: expected some")
    shares = grey_profile(histograms)
    folds = folds_of(labels)
    nearest, anywhere = np.zeros(len(shares)), np.zeros(len(shares))
    for fold in range(FOLDS):
        left_out = folds == fold
        first, other = _chosen(shares, acceptable, ~left_out)
        nearest[left_out] = profile_distances(shares[left_out], first).min(1, initial=np.inf)
        others = profile_distances(shares[left_out], other).min(1, initial=np.inf)
        anywhere[left_out] = np.minimum(nearest[left_out], others)
    first, other = _chosen(shares, acceptable, np.ones(len(shares), bool))
    return Profile(
        profiles=_plain(first),
        other_profiles=_plain(other),
        profile_distance=_bound(nearest[acceptable], RENDERED_ALIKE),
        ct_distance=_bound(anywhere, CT),
    )


def folds_of(labels: Ints) -> Ints:
    """A fold [N] for each slice: runs of neighbours of one class, dealt in turn."""
    folds = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        folds[members] = np.arange(len(members)) // RUN % FOLDS
    return folds


def medoids(profiles: Floats, count: int) -> Ints:
    """The indices of `count` profiles [N,bins] that the others are least far from.

    One after the other is added where it helps most, then each moves to the middle of those that
    are nearest to it. Source: k-medoids, Kaufman and Rousseeuw 1987 (BUILD, and the alternating
    updates of Park and Jun 2009).
    """
    apart = profile_distances(profiles, profiles)
    chosen = [int(apart.sum(0).argmin())]
    while len(chosen) < min(count, len(profiles)):
        nearest = apart[:, chosen].min(1)
        chosen.append(int(np.maximum(nearest[:, np.newaxis] - apart, 0).sum(0).argmax()))
    while True:
        owner = apart[:, chosen].argmin(1)
        groups = [np.flatnonzero(owner == at) for at in range(len(chosen))]
        moved = [int(own[apart[np.ix_(own, own)].sum(0).argmin()]) for own in groups if len(own)]
        if _cost(apart, moved) >= _cost(apart, chosen):
            return np.array(sorted(chosen), np.int64)
        chosen = moved


def _cost(apart: Floats, chosen: Sequence[int]) -> float:
    return float(apart[:, chosen].min(1).sum())


def _chosen(
    shares: Floats, acceptable: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Profiles that stand for the acceptable and for the other ones of those asked."""
    first, other = shares[asked & acceptable], shares[asked & ~acceptable]
    return (
        first[medoids(first, PROFILES)] if len(first) else first,
        other[medoids(other, OTHER_PROFILES)] if len(other) else other,
    )


def _bound(distances: Floats, share: float) -> float:
    finite = distances[np.isfinite(distances)]
    # In steps of 0.1, upwards: rounding must not shut anybody out.
    return float(np.ceil(np.quantile(finite, share) * 10 + 1) / 10) if len(finite) else 255.0


def _plain(profiles: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(profile) for profile in profiles.round(DECIMALS).tolist())
