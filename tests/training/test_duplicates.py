from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.training import pictures
from training.duplicates import (
    ALIKE,
    COPY,
    ROWS_AT_A_TIME,
    Pairs,
    equal_groups,
    find_pairs,
    joined_groups,
    members,
)


def thumbnails(*images: Image.Image) -> npt.NDArray[np.uint8]:
    box = Image.Resampling.BOX
    return np.stack([np.asarray(image.resize((64, 64), box)) for image in images])


def likeness(one: Image.Image, other: Image.Image) -> float:
    return float(find_pairs(thumbnails(one, other), ALIKE).closest[0])


CHANGES = [
    pictures.compressed,
    pictures.resized,
    pictures.scribbled,
    pictures.brightened,
    lambda image: pictures.compressed(pictures.scribbled(pictures.resized(image))),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("change", CHANGES, ids=["jpeg", "size", "strokes", "bright", "all"])
def test_a_changed_picture_is_a_copy(
    change: Callable[[Image.Image], Image.Image], seed: int
) -> None:
    image = pictures.picture(seed, 200, 280)
    assert likeness(image, change(image)) >= COPY


def test_different_pictures_are_no_lookalikes() -> None:
    images = [pictures.picture(seed) for seed in range(20)]
    assert find_pairs(thumbnails(*images), ALIKE).closest.max() < ALIKE


def test_pairs_are_those_of_every_two_compared_alone() -> None:
    # More than one block of rows, and copies on both sides of its edge.
    rows = np.random.default_rng(0).integers(0, 256, (ROWS_AT_A_TIME + 9, 64, 64), dtype=np.uint8)
    planted = {(3, 90), (5, ROWS_AT_A_TIME + 2), (ROWS_AT_A_TIME, ROWS_AT_A_TIME + 8)}
    for first, second in planted:
        rows[second] = 255 - (255 - rows[first]) // 2
    pairs = find_pairs(rows, ALIKE)
    assert set(pairs.above(COPY)) == planted
    copied = {at for pair in planted for at in pair}
    assert set(np.flatnonzero(pairs.closest >= COPY).tolist()) == copied


def test_pictures_without_content_are_not_compared() -> None:
    blank = Image.new("L", (100, 100), 7)
    assert likeness(blank, blank) == -1


def test_pairs_above_come_most_alike_first() -> None:
    first, second = np.array([0, 1, 2]), np.array([3, 4, 5])
    pairs = Pairs(first, second, np.array([0.99, 0.95, 0.9], np.float32), np.zeros(6, np.float32))
    assert list(pairs.above(0.95)) == [(0, 3), (1, 4)]


def test_groups_are_named_by_their_first_member_and_chained() -> None:
    groups = equal_groups(["a", "b", "a", "c", "d", "b"])
    assert groups.tolist() == [0, 1, 0, 3, 4, 1]
    joined = joined_groups(groups, iter([(4, 5), (3, 4)]))
    assert joined.tolist() == [0, 1, 0, 1, 1, 1]
    assert members(joined) == [[1, 3, 4, 5], [0, 2]]
    assert members(np.arange(3)) == []
