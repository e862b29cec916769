"""Which pictures are the same one, or so alike that they show one slice or its neighbour.

Equal pixels are found by their digest. For the rest, grey thumbnails [64,64] are cut into 4 x 4
tiles, and two pictures are as alike as the median of their tiles' correlations says. A stroke or
a label spoils some tiles and leaves the median; brightness and contrast cancel out; stretching the
thumbnail to a square undoes a change of size. A crop of some percent is not undone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Measured on chest CT: a slice against itself after JPEG 20, half the size, gamma 0.7, contrast
# x 1.4 or four strokes across it reached 0.986 or more; slices that differ to the eye, 0.980.
COPY = 0.985
# The pairs of cancers above 0.9 that were looked at seemed to show one patient each, and no pair
# had two classes: those reached 0.863.
ALIKE = 0.9

TILES = 4
# A tile that varies less than this (standard deviation in grey values) tells nothing.
FLAT = 3.0
# Pictures with fewer tiles in common that tell something are not compared.
LEAST_TILES = 4
ROWS_AT_A_TIME = 128

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures and how alike they are, the most alike first.

    `first` < `second` are int64 [P], `likeness` float32 [P] from -1 to 1. `closest` float32 [N] is
    the likeness of each of the N pictures to its closest other one.
    """

    first: Ints
    second: Ints
    likeness: Floats
    closest: Floats

    def above(self, least: float) -> Iterator[tuple[int, int]]:
        """The pairs of at least this likeness."""
        count = int((self.likeness >= least).sum())
        yield from zip(self.first[:count].tolist(), self.second[:count].tolist(), strict=True)


def find_pairs(thumbnails: npt.NDArray[np.uint8], least: float) -> Pairs:
    """All pairs of thumbnails [N,S,S] that are at least so alike.

    The work grows with N squared: a second for 600 pictures, minutes for 10,000.
    """
    tiles, telling = _tiles(thumbnails)
    count = len(thumbnails)
    closest = np.full(count, -1, np.float32)
    found: list[tuple[Ints, Ints, Floats]] = []
    for start in range(0, count, ROWS_AT_A_TIME):
        rows = slice(start, min(start + ROWS_AT_A_TIME, count))
        likeness = _likeness(tiles[:, rows], telling[:, rows], tiles[:, start:], telling[:, start:])
        later = np.arange(count - start)[np.newaxis] > np.arange(len(likeness))[:, np.newaxis]
        likeness = np.where(later, likeness, -1)
        closest[rows] = np.maximum(closest[rows], likeness.max(1))
        closest[start:] = np.maximum(closest[start:], likeness.max(0))
        one, other = np.nonzero(likeness >= least)
        found.append((one + start, other + start, likeness[one, other]))
    first, second, likeness = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(-likeness, kind="stable")
    return Pairs(first[order], second[order], likeness[order], closest)


def _tiles(thumbnails: npt.NDArray[np.uint8]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Tiles of mean 0 and length 1, [tile,N,pixels], and which of them tell something [tile,N]."""
    count, side = len(thumbnails), thumbnails.shape[1] // TILES
    cut = thumbnails.astype(np.float32).reshape(count, TILES, side, TILES, side)
    tiles = cut.transpose(1, 3, 0, 2, 4).reshape(TILES * TILES, count, side * side)
    telling = tiles.std(2) >= FLAT
    tiles = tiles - tiles.mean(2, keepdims=True)
    length = np.linalg.norm(tiles, axis=2, keepdims=True)
    return tiles / np.maximum(length, 1e-6), telling


def _likeness(
    tiles: Floats,
    telling: npt.NDArray[np.bool_],
    others: Floats,
    others_telling: npt.NDArray[np.bool_],
) -> Floats:
    """Lower median over the tiles that tell something in both: [rows,others], -1 for too few."""
    correlations = tiles @ others.transpose(0, 2, 1)
    both = telling[:, :, np.newaxis] & others_telling[:, np.newaxis]
    ordered = np.sort(np.where(both, correlations, np.inf), axis=0)
    enough = both.sum(0)
    middle = np.maximum(enough - 1, 0) // 2
    median = np.take_along_axis(ordered, middle[np.newaxis], 0)[0]
    likeness: Floats = np.where(enough >= LEAST_TILES, median, -1).astype(np.float32)
    return likeness


def equal_groups(digests: Sequence[str]) -> Ints:
    """The group of each picture, int64 [N]: the index of the first one with the same digest."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(digest, at) for at, digest in enumerate(digests)], np.int64)


def joined_groups(groups: Ints, pairs: Iterator[tuple[int, int]]) -> Ints:
    """Groups [N] joined wherever a pair connects them, named by their first member.

    What is joined need not be alike itself: A with B and B with C put A and C into one group.
    """
    parent = groups.tolist()

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for first, second in pairs:
        one, other = sorted((root(first), root(second)))
        parent[other] = one
    return np.array([root(at) for at in range(len(parent))], np.int64)


def members(groups: Ints) -> list[list[int]]:
    """The groups with more than one member, largest first."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return sorted((part.tolist() for part in parts if len(part) > 1), key=lambda part: -len(part))
