"""What an audit finds in the samples of a data set: who is like whom, and what tells the class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.duplicates import (
    ALIKE,
    COPY,
    Ints,
    Pairs,
    equal_groups,
    find_pairs,
    joined_groups,
    members,
)
from training.giveaways import Giveaway, Guess, find_giveaways, make_guesses, targets
from training.samples import Sample
from training.shortcuts import Flags

REFERENCE_SPLITS = ("train", "training")


@dataclass(frozen=True)
class Groups:
    """The group of each sample, int64 [N]: of equal pixels, of copies, of lookalikes."""

    equal: Ints
    copies: Ints
    alike: Ints


@dataclass(frozen=True)
class Findings:
    """All that the page tells. `distinct` [N] marks the samples that statistics count."""

    samples: Sequence[Sample]
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    pairs: Pairs
    groups: Groups
    distinct: Flags
    giveaways: tuple[Giveaway, ...]
    guesses: tuple[Guess, ...]

    def of(self, split: str, label: str | None = None) -> list[int]:
        """Indices of the samples of a split, or of a class of it."""
        return [
            index
            for index, sample in enumerate(self.samples)
            if sample.place.split == split and label in (None, sample.place.label)
        ]

    def distinct_of(self, split: str, label: str) -> list[Sample]:
        """The samples of a class that statistics count."""
        return [self.samples[at] for at in self.of(split, label) if self.distinct[at]]

    def shared(self, first: str, second: str) -> tuple[int, int, int]:
        """Files of the second split with equal pixels, a copy, a lookalike in the first."""
        before, after = self.of(first), self.of(second)
        kinds = (self.groups.equal, self.groups.copies, self.groups.alike)
        equal, copies, alike = (int(np.isin(kind[after], kind[before]).sum()) for kind in kinds)
        return equal, copies, alike

    def strongest(self) -> Giveaway | None:
        """What tells most in the first split; None where nothing can be told apart."""
        known = [g for g in self.giveaways if g.split == self.splits[0] and not math.isnan(g.auc)]
        return max(known, key=lambda giveaway: abs(giveaway.auc - 0.5), default=None)

    def conflicts(self, groups: Ints) -> list[list[int]]:
        """The groups whose members have several classes."""
        return self._mixed(groups, [sample.place.label for sample in self.samples])

    def across(self, groups: Ints) -> list[list[int]]:
        """The groups whose members lie in several splits."""
        return self._mixed(groups, [sample.place.split for sample in self.samples])

    def _mixed(self, groups: Ints, names: list[str]) -> list[list[int]]:
        return [group for group in members(groups) if len({names[at] for at in group}) > 1]


def examine(samples: Sequence[Sample]) -> Findings:
    """Compare all samples with each other; at least one is needed."""
    splits = sorted(
        {sample.place.split for sample in samples},
        key=lambda split: (split not in REFERENCE_SPLITS, split),
    )
    classes = sorted({sample.place.label for sample in samples})
    pairs = find_pairs(np.stack([sample.thumbnail for sample in samples]), ALIKE)
    equal = equal_groups([sample.digest for sample in samples])
    copies = joined_groups(equal, pairs.above(COPY))
    groups = Groups(equal, copies, joined_groups(copies, pairs.above(ALIKE)))
    once = {(s.place.split, s.place.label, s.digest): at for at, s in enumerate(samples)}
    distinct = np.isin(np.arange(len(samples)), list(once.values()))
    return Findings(
        samples=samples,
        splits=tuple(splits),
        classes=tuple(classes),
        pairs=pairs,
        groups=groups,
        distinct=distinct,
        giveaways=tuple(find_giveaways(samples, distinct, splits, targets(classes))),
        guesses=tuple(make_guesses(samples, distinct, splits, classes, groups.alike)),
    )
